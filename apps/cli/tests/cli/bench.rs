//! `millstream bench`: what it counts, prints and writes, and how it ends.

use std::process::Stdio;

use crate::program::{Ended, Program, command, run};
use millstream_peers::scripted::resetting;
use millstream_peers::{Folder, Gate, RawConn, Scripted};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers every request with this, as long as there are any.
fn always(reply: &'static str) -> Scripted {
    Scripted::always(move |_, conn: &mut RawConn| {
        while !conn.is_at_end() {
            conn.read_request();
            conn.send(reply);
        }
    })
}

fn load(server: &Scripted, arguments: &[&str]) -> Ended {
    let url = format!("http://{}/x", server.address());
    run(&[&["bench", &url, "--json", "--workers", "1"], arguments].concat())
}

fn json(ended: &Ended) -> serde_json::Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{} {}", ended.stdout, ended.stderr))
}

#[test]
fn counts_are_exact_and_connections_are_reused() {
    let server = always(OK);
    let ended = load(&server, &["-n", "100", "-c", "1"]);
    let report = json(&ended);
    assert_eq!(
        (ended.code(), &report["requests"], &report["errors"]),
        (0, &100.into(), &serde_json::json!({}))
    );
    assert_eq!((&report["connections"]["opened"], &report["connections"]["reused"]), (&1.into(), &99.into()));
    assert_eq!(server.accepted().value(), 1);
    let latency = &report["latency_us"];
    let values = ["p50", "p90", "p99", "p999", "max"].map(|name| latency[name].as_f64().expect(name));
    assert!(values[0] > 0.0 && values.is_sorted(), "{values:?}");
    assert!(report["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
}

#[test]
fn each_request_has_its_own_connection_without_keep_alive() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        assert_eq!(conn.read_request().fields.get("connection"), Some("close"));
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    });
    let report = json(&load(&server, &["-n", "20", "-c", "2", "--no-keep-alive"]));
    assert_eq!((&report["requests"], &report["connections"]["opened"]), (&20.into(), &20.into()));
    assert_eq!(server.accepted().value(), 20);
    // The server has closed first; the last connections may still be at it.
    let waiting = &report["connections"]["time_wait"];
    assert_eq!(waiting["ours"], 0);
    assert!(waiting["theirs"].as_u64().is_some_and(|count| (10..=20).contains(&count)), "{waiting}");
}

#[test]
fn errors_are_counted_by_kind_and_end_with_2() {
    let server = always("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    let ended = load(&server, &["-n", "10", "-c", "2"]);
    assert_eq!((ended.code(), &json(&ended)["errors"]), (2, &serde_json::json!({ "5xx": 10 })));
    let server = Scripted::serve_boxed(vec![resetting(|conn: &mut RawConn| {
        conn.read_request();
    })]);
    let ended = load(&server, &["-n", "1", "-c", "1"]);
    assert_eq!((ended.code(), &json(&ended)["errors"]), (2, &serde_json::json!({ "reset": 1 })));
}

#[test]
fn stall_is_seen_by_all_that_were_due_meanwhile() {
    let (asked, gate) = (Gate::new(), Gate::new());
    let slow = Scripted::always({
        let (asked, gate) = (asked.clone(), gate.clone());
        move |_, conn: &mut RawConn| {
            while !conn.is_at_end() {
                conn.read_request();
                asked.open();
                gate.wait();
                conn.send(OK);
            }
        }
    });
    let url = format!("http://{}/x", slow.address());
    let arguments = ["bench", &url, "--json", "-c", "1", "-n", "100", "--rate", "500"];
    let stalled = Program::start(command(&arguments).stdin(Stdio::null()));
    asked.wait();
    // A second load is the clock: its 200th request is due 199 ms after its first.
    let clock = load(&always(OK), &["-c", "1", "-n", "200", "--rate", "1000"]);
    assert_eq!(clock.code(), 0, "{}", clock.stderr);
    gate.open();
    let report = json(&stalled.wait());
    assert_eq!(report["requests"], 100);
    // Half of them were due within 100 ms, and none was answered before 199 ms.
    assert!(report["latency_us"]["p50"].as_f64().expect("a number") >= 95_000.0, "{report}");
    assert!(report["latency_us"]["max"].as_f64().expect("a number") >= 195_000.0, "{report}");
}

#[test]
fn page_is_whole_and_needs_nothing_else() {
    let (server, folder) = (always(OK), Folder::new());
    let file = folder.path().join("report.html");
    let ended = load(&server, &["-n", "50", "-c", "2", "--html", file.to_str().expect("plain")]);
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    let page = std::fs::read_to_string(&file).expect("it was written");
    for tag in ["html", "head", "body", "svg", "table", "style"] {
        let (opened, closed) =
            (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
        assert!(opened > 0 && opened == closed, "{tag}: {opened} {closed}");
    }
    for word in ["<script", "src=", "href=", "NaN", "inf"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn what_can_not_run_is_said_in_one_line() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("http://{}/", free.expect("a port"));
    let ended = run(&["bench", &url]);
    assert_eq!((ended.code(), ended.stderr.lines().count()), (1, 1), "{}", ended.stderr);
    for bad in [&["ftp://x/"][..], &[&url, "--rate", "0"], &[&url, "-c", "0"], &[&url, "-n", "1", "-d", "1s"]]
    {
        assert_eq!(run(&[&["bench"], bad].concat()).code(), 2, "{bad:?}");
    }
}
