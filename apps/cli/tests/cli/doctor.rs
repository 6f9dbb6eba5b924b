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
