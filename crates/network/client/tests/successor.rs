//! A connection that comes to the end of its lifetime has a successor by then.

mod world;

use millstream_client::ClientOptions;
use millstream_client::transport::{Cause, Opener};
use millstream_peers::{Gate, RawConn, Scripted, eventually};
use world::{World, block_on, call, echo, ms, target};

/// Answers a connection's first line when the gate opens, others at once.
fn server(gate: &Gate) -> Scripted {
    let gate = gate.clone();
    Scripted::always(move |number, conn: &mut RawConn| {
        gate.wait();
        echo(number, conn);
    })
}

fn world() -> World {
    let mut options = ClientOptions::default();
    options.lifetime = ms(3_000);
    World::with_options(1, options)
}

/// That many calls at once, each on a connection of its own.
async fn calls_at_once(world: &World, server: &Scripted, gate: &Gate, count: usize) {
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let (client, at) = (world.client.clone(), target(server.address()));
            tokio::spawn(async move { call(&client, &at, "hello").await })
        })
        .collect();
    while world.client.pool_stats().lent < count {
        tokio::task::yield_now().await;
    }
    gate.open();
    for call in calls {
        assert_eq!(call.await.expect("no panic").expect("served"), "hello");
    }
}

#[test]
fn connections_that_are_needed_are_replaced_before_they_end() {
    let (gate, world) = (Gate::new(), world());
    let server = server(&gate);
    block_on(calls_at_once(&world, &server, &gate, 4));
    eventually("four have ended, and four successors after them", || {
        let open = world.client.pool_stats().open;
        assert!((4..=8).contains(&open), "{open} open");
        world.ended(Cause::Lifetime) >= 8
    });
    assert!(world.opened(Opener::Successor) >= 8);
    assert_eq!(block_on(world.call(&target(server.address()), "again")).expect("served"), "again");
    let missed = world.opened(Opener::PoolEmpty) + world.opened(Opener::AllBusy);
    assert_eq!(missed, 4, "nobody waited for a connection since");
}

#[test]
fn connections_beyond_those_needed_end_without_a_successor() {
    let (gate, world) = (Gate::new(), world());
    let server = server(&gate);
    gate.open();
    let at = target(server.address());
    block_on(async {
        assert_eq!(world.client.prewarm(&at, 5).await.expect("it listens"), 5);
        assert_eq!(world.call(&at, "hello").await.expect("served"), "hello");
    });
    eventually("all but what is needed have ended", || world.ended(Cause::Lifetime) >= 5);
    let (successors, ended) = (world.opened(Opener::Successor), world.ended(Cause::Lifetime));
    assert!((1..=ended).contains(&successors), "{successors} successors of {ended}");
    let open = world.client.pool_stats().open;
    assert!((1..=2).contains(&open), "{open} open: one is needed, and may have its successor already");
}

#[test]
fn place_within_the_limit_is_not_passed_for_a_successor() {
    let gate = Gate::new();
    let server = server(&gate);
    let mut options = ClientOptions::default();
    options.lifetime = ms(1_000);
    options.max_open = 2;
    let world = World::with_options(1, options);
    block_on(calls_at_once(&world, &server, &gate, 2));
    eventually("both have ended", || {
        assert!(world.client.pool_stats().open <= 2);
        world.ended(Cause::Lifetime) >= 2
    });
    let at = target(server.address());
    assert_eq!(block_on(world.call(&at, "again")).expect("served"), "again");
}
