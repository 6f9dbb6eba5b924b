//! Medians, ratios, and the figures that must be reached.

use std::fmt::Write;

/// The middle value; the mean of the two middle ones if their number is even. NaN for none.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The number `name` in a line of flat JSON.
pub(super) fn field(json: &str, name: &str) -> Option<f64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    rest.split([',', '}']).next()?.trim().parse().ok()
}

/// Ours over theirs, round by round: what changes on the machine between rounds cancels out.
#[derive(Debug)]
pub(super) struct Ratio {
    what: String,
    values: Vec<f64>,
    at_most: Option<f64>,
}

impl Ratio {
    /// From the values of both sides, in the order of the rounds.
    pub(super) fn new(what: impl Into<String>, ours: &[f64], theirs: &[f64], at_most: Option<f64>) -> Self {
        let values = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        Self { what: what.into(), values, at_most }
    }
}

/// The ratios as a table: median, how sure it is, what it must be.
pub(super) fn table(ratios: &[Ratio]) -> String {
    let mut text =
        String::from("| ratio | median | 9 of 10 sure | must be | |\n| --- | --- | --- | --- | --- |\n");
    for ratio in ratios {
        let must = limit(ratio.at_most);
        let Some((low, high)) = interval(&ratio.values) else {
            let _ = writeln!(text, "| {} | not measured | | {must} | |", ratio.what);
            continue;
        };
        let value = median(ratio.values.iter().copied());
        let verdict = ratio.at_most.map_or("", |at_most| verdict(value, low, high, at_most));
        let _ = writeln!(text, "| {} | {value:.3} | {low:.3}, {high:.3} | {must} | {verdict} |", ratio.what);
    }
    text
}

/// A limit within the interval is neither kept nor broken for sure: that run should be done again, quietly or longer.
fn verdict(value: f64, low: f64, high: f64, at_most: f64) -> &'static str {
    match (value <= at_most, low <= at_most && at_most < high) {
        (true, false) => "pass",
        (true, true) => "pass, unsure",
        (false, true) => "FAIL, unsure",
        (false, false) => "FAIL",
    }
}

/// Between which values the true median lies, with a likelihood of at least 0.9 if there are five values or more: the
/// sign test's interval, which assumes nothing about how they scatter. Fewer values give all of their range.
fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Cut as many from each end as keeps the chance that the median lies beyond below 0.05 at either.
    let count = sorted.len();
    let mut chance = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let (mut beyond, mut cut) = (chance, 0);
    while cut + 1 < count {
        chance *= (count - cut) as f64 / (cut + 1) as f64;
        if beyond + chance > 0.05 {
            break;
        }
        beyond += chance;
        cut += 1;
    }
    Some((*sorted.get(cut)?, *sorted.get(count - 1 - cut)?))
}

fn limit(at_most: Option<f64>) -> String {
    at_most.map_or(String::new(), |at_most| format!("<= {at_most:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }

    #[test]
    fn field_of_json_is_found() {
        let json = "{\"requests\":3,\"seconds\": 0.5}";
        assert_eq!((field(json, "requests"), field(json, "seconds")), (Some(3.0), Some(0.5)));
        assert_eq!(field(json, "request"), None);
    }

    #[test]
    fn interval_narrows_with_more_values() {
        let values = |count: u32| (1..=count).map(f64::from).collect::<Vec<_>>();
        assert_eq!(interval(&[]), None);
        assert_eq!(interval(&values(3)), Some((1.0, 3.0)));
        assert_eq!(interval(&values(5)), Some((1.0, 5.0)));
        // Tables of the sign test: the 8th and the 18th of 25.
        assert_eq!(interval(&values(25)), Some((8.0, 18.0)));
    }

    #[test]
    fn verdict_compares_the_median_of_ratios() {
        let row = |values: &[f64], at_most| {
            let one = vec![1.0; values.len()];
            table(&[Ratio::new("a", values, &one, Some(at_most))])
                .lines()
                .last()
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(row(&[1.0, 1.0, 0.9], 1.0), "| a | 1.000 | 0.900, 1.000 | <= 1.00 | pass |");
        assert_eq!(row(&[1.0, 9.0, 1.0], 1.0), "| a | 1.000 | 1.000, 9.000 | <= 1.00 | pass, unsure |");
        assert_eq!(row(&[1.2, 0.9, 1.1], 1.0), "| a | 1.100 | 0.900, 1.200 | <= 1.00 | FAIL, unsure |");
        assert_eq!(row(&[1.1], 1.0), "| a | 1.100 | 1.100, 1.100 | <= 1.00 | FAIL |");
        assert_eq!(row(&[], 1.0), "| a | not measured | | <= 1.00 | |");
    }
}
