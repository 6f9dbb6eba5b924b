//! A strict little reader of OpenMetrics text: what it does not know, it refuses.

use std::collections::{BTreeMap, HashSet};

/// One line with a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) number: f64,
}

/// All lines under one `# TYPE`.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) unit: Option<String>,
    pub(crate) help: String,
    pub(crate) points: Vec<Point>,
}

/// Reads a page, or says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Vec<Block>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("does not end in # EOF")?;
    let mut blocks: Vec<Block> = Vec::new();
    for line in body.split_terminator('\n') {
        if let Some(meta) = line.strip_prefix("# ") {
            read_meta(meta, &mut blocks)?;
        } else {
            let block = blocks.last_mut().ok_or_else(|| format!("{line:?} has no TYPE"))?;
            block.points.push(read_point(line)?);
        }
    }
    let names: HashSet<_> = blocks.iter().map(|block| &block.name).collect();
    if names.len() != blocks.len() {
        return Err("a family is there twice".to_owned());
    }
    blocks.iter().try_for_each(check_block)?;
    Ok(blocks)
}

fn read_meta(meta: &str, blocks: &mut Vec<Block>) -> Result<(), String> {
    let mut parts = meta.splitn(3, ' ');
    let (Some(what), Some(name), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("short line: {meta}"));
    };
    if what == "TYPE" {
        let (name, kind) = (name.to_owned(), rest.to_owned());
        blocks.push(Block { name, kind, unit: None, help: String::new(), points: Vec::new() });
        return Ok(());
    }
    let block = blocks.last_mut().filter(|block| block.name == name && block.points.is_empty());
    let block = block.ok_or_else(|| format!("{what} of {name} stands elsewhere"))?;
    match what {
        "UNIT" if name.ends_with(&format!("_{rest}")) => block.unit = Some(rest.to_owned()),
        "HELP" => block.help = unescape(rest)?,
        _ => return Err(format!("bad line: {meta}")),
    }
    Ok(())
}

fn read_point(line: &str) -> Result<Point, String> {
    let name_end = line.find(['{', ' ']).ok_or_else(|| format!("no number: {line}"))?;
    let (name, mut rest) = line.split_at(name_end);
    check_name(name)?;
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = read_labels(inner, &mut labels)?;
    }
    let number = rest.strip_prefix(' ').ok_or_else(|| format!("no space before the number: {line}"))?;
    let number = number.parse::<f64>().map_err(|error| format!("{line}: {error}"))?;
    Ok(Point { name: name.to_owned(), labels, number })
}

/// Reads up to the closing brace; gives what follows it.
fn read_labels<'a>(mut text: &'a str, labels: &mut BTreeMap<String, String>) -> Result<&'a str, String> {
    loop {
        let (name, rest) = text.split_once("=\"").ok_or("label without a value")?;
        check_name(name)?;
        let end = closing_quote(rest).ok_or("value without an end")?;
        if labels.insert(name.to_owned(), unescape(&rest[..end])?).is_some() {
            return Err(format!("label {name} twice"));
        }
        match rest[end + 1..].strip_prefix(',') {
            Some(more) => text = more,
            None => return rest[end + 1..].strip_prefix('}').ok_or_else(|| "no closing brace".to_owned()),
        }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends.then_some(at)
    })
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some(same @ ('\\' | '"')) => same,
                other => return Err(format!("bad escape {other:?} in {text:?}")),
            },
            '"' => return Err(format!("bare quote in {text:?}")),
            other => other,
        });
    }
    Ok(plain)
}

fn check_name(name: &str) -> Result<(), String> {
    let good = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if good { Ok(()) } else { Err(format!("bad name {name:?}")) }
}

fn check_block(block: &Block) -> Result<(), String> {
    let mut seen = HashSet::new();
    for point in &block.points {
        let suffix =
            point.name.strip_prefix(&block.name).ok_or_else(|| format!("{point:?} is a stranger"))?;
        let allowed: &[&str] = match block.kind.as_str() {
            "counter" => &["_total"],
            "gauge" => &[""],
            "histogram" => &["_bucket", "_count", "_sum"],
            other => return Err(format!("unknown type {other}")),
        };
        if !allowed.contains(&suffix) {
            return Err(format!("{} in a {}", point.name, block.kind));
        }
        if !seen.insert((point.name.clone(), point.labels.clone())) {
            return Err(format!("{point:?} twice"));
        }
        if block.kind != "gauge" && (point.number.is_nan() || point.number < 0.0) {
            return Err(format!("{point:?} below zero"));
        }
    }
    if block.kind == "histogram" { check_histogram(block) } else { Ok(()) }
}

/// For each set of labels: edges rise, counts never fall, `+Inf` is last and equals the count.
fn check_histogram(block: &Block) -> Result<(), String> {
    let mut rows: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for point in &block.points {
        let mut labels = point.labels.clone();
        let edge = labels.remove("le");
        if point.name.ends_with("_bucket") {
            let edge =
                edge.ok_or("a bucket without le")?.parse::<f64>().map_err(|error| error.to_string())?;
            rows.entry(labels).or_default().push((edge, point.number));
        } else if point.name.ends_with("_count") {
            counts.insert(labels, point.number);
        }
    }
    for (labels, buckets) in &rows {
        let rises = buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        let last = buckets.last().copied();
        if !rises || last.map(|(edge, _)| edge) != Some(f64::INFINITY) {
            return Err(format!("buckets of {labels:?} do not rise to +Inf: {buckets:?}"));
        }
        if last.map(|(_, count)| count) != counts.get(labels).copied() {
            return Err(format!("+Inf of {labels:?} is not its count"));
        }
    }
    if rows.len() == counts.len() { Ok(()) } else { Err(format!("{}: counts without buckets", block.name)) }
}
