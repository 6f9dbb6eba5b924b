//! Clients of a simple server that leave, or do not read.

mod lines;

use std::time::Duration;

use lines::{Lines, Served};
use millstream_peers::{Count, Gate, RawConn, eventually};
use millstream_server::Simple;
use millstream_server::transport::Cause;

/// What a handler says of itself: entered, dropped, finished.
#[derive(Clone, Default)]
struct Held {
    entered: Count,
    leaves: Gate,
    dropped: Gate,
    finished: Gate,
}

impl Held {
    fn handler(&self) -> impl Fn(String) -> Answer + Send + Sync + 'static {
        let held = self.clone();
        move |line| {
            let held = held.clone();
            Box::pin(async move {
                if line == "hello" {
                    return Ok(line);
                }
                let _dropped = held.dropped.on_drop();
                held.entered.rise();
                held.leaves.passed().await;
                held.finished.open();
                Ok(line)
            })
        }
    }
}

type Answer = std::pin::Pin<Box<dyn Future<Output = millstream_base::Result<String>>>>;

#[test]
fn handler_is_dropped_when_its_client_leaves() {
    for resets in [false, true] {
        let held = Held::default();
        let server = Served::start(1, |_| (), held.handler());
        let mut conn = server.connect();
        conn.send("wait\n");
        held.entered.wait_for(1);
        if resets {
            conn.reset()
        } else {
            conn.close()
        }
        held.dropped.wait();
        assert!(!held.finished.is_open());
        server.wait_for_cause(Cause::Cancelled, 1);
        eventually("its place is free", || server.running.open_connections() == 0);
    }
}

#[test]
fn handler_that_may_finish_is_not_dropped() {
    let held = Held::default();
    let server = Served::serve(1, |_| (), Simple::new("lines", Lines, held.handler()).finish_abandoned());
    let mut conn = server.connect();
    conn.send("wait\n");
    held.entered.wait_for(1);
    conn.reset();
    assert!(!held.dropped.is_open());
    held.leaves.open();
    held.finished.wait();
    eventually("its place is free", || server.running.open_connections() == 0);
}

#[test]
fn client_that_closes_its_side_is_answered_by_a_handler_that_ends_soon() {
    let held = Held::default();
    let server = Served::start(1, |_| (), held.handler());
    let mut conn = server.connect();
    conn.send("wait\n").half_close();
    held.entered.wait_for(1);
    held.leaves.open();
    assert_eq!(conn.read_to_fin(), b"wait\n");
}

#[test]
fn client_that_reads_nothing_is_cut_off() {
    let idle = Duration::from_millis(50);
    let server = Served::start(
        1,
        |options| options.idle_timeout = idle,
        async |line: String| Ok(line.repeat(100_000)),
    );
    let mut conn = RawConn::connect_narrow(server.address, 16 << 10);
    let lines = format!("{}\n", "x".repeat(99)).repeat(10);
    conn.send(lines);
    server.wait_for_cause(Cause::TimeoutWrite, 1);
    eventually("its place is free", || server.running.open_connections() == 0);
}

#[test]
fn reply_larger_than_all_buffers_comes_whole() {
    let server = Served::start(1, |_| (), async |line: String| Ok(line.repeat(100_000)));
    let mut conn = server.connect_quietly();
    conn.send(format!("{}\n", "x".repeat(99)));
    assert_eq!(conn.read_until(b"\n").len(), 9_900_001);
}
