//! A server that does not announce its patience shows it, and is left in time after two lessons.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use millstream_client::ClientOptions;
use millstream_client::Simple;
use millstream_client::transport::Cause;
use millstream_peers::{Gate, RawConn, Scripted, eventually};
use world::{Lines, World, ms, target};

/// Lets a server close its connections when the test wants, one after the other; those that come when school is over it serves.
#[derive(Clone, Default)]
struct School {
    gates: [Gate; 8],
    is_over: Arc<AtomicBool>,
}

impl School {
    fn server(&self) -> Scripted {
        let school = self.clone();
        Scripted::always(move |number, conn: &mut RawConn| {
            let gate = school.gates.get(usize::try_from(number).expect("few"));
            let Some(gate) = gate.filter(|_| !school.is_over.load(SeqCst)) else {
                return world::echo(number, conn);
            };
            let line = conn.read_until(b"\n");
            conn.send(line);
            gate.wait();
        })
    }
}

fn paused<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().expect("a runtime").block_on(future)
}

/// Teaches a client that this server closes after `patience`; gives how many lessons that took. On a busy host an end is noticed
/// late, and two lessons that differ teach nothing.
fn taught(patience: u64, protocol: Simple<Lines, String>) -> (Scripted, World, u64) {
    let school = School::default();
    let server = school.server();
    let world = World::with(1, ClientOptions::default(), protocol);
    let mut before = Duration::MAX;
    for (lesson, gate) in (1..).zip(&school.gates) {
        world::block_on(world.call(&target(server.address()), "x")).expect("served");
        let begun = Instant::now();
        eventually("it lies idle for so long", || begun.elapsed() >= ms(patience));
        gate.open();
        eventually("its end is noticed", || world.ended(Cause::IdleTimeoutPeer) == lesson);
        let late = begun.elapsed() - ms(patience);
        if late.abs_diff(before) < ms(18) {
            school.is_over.store(true, SeqCst);
            return (server, world, lesson);
        }
        before = late;
    }
    panic!("no two lessons in {} were alike", school.gates.len());
}

#[test]
fn connection_is_left_before_its_server_would_leave() {
    let (server, world, lessons) = taught(100, Simple::new("lines", Lines).idempotent());
    let target = target(server.address());
    paused(async {
        world.call(&target, "x").await.expect("served");
        tokio::time::advance(ms(30)).await;
        world.call(&target, "x").await.expect("served");
        let one = lessons + 1;
        assert_eq!(server.accepted().wait_for(one), one, "used again within half of its server's patience");
        tokio::time::advance(ms(65)).await;
        world.call(&target, "x").await.expect("served");
        assert_eq!(server.accepted().wait_for(one + 1), one + 1, "not used beyond it");
    });
    assert_eq!(world.ended(Cause::IdleTimeoutLocal), 1);
}

#[test]
fn call_that_must_not_be_done_twice_keeps_away_from_the_end() {
    for (is_idempotent, connections) in [(true, 1), (false, 2)] {
        let protocol = Simple::new("lines", Lines);
        let protocol = if is_idempotent { protocol.idempotent() } else { protocol };
        let (server, world, lessons) = taught(300, protocol);
        let connections = lessons + connections;
        let target = target(server.address());
        paused(async {
            world.call(&target, "x").await.expect("served");
            // Within the 150 ms that it is kept, and in the last fifth of them.
            tokio::time::advance(ms(138)).await;
            world.call(&target, "x").await.expect("served");
        });
        assert_eq!(server.accepted().wait_for(connections), connections, "idempotent: {is_idempotent}");
        assert_eq!(world.client.pool_stats().open, 1);
    }
}

#[test]
fn one_end_is_no_lesson() {
    let school = School::default();
    let server = school.server();
    let (world, target) = (World::new(), target(server.address()));
    world::block_on(world.call(&target, "x")).expect("served");
    let begun = Instant::now();
    eventually("it lies idle for so long", || begun.elapsed() >= ms(30));
    school.is_over.store(true, SeqCst);
    school.gates[0].open();
    eventually("its end is noticed", || world.ended(Cause::IdleTimeoutPeer) == 1);
    paused(async {
        world.call(&target, "x").await.expect("served");
        tokio::time::advance(ms(10_000)).await;
        world.call(&target, "x").await.expect("served");
    });
    assert_eq!(server.accepted().value(), 2);
}
