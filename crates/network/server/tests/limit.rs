//! The connection limit: exact, never passed, and at it the longest idle make room.

mod lines;

use lines::Served;
use millstream_peers::{Count, End, Gate, RawConn, eventually};
use millstream_server::transport::{Cause, ClosedBy, Side};

#[test]
fn open_connections_are_those_of_clients_and_no_others() {
    for workers in [1, 2, 4] {
        let server = Served::echo(workers, |_| ());
        assert_eq!(server.running.open_connections(), 0);
        let conns = [server.connect(), server.connect()];
        assert_eq!(
            (server.running.open_connections(), server.metric("millstream_server_connections")),
            (2, 2)
        );
        drop(conns);
        eventually("none is open", || server.running.open_connections() == 0);
    }
}

#[test]
fn limit_below_the_number_of_workers_serves_from_every_listener() {
    let server = Served::echo(4, |options| options.max_connections = 1);
    // Each comes to one of four listeners, by chance.
    for _ in 0..40 {
        drop(server.connect());
    }
    assert_eq!(server.metric("millstream_server_accepted"), 40);
}

#[test]
fn connections_at_the_limit_stay_while_nobody_waits() {
    let server = Served::echo(2, |options| options.max_connections = 20);
    let mut conns: Vec<_> = (0..20).map(|_| server.connect()).collect();
    // Several times over, since a server that makes room for nobody would do it bit by bit.
    for _ in 0..300 {
        for conn in &mut conns {
            conn.send("still here\n").expect("still here\n");
        }
    }
    assert_eq!(server.running.open_connections(), 20);
    assert_eq!(server.metric("millstream_server_evicted_idle"), 0);
}

#[test]
fn newcomer_at_the_limit_takes_the_place_of_the_longest_idle() {
    let server = Served::echo(1, |options| options.max_connections = 40);
    let mut conns: Vec<_> = (0..40).map(|_| server.connect()).collect();
    // The first twenty are used again: now the others are idle longest.
    for conn in &mut conns[..20] {
        conn.send("again\n").expect("again\n");
    }
    let newcomer = server.connect();
    for conn in &mut conns[..20] {
        conn.send("and again\n").expect("and again\n");
    }
    assert_eq!(conns[20].expect_end(), End::Fin);
    server.wait_for_cause(Cause::CapacityEvict, 1);
    let counts = server.lives().counts();
    let evicted = counts.ended_for(Side::Server, Cause::CapacityEvict, ClosedBy::Us);
    assert_eq!(evicted, server.metric("millstream_server_evicted_idle"));
    assert!((1..=20).contains(&evicted), "{evicted}");
    assert!(server.metric("millstream_server_at_limit") >= 1);
    drop(newcomer);
}

#[test]
fn busy_connections_are_never_evicted_and_newcomers_wait() {
    let (entered, leaves) = (Count::new(), Gate::new());
    let server = Served::start(2, |options| options.max_connections = 4, {
        let (entered, leaves) = (entered.clone(), leaves.clone());
        move |line: String| {
            let (entered, leaves) = (entered.clone(), leaves.clone());
            async move {
                entered.rise();
                leaves.passed().await;
                Ok(line)
            }
        }
    });
    let mut conns = Vec::new();
    for number in 0..10 {
        let mut conn = RawConn::connect(server.address);
        conn.send("busy\n");
        conns.push(conn);
        // One that has not asked yet is idle.
        entered.wait_for(4.min(number + 1));
    }
    server.wait_for_metric("millstream_server_at_limit", 2);
    assert_eq!((entered.value(), server.running.open_connections()), (4, 4));
    leaves.open();
    // Whoever is done is idle and makes room for the next; nobody is lost.
    for conn in &mut conns {
        conn.expect("busy\n");
    }
    assert_eq!(entered.value(), 10);
}
