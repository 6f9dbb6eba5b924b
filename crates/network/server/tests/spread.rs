//! Connections over the workers: none has more than its share.

mod lines;

use lines::Served;
use millstream_peers::{RawConn, eventually};

/// How far two workers may be apart: what the acceptor bears before it hands a connection over.
fn slack(least: usize) -> usize {
    2 + least / 16
}

#[track_caller]
fn assert_even(server: &Served, total: usize) {
    let loads = server.loads();
    let (least, most) = (loads.iter().min().copied().unwrap_or(0), loads.iter().max().copied().unwrap_or(0));
    assert_eq!(loads.iter().sum::<usize>(), total, "{loads:?}");
    assert!(most - least <= slack(least), "{loads:?}");
}

#[test]
fn connections_one_by_one_are_spread_evenly() {
    let server = Served::echo(2, |_| ());
    let conns: Vec<_> = (0..64).map(|_| server.connect()).collect();
    assert_even(&server, conns.len());
    assert_eq!(server.running.open_connections(), 64);
}

#[test]
fn thousand_connections_at_once_are_spread_evenly() {
    let server = Served::echo(2, |_| ());
    for _ in 0..5 {
        let mut conns: Vec<_> = (0..1000).map(|_| RawConn::connect(server.address)).collect();
        for conn in &mut conns {
            conn.send("hello\n").read_exact(6);
        }
        assert_even(&server, 1000);
        drop(conns);
        eventually("all are gone", || server.loads() == [0, 0]);
    }
}

#[test]
fn connections_that_come_to_one_listener_are_handed_over() {
    let server = Served::echo(3, |_| ());
    let conns: Vec<_> = (0..300).map(|_| server.connect()).collect();
    assert_even(&server, conns.len());
    // The kernel alone would spread them by chance: 300 over 3 without a single hand-over won't come.
    assert!(server.metric("millstream_server_handed_over") > 0);
}

#[test]
fn new_connections_fill_the_worker_that_lost_its_own() {
    let server = Served::echo(2, |_| ());
    let conns: Vec<_> = (0..200).map(|_| server.connect()).collect();
    // Which worker has which connection is known by the order in which one of them is emptied.
    let mut left: Vec<_> = conns.into_iter().map(Some).collect();
    for conn in &mut left {
        let before = server.loads();
        let taken = conn.take();
        drop(taken);
        eventually("it is gone", || server.loads() != before);
        let after = server.loads();
        if after[0] + 40 <= after[1] || after[1] + 40 <= after[0] {
            break;
        }
    }
    let total: usize = server.loads().iter().sum();
    let more: Vec<_> = (0..100).map(|_| server.connect()).collect();
    assert_even(&server, total + more.len());
}

#[test]
fn two_thousand_connections_at_once_are_all_served() {
    let server = Served::echo(2, |_| ());
    let mut conns: Vec<_> = (0..2000).map(|_| RawConn::connect(server.address)).collect();
    for round in 0..3 {
        let line = format!("round {round}\n");
        for conn in &mut conns {
            conn.send(&line);
        }
        for conn in &mut conns {
            conn.expect(&line);
        }
    }
    assert_eq!(server.running.open_connections(), 2000);
    assert_eq!(server.metric("millstream_server_accepted"), 2000);
}
