//! Spans of time as people write them.

use std::time::Duration;

/// `30s`, `500ms`, `2m`, `1h`, `1.5s`; a bare number is seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit {unit:?}: want ms, s, m or h")),
    };
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = number.parse::<f64>().ok().filter(|_| is_number);
    let span = number.and_then(|number| Duration::try_from_secs_f64(number * seconds).ok());
    span.ok_or_else(|| "want a span like 30s, 500ms, 2m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units_and_bare_numbers_are_seconds() {
        let spans = [
            ("30s", 30_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("7", 7_000),
            ("1.5s", 1_500),
            ("0", 0),
        ];
        for (text, ms) in spans {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "s", "-1s", "1d", "1 s", "nan", "inf", "1e3", "99999999999999999999h", "1.2.3s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
