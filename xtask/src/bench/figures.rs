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

/// The ratios as a table: median, spread over the rounds, what it must be.
pub(super) fn table(ratios: &[Ratio]) -> String {
    let mut text =
        String::from("| ratio | median | rounds from, to | must be | |\n| --- | --- | --- | --- | --- |\n");
    for ratio in ratios {
        let value = median(ratio.values.iter().copied());
        if value.is_nan() {
            let _ = writeln!(text, "| {} | not measured | | {} | |", ratio.what, limit(ratio.at_most));
            continue;
        }
        let low = ratio.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratio.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let verdict = match ratio.at_most {
            Some(at_most) if value <= at_most => "pass",
            Some(_) => "FAIL",
            None => "",
        };
        let must = limit(ratio.at_most);
        let _ = writeln!(text, "| {} | {value:.3} | {low:.3}, {high:.3} | {must} | {verdict} |", ratio.what);
    }
    text
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
    fn verdict_compares_the_median_of_ratios() {
        let good = Ratio::new("a", &[1.0, 9.0, 1.0], &[1.0, 1.0, 1.0], Some(1.0));
        let bad = Ratio::new("b", &[1.1], &[1.0], Some(1.0));
        let none = Ratio::new("c", &[], &[1.0], Some(1.0));
        let text = table(&[good, bad, none]);
        assert!(text.contains("| a | 1.000 | 1.000, 9.000 | <= 1.00 | pass |"), "{text}");
        assert!(text.contains("| b | 1.100 | 1.100, 1.100 | <= 1.00 | FAIL |"), "{text}");
        assert!(text.contains("| c | not measured |"), "{text}");
    }
}
