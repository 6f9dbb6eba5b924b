//! Families as OpenMetrics text, version 1.0.0.

use std::fmt::{self, Write as _};

use millstream_base::registry::Sample;

use crate::family::{Buckets, EDGES, Family, Kind, Labels, Number, families};

/// The media type of what [`render`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Samples as OpenMetrics text.
///
/// Samples of one name are put together; those with the same labels are added up; one with a name or label that
/// OpenMetrics does not allow is left out. Durations are shown in seconds.
///
/// ```
/// use millstream_base::registry::{Sample, Value};
/// let sample = Sample {
///     name: "jobs_done",
///     help: "Jobs that came to their end",
///     labels: vec![("queue", "mail".to_owned())],
///     value: Value::Counter(7),
/// };
/// let text = millstream_metrics::render(vec![sample]);
/// assert!(text.contains("jobs_done_total{queue=\"mail\"} 7\n"));
/// assert!(text.ends_with("# EOF\n"));
/// ```
pub fn render(samples: Vec<Sample>) -> String {
    let mut text = String::new();
    for family in families(samples) {
        write_family(&mut text, &family).expect("writing to a String never fails");
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(text: &mut String, family: &Family) -> fmt::Result {
    let name = family.name;
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    writeln!(text, "# TYPE {name} {kind}")?;
    if let Some(unit) = unit_of(name) {
        writeln!(text, "# UNIT {name} {unit}")?;
    }
    writeln!(text, "# HELP {name} {}", Escaped(family.help))?;
    for row in &family.rows {
        match &row.number {
            Number::Counter(count) => {
                line(text, (name, "_total"), &row.labels, None, format_args!("{count}"))?;
            }
            Number::Gauge(level) => {
                line(text, (name, ""), &row.labels, None, format_args!("{}", Float(*level)))?
            }
            Number::Histogram(buckets) => write_buckets(text, name, &row.labels, buckets)?,
        }
    }
    Ok(())
}

fn write_buckets(text: &mut String, name: &str, labels: &Labels, buckets: &Buckets) -> fmt::Result {
    for ((_, edge), count) in EDGES.iter().zip(buckets.at_most) {
        line(text, (name, "_bucket"), labels, Some(edge), format_args!("{count}"))?;
    }
    let count = buckets.count;
    line(text, (name, "_bucket"), labels, Some("+Inf"), format_args!("{count}"))?;
    line(text, (name, "_count"), labels, None, format_args!("{count}"))?;
    let (seconds, rest) = (buckets.sum_ns / NANOS, buckets.sum_ns % NANOS);
    line(text, (name, "_sum"), labels, None, format_args!("{seconds}.{rest:09}"))
}

/// `name_suffix{label="value",le="edge"} number`
fn line(
    text: &mut String,
    (name, suffix): (&str, &str),
    labels: &Labels,
    edge: Option<&str>,
    number: fmt::Arguments<'_>,
) -> fmt::Result {
    write!(text, "{name}{suffix}")?;
    let mut before = '{';
    for (label, value) in labels {
        write!(text, "{before}{label}=\"{}\"", Escaped(value))?;
        before = ',';
    }
    if let Some(edge) = edge {
        write!(text, "{before}le=\"{edge}\"")?;
        before = ',';
    }
    if before == ',' {
        text.push('}');
    }
    writeln!(text, " {number}")
}

/// The unit is the end of the name, as OpenMetrics wants it.
fn unit_of(name: &str) -> Option<&'static str> {
    UNITS.into_iter().find(|unit| name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
}

/// Units that names may end in; others have none that we know.
const UNITS: [&str; 3] = ["seconds", "bytes", "ratio"];

const NANOS: u64 = 1_000_000_000;

/// Text between quotes or behind HELP: backslash, quote and line feed are escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

struct Float(f64);

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            level if level.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            level => write!(f, "{level}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_base::registry::Value;

    #[test]
    fn nothing_counted_is_an_empty_page() {
        assert_eq!(render(Vec::new()), "# EOF\n");
    }

    #[test]
    fn gauge_has_type_unit_help_and_labels() {
        let sample = Sample {
            name: "queue_age_seconds",
            help: "Age of the \"oldest\" job",
            labels: vec![("queue", "a\\b\"c\nd".to_owned())],
            value: Value::Gauge(0.25),
        };
        let expected = "# TYPE queue_age_seconds gauge\n\
            # UNIT queue_age_seconds seconds\n\
            # HELP queue_age_seconds Age of the \\\"oldest\\\" job\n\
            queue_age_seconds{queue=\"a\\\\b\\\"c\\nd\"} 0.25\n\
            # EOF\n";
        assert_eq!(render(vec![sample]), expected);
    }

    #[test]
    fn numbers_that_are_none_are_written_as_openmetrics_names_them() {
        let texts =
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.0, -0.5].map(|level| Float(level).to_string());
        assert_eq!(texts, ["NaN", "+Inf", "-Inf", "1", "-0.5"]);
    }
}
