//! What is rendered is OpenMetrics, as a strict reader and Prometheus' own Python reader see it.

mod strict;

use std::io::Write as _;
use std::process::{Command, Stdio};

use millstream_base::registry::{Sample, Source, Value};
use millstream_base::{EngineId, Histogram};
use millstream_metrics::{Process, render};

fn sample(name: &'static str, labels: &[(&'static str, &str)], value: Value) -> Sample {
    let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Sample { name, help: "One line, with \"quotes\" and a \\ in it", labels, value }
}

fn latencies(values_ns: &[u64]) -> Value {
    let histogram = Histogram::new(EngineId::next(), 1);
    values_ns.iter().for_each(|value| histogram.record(*value));
    Value::Histogram(histogram.snapshot())
}

/// Something of everything, in an order that has to be put right.
fn page() -> Vec<Sample> {
    let mut samples = vec![
        sample("app_requests", &[("status", "2xx")], Value::Counter(12)),
        sample("app_temperature_ratio", &[], Value::Gauge(f64::NAN)),
        sample("app_latency_seconds", &[("listen", "[::1]:80")], latencies(&[1_000, 90_000, 7_000_000_000])),
        sample("app_requests", &[("status", "5xx")], Value::Counter(u64::MAX)),
        sample("app_odd", &[("path", "C:\\\"new\"\nline, a=b} 1")], Value::Gauge(-1.5)),
        sample("app_latency_seconds", &[], latencies(&[])),
        sample("app_latency_seconds", &[("listen", "[::1]:80")], latencies(&[90_000])),
    ];
    Process.collect(&mut samples);
    samples
}

#[test]
fn page_of_everything_is_read_back_strictly() {
    let text = render(page());
    let blocks = strict::parse(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"));
    let names: Vec<_> = blocks.iter().take(4).map(|block| block.name.as_str()).collect();
    assert_eq!(names, ["app_requests", "app_temperature_ratio", "app_latency_seconds", "app_odd"]);
    assert_eq!(blocks[0].help, "One line, with \"quotes\" and a \\ in it");
    assert_eq!(blocks[3].points[0].labels["path"], "C:\\\"new\"\nline, a=b} 1");
    assert_eq!(blocks[2].unit.as_deref(), Some("seconds"));
}

#[test]
fn histogram_of_one_label_set_given_twice_is_added_up() {
    let blocks = strict::parse(&render(page())).expect("a good page");
    let find = |suffix: &str, edge: Option<&str>| {
        let is_it = |point: &&strict::Point| {
            point.name == format!("app_latency_seconds{suffix}")
                && point.labels.contains_key("listen")
                && point.labels.get("le").map(String::as_str) == edge
        };
        blocks[2].points.iter().find(is_it).expect("the row is there").number
    };
    assert_eq!(find("_count", None), 4.0);
    assert_eq!(find("_bucket", Some("1e-05")), 1.0);
    assert_eq!(find("_bucket", Some("0.0001")), 3.0);
    assert_eq!(find("_bucket", Some("10.0")), 4.0);
    assert!((find("_sum", None) - 7.000_181).abs() < 1e-9);
}

#[test]
fn strict_reader_refuses_what_is_wrong() {
    let good = "# TYPE a counter\n# HELP a h\na_total 1\n# EOF\n";
    assert!(strict::parse(good).is_ok());
    let bad = [
        "",
        "# TYPE a counter\na_total 1\n",
        "# TYPE a counter\na 1\n# EOF\n",
        "# TYPE a counter\na_total -1\n# EOF\n",
        "# TYPE a counter\na_total 1\na_total 1\n# EOF\n",
        "# TYPE a gauge\na{x=\"1\"\n# EOF\n",
        "# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n# EOF\n",
        "# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\n# EOF\n",
        "# TYPE a_seconds gauge\n# UNIT a_seconds bytes\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\na_count 1\n# EOF\n",
        "# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_count 2\n# EOF\n",
    ];
    for text in bad {
        assert!(strict::parse(text).is_err(), "accepted {text:?}");
    }
}

#[test]
fn python_reader_of_prometheus_agrees() {
    let reader = "import sys\n\
        try:\n    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n\
        except ImportError:\n    sys.exit(3)\n\
        print(len(list(parse(sys.stdin.read()))))";
    let python = Command::new("python3")
        .args(["-c", reader])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut python) = python else { return println!("SKIPPED: python3 is not installed") };
    let text = render(page());
    // It ends before it reads when the module is missing.
    let _ = python.stdin.take().expect("piped").write_all(text.as_bytes());
    let output = python.wait_with_output().expect("python ends");
    if output.status.code() == Some(3) {
        return println!("SKIPPED: optional: python3 has no module prometheus_client");
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said} in\n{text}");
    let families = strict::parse(&text).expect("a good page").len();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), families.to_string());
}
