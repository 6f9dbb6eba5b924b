//! How a server ends: idle connections at once, busy ones when they are done, and nobody comes after.

mod lines;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use lines::Served;
use millstream_base::Error;
use millstream_peers::{Count, End, Gate, PATIENCE, RawConn, eventually};
use millstream_server::Shutdown;
use millstream_server::transport::Cause;

/// Runs a future in this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime for the test").block_on(future)
}

/// Answers each line when the gate opens; the count says how many wait.
fn held(workers: usize) -> (Served, Count, Gate) {
    let (entered, leaves) = (Count::new(), Gate::new());
    let server = Served::start(workers, |_| (), {
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
    (server, entered, leaves)
}

#[test]
fn server_without_connections_stops_at_once() {
    for workers in [1, 2] {
        let server = Served::echo(workers, |_| ());
        assert!(block_on(server.running.stop(PATIENCE)));
        assert!(RawConn::try_connect(server.address).is_err(), "the listener is closed");
    }
}

#[test]
fn engine_without_traffic_drains_at_once() {
    let server = Served::echo(2, |_| ());
    drop(server.connect());
    assert!(block_on(server.engine.shutdown(Shutdown::Graceful(PATIENCE))));
    block_on(server.running.stopped());
}

#[test]
fn idle_connections_close_when_the_drain_begins() {
    let server = Served::echo(2, |_| ());
    let mut conns: Vec<_> = (0..50).map(|_| server.connect()).collect();
    assert!(block_on(server.running.stop(PATIENCE)));
    for conn in &mut conns {
        assert_eq!(conn.expect_end(), End::Fin);
    }
    assert_eq!(server.lives().counts().ended_by_cause(Cause::Shutdown), 50);
    assert_eq!(server.running.open_connections(), 0);
}

#[test]
fn busy_connections_are_answered_and_then_close() {
    let (server, entered, leaves) = held(2);
    let mut conns: Vec<_> = (0..50).map(|_| RawConn::connect(server.address)).collect();
    for conn in &mut conns {
        conn.send("last words\n");
    }
    entered.wait_for(50);
    let running = server.running.clone();
    let stopping = std::thread::spawn(move || block_on(running.stop(PATIENCE)));
    eventually("the listener is closed", || RawConn::try_connect(server.address).is_err());
    // A try that still came in time is accepted, and leaves again.
    eventually("only the busy ones are left", || server.running.open_connections() == 50);
    leaves.open();
    for mut conn in conns {
        assert_eq!(conn.read_to_fin(), b"last words\n");
    }
    assert!(stopping.join().expect("no panic"), "all came to their end in time");
}

#[test]
fn stop_says_when_its_patience_was_too_short() {
    let (server, entered, leaves) = held(1);
    let mut conn = RawConn::connect(server.address);
    conn.send("slow\n");
    entered.wait_for(1);
    assert!(!block_on(server.running.stop(Duration::from_millis(20))));
    // What outlives it goes on.
    leaves.open();
    assert_eq!(conn.read_to_fin(), b"slow\n");
    conn.close();
    block_on(server.running.stopped());
}

#[test]
fn second_shutdown_ends_the_first_now() {
    let (server, entered, _leaves) = held(2);
    let mut conn = RawConn::connect(server.address);
    conn.send("never answered\n");
    entered.wait_for(1);
    let engine = server.engine.clone();
    let first = std::thread::spawn(move || block_on(engine.shutdown(Shutdown::Graceful(PATIENCE * 10))));
    block_on(server.engine.draining());
    block_on(server.engine.shutdown(Shutdown::Now));
    assert!(!first.join().expect("no panic"), "not all came to their end");
    let (bytes, _) = conn.read_to_end();
    assert_eq!(bytes, b"");
}

#[test]
fn clients_that_keep_connecting_do_not_keep_the_server() {
    let server = Served::echo(2, |_| ());
    let stops = Arc::new(AtomicBool::new(false));
    let connecting: Vec<_> = (0..3)
        .map(|_| {
            let (address, stops) = (server.address, stops.clone());
            std::thread::spawn(move || {
                let mut refused = 0;
                while !stops.load(Relaxed) && refused < 100 {
                    match RawConn::try_connect(address) {
                        Ok(conn) => conn.reset(),
                        Err(_) => refused += 1,
                    }
                }
            })
        })
        .collect();
    server.wait_for_metric("millstream_server_accepted", 100);
    assert!(block_on(server.running.stop(PATIENCE)));
    stops.store(true, Relaxed);
    connecting.into_iter().for_each(|thread| thread.join().expect("no panic"));
}

#[test]
fn connections_in_the_queue_when_the_drain_begins_are_served() {
    let server = Served::echo(1, |_| ());
    let (entered, leaves) = (Gate::new(), Gate::new());
    // While its worker is held, connections wait in the kernel's queue.
    let hold = {
        let (entered, leaves) = (entered.clone(), leaves.clone());
        server.engine.workers()[0].run(move || {
            entered.open();
            leaves.wait();
        })
    };
    hold.expect("the engine runs");
    entered.wait();
    let mut conns: Vec<_> = (0..20).map(|_| RawConn::connect(server.address)).collect();
    for conn in &mut conns {
        conn.send("in time\n");
    }
    let running = server.running.clone();
    let stopping = std::thread::spawn(move || block_on(running.stop(PATIENCE)));
    leaves.open();
    for mut conn in conns {
        assert_eq!(conn.read_to_fin(), b"in time\n");
    }
    assert!(stopping.join().expect("no panic"));
}

#[test]
fn idle_time_over_closes_with_its_cause() {
    let server = Served::echo(1, |options| options.idle_timeout = Duration::from_millis(50));
    let mut conn = server.connect();
    assert_eq!(conn.expect_end(), End::Fin);
    server.wait_for_cause(Cause::IdleTimeoutLocal, 1);
}

#[test]
fn handler_that_fails_closes_its_connection_and_no_other() {
    let server = Served::start(
        1,
        |_| (),
        async |line: String| {
            assert_ne!(line, "panic", "on purpose");
            if line == "fail" { Err(Error::protocol("on purpose")) } else { Ok(line) }
        },
    );
    let mut other = server.connect();
    for line in ["fail\n", "panic\n"] {
        let mut conn = server.connect();
        conn.send(line).expect_end();
        other.send("still here\n").expect("still here\n");
    }
    assert_eq!(server.metric("millstream_task_panics"), 1);
    eventually("only the other is open", || server.running.open_connections() == 1);
}

#[test]
fn context_that_panics_loses_its_connection_and_no_worker() {
    let made = Count::new();
    let make = {
        let made = made.clone();
        move |_: &millstream_server::transport::Conn| -> millstream_server::Context {
            assert_ne!(made.rise() % 2, 0, "on purpose");
            Arc::new(())
        }
    };
    let server = Served::echo(2, |options| options.context = Some(Arc::new(make)));
    let mut served = 0;
    for _ in 0..20 {
        let mut conn = RawConn::connect(server.address);
        conn.try_send("hello\n").expect("a new connection takes a line");
        served += usize::from(conn.half_close().read_to_end().0 == b"hello\n");
    }
    assert_eq!(served, 10);
    eventually("every place is free", || server.running.open_connections() == 0);
    assert_eq!(server.loads(), [0, 0]);
}
