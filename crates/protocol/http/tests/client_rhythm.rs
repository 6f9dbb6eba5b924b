//! Bursts of calls with a hundred local ports: the connections of the first serve all others.

mod client_world;

use std::net::SocketAddr;
use std::time::Duration;

use client_world::{World, block_on, ok, serve, url};
use millstream_peers::netns::{CLIENT, Namespace, SERVER};
use millstream_peers::{RawConn, Scripted, or_skip, raise_open_files};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

const BURSTS: usize = 100;
const CALLS: usize = 80;
const EVERY: Duration = Duration::from_millis(10);

/// A server that keeps its connections.
fn server() -> Scripted {
    Scripted::always(|_, conn: &mut RawConn| serve(conn, |_| ok("hello")))
}

/// One call of a burst.
fn call(calls: &mut JoinSet<()>, world: &World, address: SocketAddr) {
    let request = world.client.get(url(address, "/"));
    calls.spawn(async move {
        let reply = request.send().await.expect("served");
        assert_eq!(reply.text().await.expect("text"), "hello");
    });
}

/// Waits for all of them; a panic of one is the test's.
async fn ended(calls: &mut JoinSet<()>) {
    while let Some(call) = calls.join_next().await {
        call.expect("no panic");
    }
}

#[test]
fn bursts_that_overlap_share_what_one_destination_gets_of_the_ports() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        raise_open_files();
        let (server, world) = (server(), World::new());
        block_on(async {
            let (mut calls, mut rhythm) = (JoinSet::new(), tokio::time::interval(EVERY));
            // Each has its moment, whether those before have been served or not.
            rhythm.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..BURSTS {
                rhythm.tick().await;
                (0..CALLS).for_each(|_| call(&mut calls, &world, server.address()));
            }
            ended(&mut calls).await;
        });
        let opened = world.opened();
        assert!((1..=45).contains(&opened), "{opened} connections for {} calls", BURSTS * CALLS);
        assert_eq!(world.client.pool_stats().open as u64, opened, "none has ended");
    }));
}

#[test]
fn bursts_from_two_addresses_open_no_more_than_one_burst_needs() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        raise_open_files();
        let server = server();
        // Twice 45: the limit is above what a burst could use.
        let world = World::with(|options| options.client.dial.local_addrs = vec![CLIENT, SERVER]);
        block_on(async {
            let (mut calls, mut rhythm) = (JoinSet::new(), tokio::time::interval(EVERY));
            rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for _ in 0..BURSTS {
                rhythm.tick().await;
                (0..CALLS).for_each(|_| call(&mut calls, &world, server.address()));
                // On a busy machine the next begins later: two at once would need more than 80.
                ended(&mut calls).await;
            }
        });
        let opened = world.opened();
        assert!((1..=85).contains(&opened), "{opened} connections for {} calls", BURSTS * CALLS);
        assert_eq!(world.client.pool_stats().open as u64, opened, "none has ended");
    }));
}
