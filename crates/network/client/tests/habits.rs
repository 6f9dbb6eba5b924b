//! A server that does not announce its patience shows it, and is left in time after two lessons.

mod world;

use millstream_client::ClientOptions;
use millstream_client::Simple;
use millstream_client::transport::Cause;
use millstream_peers::{Gate, RawConn, Scripted, eventually};
use world::{Lines, World, ms, target};

/// Answers until a gate opens, then closes.
fn leaving_at(gates: &[Gate]) -> Scripted {
    let gates = gates.to_vec();
    Scripted::always(move |number, conn: &mut RawConn| {
        let Some(gate) = gates.get(usize::try_from(number).expect("few")) else {
            return world::echo(number, conn);
        };
        let line = conn.read_until(b"\n");
        conn.send(line);
        gate.wait();
    })
}

fn paused<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().expect("a runtime").block_on(future)
}

/// Teaches a client that this server closes after `patience`, and gives what it was taught with.
fn taught(patience: u64, protocol: Simple<Lines, String>) -> (Scripted, World) {
    let gates = [Gate::new(), Gate::new()];
    let server = leaving_at(&gates);
    let world = World::with(1, ClientOptions::default(), protocol);
    for (lesson, gate) in (1..).zip(&gates) {
        world::block_on(world.call(&target(server.address()), "x")).expect("served");
        let begun = std::time::Instant::now();
        eventually("it lies idle for so long", || begun.elapsed() >= ms(patience));
        gate.open();
        eventually("its end is noticed", || world.ended(Cause::IdleTimeoutPeer) == lesson);
    }
    (server, world)
}

#[test]
fn connection_is_left_before_its_server_would_leave() {
    let (server, world) = taught(100, Simple::new("lines", Lines).idempotent());
    let target = target(server.address());
    paused(async {
        world.call(&target, "x").await.expect("served");
        tokio::time::advance(ms(30)).await;
        world.call(&target, "x").await.expect("served");
        assert_eq!(server.accepted().wait_for(3), 3, "used again within half of its server's patience");
        tokio::time::advance(ms(65)).await;
        world.call(&target, "x").await.expect("served");
        assert_eq!(server.accepted().wait_for(4), 4, "not used beyond it");
    });
    assert_eq!(world.ended(Cause::IdleTimeoutLocal), 1);
}

#[test]
fn call_that_must_not_be_done_twice_keeps_away_from_the_end() {
    for (is_idempotent, connections) in [(true, 3), (false, 4)] {
        let protocol = Simple::new("lines", Lines);
        let protocol = if is_idempotent { protocol.idempotent() } else { protocol };
        let (server, world) = taught(100, protocol);
        let target = target(server.address());
        paused(async {
            world.call(&target, "x").await.expect("served");
            // Within the 50 ms that it is kept, and in the last fifth of them.
            tokio::time::advance(ms(46)).await;
            world.call(&target, "x").await.expect("served");
        });
        assert_eq!(server.accepted().wait_for(connections), connections, "idempotent: {is_idempotent}");
        assert_eq!(world.client.pool_stats().open, 1);
    }
}

#[test]
fn one_end_is_no_lesson() {
    let gates = [Gate::new()];
    let server = leaving_at(&gates);
    let (world, target) = (World::new(), target(server.address()));
    world::block_on(world.call(&target, "x")).expect("served");
    let begun = std::time::Instant::now();
    eventually("it lies idle for so long", || begun.elapsed() >= ms(30));
    gates[0].open();
    eventually("its end is noticed", || world.ended(Cause::IdleTimeoutPeer) == 1);
    paused(async {
        world.call(&target, "x").await.expect("served");
        tokio::time::advance(ms(10_000)).await;
        world.call(&target, "x").await.expect("served");
    });
    assert_eq!(server.accepted().value(), 2);
}
