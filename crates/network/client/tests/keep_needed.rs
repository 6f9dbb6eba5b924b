//! A burst finds the connections of the one before it, if the client keeps what is needed beyond the idle timeout.

mod world;

use millstream_client::ClientOptions;
use millstream_client::transport::{Cause, Opener};
use millstream_peers::{Gate, RawConn, Scripted, eventually};
use world::{World, block_on, call, echo, ms, target};

const COUNT: usize = 4;

/// Answers a line that is the number of a gate when that opens.
fn server(gates: &[Gate; 2]) -> Scripted {
    let gates = gates.clone();
    Scripted::always(move |_, conn: &mut RawConn| {
        while let Ok(line) = conn.try_read_some() {
            let number = std::str::from_utf8(&line).expect("text").trim().parse::<usize>();
            if let Ok(number) = number {
                gates[number].wait();
            }
            if line.is_empty() || conn.try_send(line).is_err() {
                return;
            }
        }
    })
}

fn world(keep_needed: bool) -> World {
    let mut options = ClientOptions::default();
    (options.idle_timeout, options.keep_needed) = (ms(100), keep_needed);
    options.lifetime = ms(20_000); // the client looks each half second then
    World::with_options(1, options)
}

/// That many calls at once, each on a connection of its own.
async fn burst(world: &World, server: &Scripted, number: usize, gate: &Gate) {
    let calls: Vec<_> = (0..COUNT)
        .map(|_| {
            let (client, at) = (world.client.clone(), target(server.address()));
            tokio::spawn(async move { call(&client, &at, &number.to_string()).await })
        })
        .collect();
    while world.client.pool_stats().lent < COUNT {
        tokio::task::yield_now().await;
    }
    gate.open();
    for call in calls {
        assert_eq!(call.await.expect("no panic").expect("served"), number.to_string());
    }
}

/// Connections that a second burst had to open, when those of the first had been idle for longer than the idle timeout.
fn opened_by_the_second(keep_needed: bool) -> u64 {
    let gates = <[Gate; 2]>::default();
    let (server, other, world) = (server(&gates), Scripted::always(echo), world(keep_needed));
    block_on(burst(&world, &server, 0, &gates[0]));
    // These are younger than those of the burst, and not all are needed, for they are opened one or two at once. When the first of
    // them ends, all of the burst are past their time.
    assert_eq!(block_on(world.client.prewarm(&target(other.address()), COUNT)).expect("it listens"), COUNT);
    let surplus = if keep_needed { 1 } else { 2 * COUNT as u64 };
    eventually("those not needed end", || world.ended(Cause::IdleTimeoutLocal) >= surplus);
    let opened = || world.opened(Opener::PoolEmpty) + world.opened(Opener::AllBusy);
    assert_eq!(opened(), COUNT as u64);
    block_on(burst(&world, &server, 1, &gates[1]));
    opened() - COUNT as u64
}

#[test]
fn burst_opens_nothing_where_what_is_needed_is_kept() {
    assert_eq!(opened_by_the_second(true), 0);
}

#[test]
fn burst_opens_all_anew_unless_told_otherwise() {
    assert!(!ClientOptions::default().keep_needed);
    assert_eq!(opened_by_the_second(false), COUNT as u64);
}
