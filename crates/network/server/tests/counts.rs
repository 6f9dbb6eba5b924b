//! What an engine counts of its connections stands in its registry, for whoever exports it.

mod lines;

use lines::Served;
use millstream_base::registry::{Sample, Value};
use millstream_peers::eventually;
use millstream_server::lives;

/// The counts of this name whose labels hold all of these words.
fn value(samples: &[Sample], name: &str, words: &[&str]) -> f64 {
    let has = |sample: &Sample, word: &str| sample.labels.iter().any(|(_, value)| value == word);
    let known = samples.iter().filter(|sample| sample.name == name);
    let of = known.filter(|sample| words.iter().all(|word| has(sample, word)));
    of.map(|sample| match sample.value {
        Value::Counter(count) => count as f64,
        Value::Gauge(level) => level,
        Value::Histogram(_) => panic!("{name} is a histogram"),
    })
    .sum()
}

#[test]
fn connections_are_counted_in_the_registry_without_anybody_s_help() {
    let server = Served::start(1, |_| (), async |line| Ok(line));
    let collect = || server.engine.registry().collect();
    assert_eq!(value(&collect(), "millstream_connections", &["server"]), 0.0);
    let mut conn = server.connect();
    conn.send("hello\n").expect("hello\n");
    let samples = collect();
    assert_eq!(value(&samples, "millstream_connections", &["server"]), 1.0);
    assert_eq!(value(&samples, "millstream_connections_opened", &["server", "accepted"]), 1.0);
    assert_eq!(value(&samples, "millstream_connections_ended", &[]), 0.0);
    drop(conn);
    eventually("it ends", || value(&collect(), "millstream_connections", &["server"]) == 0.0);
    assert_eq!(value(&collect(), "millstream_connections_ended", &["server"]), 1.0);
}

#[test]
fn table_is_registered_once_however_often_it_is_asked_for() {
    let server = Served::start(1, |_| (), async |line| Ok(line));
    let (one, other) = (lives(&server.engine), lives(&server.engine));
    assert_eq!((one.open_count(), other.open_count()), (0, 0));
    let samples = server.engine.registry().collect();
    let gauges = samples.iter().filter(|sample| sample.name == "millstream_connections");
    assert_eq!(gauges.count(), 2, "one a side");
}
