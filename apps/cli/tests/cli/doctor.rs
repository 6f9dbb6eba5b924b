//! `millstream doctor` and `millstream tune` as people and scripts run them.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use millstream::doctor::Observer;
use millstream_peers::netns::{CLIENT, Namespace, SERVER};
use millstream_peers::{Folder, or_skip};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::program::run;

/// Runs a test in a network namespace with 100 ports; what it starts is in there too. Without the right it says so.
fn inside(test: impl FnOnce() + Send) {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        test();
    }));
}

const REUSE: &str = "/proc/sys/net/ipv4/tcp_tw_reuse";

fn reuse() -> String {
    std::fs::read_to_string(REUSE).expect("it is there").trim().to_owned()
}

/// So many connections, ended by the client first.
fn leave_time_wait(count: usize) {
    let listener = TcpListener::bind(SocketAddr::from((SERVER, 8080))).expect("nobody else is here");
    let pair = |_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((CLIENT, 0)).into()).expect("a port");
        socket.connect(&SocketAddr::from((SERVER, 8080)).into()).expect("a listener");
        (TcpStream::from(socket), listener.accept().expect("it came").0)
    };
    let (clients, servers): (Vec<_>, Vec<_>) = (0..count).map(pair).unzip();
    clients.iter().for_each(|client| client.shutdown(Shutdown::Both).expect("it is open"));
    drop(clients);
    drop(servers);
    // The kernel handles each FIN at once on loopback, but nobody promises that.
    let mut observer = Observer::new().expect("sock_diag");
    let waits = |observer: &Observer| {
        let last = observer.observation().samples.pop().expect("one was taken");
        last.endpoints.iter().map(|one| one.states.time_wait).sum::<u32>() as usize
    };
    for _ in 0..1000 {
        observer.sample().expect("a dump");
        if waits(&observer) == count {
            return;
        }
    }
    panic!("{} TIME_WAIT", waits(&observer));
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn healthy_namespace_is_ok_and_says_what_was_not_checked() {
    inside(|| {
        let ended = run(&["doctor", "--for", "20ms"]);
        assert_eq!(ended.code(), 0, "{}", ended.stdout);
        assert!(ended.stdout.starts_with("OK: nothing found"), "{}", ended.stdout);
        assert!(ended.stdout.contains("Not checked: keep-alive-race"), "{}", ended.stdout);
    });
}

#[test]
fn ports_full_of_time_wait_are_critical_and_the_json_has_all_of_it() {
    inside(|| {
        leave_time_wait(100);
        let ended = run(&["doctor", "--json", "--for", "20ms"]);
        assert_eq!(ended.code(), 3, "{}", ended.stdout);
        let report = json(&ended.stdout);
        assert_eq!(report["verdict"], "critical");
        let found = report["diagnoses"].as_array().expect("a list");
        assert_eq!(found.len(), 1, "{report}");
        assert_eq!((&found[0]["rule"], &found[0]["side"]), (&"ports-exhausted".into(), &"connecting".into()));
        for remedy in found[0]["remedies"].as_array().expect("a list") {
            for key in ["kind", "text", "expected", "check"] {
                assert!(remedy[key].is_string(), "{key}: {remedy}");
            }
        }
        let row = &report["endpoints"][0];
        assert_eq!((&row["local"], &row["remote"]), (&"10.9.0.1".into(), &"10.9.0.2:8080".into()));
        assert_eq!(
            (&row["budget"], &row["used"], &row["seconds_to_exhaustion"]),
            (&100.into(), &100.into(), &0.into())
        );
        assert_eq!((&row["time_wait"], &report["states"]["time_wait"]), (&100.into(), &100.into()));
        assert!(report["host"]["sysctls"]["net.ipv4.tcp_tw_reuse"].is_u64(), "{report}");
    });
}

#[test]
fn endpoint_leaves_out_all_others() {
    inside(|| {
        leave_time_wait(50);
        let other = run(&["doctor", "--json", "--for", "20ms", "--endpoint", "10.9.0.3:8080"]);
        assert_eq!((other.code(), json(&other.stdout)["endpoints"].clone()), (0, Value::Array(vec![])));
        let same = run(&["doctor", "--for", "20ms", "--endpoint", "10.9.0.2:8080"]);
        assert_eq!(same.code(), 2, "{}", same.stdout);
        assert!(same.stdout.starts_with("WARNING: 1 thing found"), "{}", same.stdout);
    });
}

#[test]
fn since_tells_what_was_changed_predicted_and_observed() {
    inside(|| {
        leave_time_wait(100);
        let folder = Folder::new();
        let file = folder.path().join("before.json");
        let file = file.to_str().expect("a plain name");
        folder.write("before.json", &run(&["doctor", "--json", "--for", "20ms"]).stdout);
        std::fs::write(REUSE, "1").expect("a fresh namespace allows it");

        let text = run(&["doctor", "--for", "20ms", "--since", file]);
        assert_eq!(text.code(), 3, "{}", text.stdout);
        let (verdict, rest) = text.stdout.split_once("\nSince the earlier report, ").expect("it compares");
        assert!(verdict.starts_with("CRITICAL"), "{verdict}");
        for part in [
            "net.ipv4.tcp_tw_reuse: 0 -> 1",
            "ports-exhausted at 10.9.0.1 -> 10.9.0.2:8080: still found",
            "TIME_WAIT: predicted -100 %, observed 0 % (100 -> 100; 0 expected in 60 s): too early, ",
            "new connections a second that the ports allow: predicted +5888 %, calculated +5888 % (1.7 -> 100;",
        ] {
            assert!(rest.contains(part), "{part}: {rest}");
        }

        let report = run(&["doctor", "--json", "--for", "20ms", "--since", file]);
        let since = &json(&report.stdout)["since"];
        let setting = &since["settings"][0];
        assert_eq!((&setting["before"], &setting["now"]), (&0.into(), &1.into()), "{since}");
        let predictions = since["diagnoses"][0]["predictions"].as_array().expect("a list");
        let made = predictions.iter().find(|one| one["applied"] == true).expect("the setting was made");
        assert_eq!((&made["outcome"], &made["setting"]), (&"met".into(), &"net.ipv4.tcp_tw_reuse".into()));
        assert!(since["elapsed_s"].is_u64(), "{since}");

        let other = run(&["doctor", "--for", "20ms", "--since", file, "--endpoint", "10.9.0.2:8080"]);
        assert_eq!((other.code(), other.stdout.as_str()), (1, ""), "{}", other.stderr);
    });
}

#[test]
fn since_needs_a_report_and_says_so_in_one_line() {
    let folder = Folder::new();
    for (name, text) in [("missing", None), ("text", Some("no JSON")), ("other", Some("{\"was\":{}}"))] {
        text.iter().for_each(|text| drop(folder.write(name, text)));
        let path = folder.path().join(name);
        let path = path.to_str().expect("a plain name");
        let ended = run(&["doctor", "--json", "--since", path]);
        assert_eq!((ended.code(), ended.stdout.as_str()), (1, ""), "{name}");
        assert!(ended.stderr.starts_with(&format!("millstream: {path}: ")), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn tune_proposes_applies_and_puts_back_what_acts_on_the_cause() {
    inside(|| {
        leave_time_wait(100);
        let shown = run(&["tune", "--json", "--for", "20ms"]);
        let changes = json(&shown.stdout);
        assert_eq!(changes.as_array().map(Vec::len), Some(1), "{changes}");
        let one = &changes[0];
        assert_eq!((&one["name"], &one["now"]), (&"net.ipv4.tcp_tw_reuse".into(), &"0".into()));
        assert_eq!((shown.code(), reuse().as_str()), (0, "0"));

        let folder = Folder::new();
        let file = folder.path().join("back.json");
        let file = file.to_str().expect("a plain name");
        let applied = run(&["tune", "--apply", "--yes", "--keep", file, "--for", "20ms"]);
        assert_eq!((applied.code(), reuse().as_str()), (0, "1"), "{}", applied.stderr);
        let before = folder.path().join("back.before.json");
        let told = format!("to see what came of it, at once: millstream doctor --since {}", before.display());
        assert!(applied.stdout.trim_end().ends_with(&told), "{}", applied.stdout);
        let compared = run(&["doctor", "--for", "20ms", "--since", before.to_str().expect("a plain name")]);
        assert!(compared.stdout.contains("\n  net.ipv4.tcp_tw_reuse: 0 -> 1\n"), "{}", compared.stdout);
        // Now nothing more is to be set, and the way back is not overwritten.
        let again = run(&["tune", "--apply", "--yes", "--keep", file, "--for", "20ms"]);
        assert!(again.stdout.starts_with("No setting acts"), "{}", again.stdout);
        let back = run(&["tune", "--revert", file]);
        assert_eq!((back.code(), reuse().as_str()), (0, "0"), "{}", back.stderr);
        let refused = run(&["tune", "--apply", "--yes", "--keep", file, "--for", "20ms"]);
        assert_eq!((refused.code(), reuse().as_str()), (1, "0"), "{}", refused.stderr);
    });
}

#[test]
fn tune_puts_back_only_what_it_may_have_changed() {
    let folder = Folder::new();
    for text in
        [r#"{"was":{"kernel.core_pattern":"1"}}"#, r#"{"was":{"net.core.somaxconn":"x"}}"#, "nonsense"]
    {
        folder.write("bad.json", text);
        let path = folder.path().join("bad.json");
        let ended = run(&["tune", "--revert", path.to_str().expect("a plain name")]);
        assert_eq!(ended.code(), 1, "{text}: {}", ended.stdout);
        assert!(ended.stderr.starts_with("millstream: "), "{}", ended.stderr);
    }
}

#[test]
fn what_needs_a_terminal_says_so() {
    for arguments in [&["doctor", "--watch"][..], &["tune", "--apply"]] {
        let ended = run(arguments);
        assert_eq!(ended.code(), 1, "{arguments:?}");
        assert!(ended.stderr.contains("terminal"), "{}", ended.stderr);
    }
}
