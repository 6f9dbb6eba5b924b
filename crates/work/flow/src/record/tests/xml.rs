//! Is a text well-formed XML? Only for what pictures have: no comments, no CDATA, no declarations.

/// The first place where it is not.
pub(super) fn check(text: &str) -> Result<(), String> {
    let is_char =
        |char: char| matches!(char, '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    if let Some(char) = text.chars().find(|char| !is_char(*char)) {
        return Err(format!("{char:?} is no character of XML"));
    }
    let mut open = Vec::new();
    let mut rest = text.trim_end();
    let mut roots = 0;
    while let Some(begin) = rest.find('<') {
        let (before, tag) = rest.split_at(begin);
        if open.is_empty() && !before.is_empty() {
            return Err(format!("{before:?} is outside of the root"));
        }
        references(before)?;
        let end = tag.find('>').ok_or("a tag does not end")?;
        let inner = &tag[1..end];
        rest = &tag[end + 1..];
        if let Some(name) = inner.strip_prefix('/') {
            let opened = open.pop();
            if opened != Some(name) {
                return Err(format!("{name} closes {opened:?}"));
            }
            continue;
        }
        let is_closed = inner.ends_with('/');
        let inner = inner.trim_end_matches('/');
        let (name, rest_of) = inner.split_once(' ').unwrap_or((inner, ""));
        if name.is_empty() || !name.chars().all(|char| char.is_ascii_alphabetic()) {
            return Err(format!("{name:?} is no name of an element"));
        }
        attributes(rest_of)?;
        roots += usize::from(open.is_empty());
        if !is_closed {
            open.push(name);
        }
    }
    match (open.as_slice(), roots, rest) {
        ([], 1, "") => Ok(()),
        _ => Err(format!("{open:?} are open, {roots} roots, {rest:?} is left")),
    }
}

fn attributes(mut text: &str) -> Result<(), String> {
    let mut names = Vec::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").ok_or_else(|| format!("{text:?} is no attribute"))?;
        let (value, rest) = rest.split_once('"').ok_or("a value does not end")?;
        if names.contains(&name) || !name.chars().all(|char| char.is_ascii_alphanumeric() || char == '-') {
            return Err(format!("{name:?} is no name of an attribute, or twice there"));
        }
        names.push(name);
        references(value)?;
        text = rest.strip_prefix(' ').unwrap_or(rest);
    }
    Ok(())
}

fn references(text: &str) -> Result<(), String> {
    let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
    let unknown = text.split('&').skip(1).find(|part| !known.iter().any(|known| part.starts_with(known)));
    unknown.map_or(Ok(()), |part| Err(format!("an & before {part:?}")))
}

#[test]
fn the_check_finds_what_is_wrong() {
    check("<a b=\"1\" c=\"&lt;\"><b/>x &amp; y</a>\n").unwrap();
    for wrong in [
        "",
        "<a>",
        "<a></b>",
        "<a/><a/>",
        "<a>&</a>",
        "<a>&nbsp;</a>",
        "<a b=\"1\" b=\"2\"/>",
        "<a b='1'/>",
        "<a b=\"&\"/>",
        "<a>\u{1}</a>",
        "<a>\u{ffff}</a>",
        "x<a/>",
        "<a/>x",
        "<a",
        "<a><</a>",
    ] {
        assert!(check(wrong).is_err(), "{wrong:?}");
    }
}
