//! The keep-alive race: what is tried again, what is not, and that nothing is done twice.

mod world;

use millstream_base::{Kind, Phase, Seen};
use millstream_client::transport::{Cause, Opener};
use millstream_client::{ClientOptions, Simple};
use millstream_peers::{Count, Gate, RawConn, Scripted, eventually};
use world::{Lines, World, block_on, target};

/// Answers so many lines, reads one more, and closes without a word.
fn answers_then_closes(answers: usize, read: &Count) -> impl FnOnce(&mut RawConn) + Send + 'static {
    let read = read.clone();
    move |conn: &mut RawConn| {
        for _ in 0..answers {
            let line = conn.read_until(b"\n");
            read.rise();
            conn.send(line);
        }
        conn.read_until(b"\n");
        read.rise();
    }
}

/// Answers until the client leaves.
fn answers(read: &Count) -> impl FnOnce(&mut RawConn) + Send + 'static {
    let read = read.clone();
    move |conn: &mut RawConn| {
        loop {
            let line = conn.read_some();
            if line.is_empty() {
                return;
            }
            read.rise();
            conn.send(line);
        }
    }
}

fn boxed(script: impl FnOnce(&mut RawConn) + Send + 'static) -> millstream_peers::scripted::Script {
    millstream_peers::scripted::boxed(script)
}

#[test]
fn call_that_may_be_done_twice_is_tried_again_once_on_a_fresh_connection() {
    let read = Count::new();
    let server = Scripted::serve_boxed(vec![boxed(answers_then_closes(1, &read)), boxed(answers(&read))]);
    let world = World::with(1, ClientOptions::default(), Simple::new("lines", Lines).idempotent());
    let target = target(server.address());
    block_on(async {
        assert_eq!(world.call(&target, "one").await.expect("answered"), "one");
        assert_eq!(world.call(&target, "two").await.expect("tried again"), "two");
    });
    assert_eq!((read.value(), server.accepted().value()), (3, 2));
    assert_eq!((world.opened(Opener::Retry), world.counter("millstream_client_retries")), (1, 1));
}

#[test]
fn call_that_must_not_be_done_twice_fails_and_says_that_it_may_have_been_done() {
    let read = Count::new();
    let server = Scripted::serve_boxed(vec![boxed(answers_then_closes(1, &read))]);
    let (world, target) = (World::new(), target(server.address()));
    block_on(async {
        world.call(&target, "one").await.expect("answered");
        let error = world.call(&target, "two").await.expect_err("closed without an answer");
        assert_eq!((error.kind(), error.seen()), (Kind::Closed, Seen::Maybe), "{error}");
        assert_eq!(error.target(), Some(target.to_string().as_str()));
        assert!(error.elapsed().is_some());
    });
    assert_eq!((read.value(), world.counter("millstream_client_retries")), (2, 0));
    server.finish();
}

#[test]
fn fresh_connection_that_fails_is_not_tried_again() {
    let read = Count::new();
    let server = Scripted::serve_boxed(vec![boxed(answers_then_closes(0, &read))]);
    let world = World::with(1, ClientOptions::default(), Simple::new("lines", Lines).idempotent());
    block_on(async {
        let error = world.call(&target(server.address()), "one").await.expect_err("closed");
        assert_eq!((error.kind(), error.phase()), (Kind::Closed, Some(Phase::Read)));
    });
    assert_eq!((read.value(), server.accepted().value()), (1, 1));
}

#[test]
fn second_failure_is_the_end_and_knows_what_the_first_peer_may_have_seen() {
    let read = Count::new();
    // Behind the first connection the listener is closed: the second try is refused.
    let server = Scripted::serve_boxed(vec![boxed(answers_then_closes(1, &read))]);
    let world = World::with(1, ClientOptions::default(), Simple::new("lines", Lines).idempotent());
    let target = target(server.address());
    block_on(async {
        world.call(&target, "one").await.expect("answered");
        let error = world.call(&target, "two").await.expect_err("refused");
        assert_eq!(
            (error.kind(), error.phase(), error.seen()),
            (Kind::Connect, Some(Phase::Connect), Seen::Maybe)
        );
    });
    assert_eq!(world.client.pool_stats().open, 0);
    server.finish();
}

#[test]
fn retries_can_be_switched_off() {
    let read = Count::new();
    let server = Scripted::serve_boxed(vec![boxed(answers_then_closes(1, &read))]);
    let mut options = ClientOptions::default();
    options.retries = false;
    let world = World::with(1, options, Simple::new("lines", Lines).idempotent());
    let target = target(server.address());
    block_on(async {
        world.call(&target, "one").await.expect("answered");
        assert!(world.call(&target, "two").await.is_err());
    });
    assert_eq!(world.counter("millstream_client_retries"), 0);
    server.finish();
}

#[test]
fn watch_takes_an_idle_connection_out_when_its_peer_closes_or_speaks() {
    for (does, cause) in [("close", Cause::IdleTimeoutPeer), ("speak", Cause::ParseDesync)] {
        let (go, gone) = (Gate::new(), Gate::new());
        let server = Scripted::serve([{
            let (go, gone) = (go.clone(), gone.clone());
            move |conn: &mut RawConn| {
                let line = conn.read_until(b"\n");
                conn.send(line);
                go.wait();
                if does == "speak" {
                    conn.send("nobody asked\n");
                    conn.read_to_end();
                }
                gone.open();
            }
        }]);
        let world = World::new();
        block_on(world.call(&target(server.address()), "one")).expect("answered");
        assert_eq!(world.client.pool_stats().idle, 1);
        go.open();
        eventually(does, || world.ended(cause) == 1);
        assert_eq!(world.client.pool_stats().open, 0);
        gone.wait();
        server.finish();
    }
}

#[test]
fn peek_finds_what_the_reactor_had_no_turn_to_see() {
    let (read, go, closed) = (Count::new(), Gate::new(), Gate::new());
    let server = Scripted::serve_boxed(vec![
        Box::new({
            let (go, closed) = (go.clone(), closed.clone());
            move |mut conn: RawConn| {
                let line = conn.read_until(b"\n");
                conn.send(line);
                go.wait();
                conn.close();
                closed.open();
            }
        }),
        boxed(answers(&read)),
    ]);
    let (world, target) = (World::new(), target(server.address()));
    block_on(async {
        world.call(&target, "one").await.expect("answered");
        let (blocked, free) = (Gate::new(), Gate::new());
        world.engine.workers()[0]
            .run({
                let (blocked, free) = (blocked.clone(), free.clone());
                move || {
                    blocked.open();
                    free.wait();
                }
            })
            .expect("the engine runs");
        blocked.wait();
        go.open();
        closed.wait();
        let begun = std::time::Instant::now();
        eventually("it was idle for long enough to be looked at", || begun.elapsed() > world::ms(2));
        // The dial that follows needs the worker.
        let freed = std::thread::spawn({
            let client = world.client.clone();
            move || {
                eventually("the stale session is out", || client.pool_stats().open == 0);
                free.open();
            }
        });
        assert_eq!(world.call(&target, "two").await.expect("on a fresh connection"), "two");
        freed.join().expect("freed");
    });
    assert_eq!((read.value(), world.counter("millstream_client_retries")), (1, 0));
    assert_eq!(world.ended(Cause::StaleOnCheckout), 1);
}

#[test]
fn budget_ends_retries_when_a_peer_fails_them_all() {
    // Each connection answers once and closes on the second line: nearly every call is retried, until the budget of ten
    // and a fifth of the calls is spent.
    let server = Scripted::always(|_, conn: &mut RawConn| {
        let line = conn.read_some();
        if !line.is_empty() {
            conn.send(line);
            conn.read_some();
        }
    });
    let world = World::with(1, ClientOptions::default(), Simple::new("lines", Lines).idempotent());
    let target = target(server.address());
    let failed = block_on(async {
        let mut failed = 0;
        for _ in 0..100 {
            failed += u64::from(world.call(&target, "x").await.is_err());
        }
        failed
    });
    let retried = world.counter("millstream_client_retries");
    assert!((25..=30).contains(&retried), "{retried} retries of 100 calls");
    assert!(failed > 0);
    world.client.close_idle();
}
