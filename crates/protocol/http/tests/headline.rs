//! What no other client holds on a hundred local ports with `tcp_tw_reuse=0`: it never runs out, and it can say of each
//! connection why there was one, in sums that are the kernel's own.

mod client_world;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use client_world::{World, block_on, fetch, url};
use millstream_client::transport::{ClosedBy, Side};
use millstream_peers::netns::Namespace;
use millstream_peers::nginx::NginxConfig;
use millstream_peers::{eventually, or_skip, raise_open_files};
use millstream_sockets::{Counters, Diag, Query, State};

/// Sockets in TIME_WAIT whose own port is this one, and those whose peer's is.
fn time_wait(port: u16) -> (u64, u64) {
    let count = |query: Query| {
        let count = AtomicU64::new(0);
        let counted = Diag::open().and_then(|mut diag| {
            diag.dump(&query.states([State::TimeWait]), |_| {
                count.fetch_add(1, Relaxed);
                ControlFlow::Continue(())
            })
        });
        counted.expect("sock_diag");
        count.into_inner()
    };
    (count(Query::all().local_port(port)), count(Query::all().remote_port(port)))
}

#[test]
fn hundred_thousand_requests_on_a_hundred_ports_and_every_connection_is_explained() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        raise_open_files();
        let config = NginxConfig::new().answer("hello").keepalive_requests(7);
        let nginx = or_skip!(config.directive("access_log off").start());
        let before = Counters::read().expect("counters");
        let world = World::new();
        block_on(async {
            let failed =
                fetch(&world.client, &url(nginx.address(), "/"), 100_000, 64, |request| request).await;
            assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
            world.client.close_idle();
        });
        eventually("all have ended", || world.lives.open_count() == 0);
        let account = world.lives.ledger().pop().expect("one target");
        assert_eq!((account.requests, account.failed, account.no_port), (100_000, 0, 0));
        // Each was opened for a reason and ended for one; the kernel has seen as many.
        let counts = &account.counts;
        let told: u64 = counts.each_ended().map(|(.., count)| count).sum();
        let opened: u64 = counts.each_opened().map(|(.., count)| count).sum();
        let kernel = |name| Counters::read().expect("counters").since(&before).get("Tcp", name) as u64;
        assert_eq!((told, opened), (counts.opened(), counts.opened()));
        assert_eq!(kernel("ActiveOpens"), counts.opened(), "{account:?}");
        assert!(counts.opened() >= 100_000 / 7, "{}", counts.opened());
        // Who closed first, as we say, keeps TIME_WAIT, as the kernel says.
        let closed_by = |by| counts.each_ended().filter(|one| one.2 == by).map(|one| one.3).sum::<u64>();
        // One more: somebody looked whether nginx listens.
        let told = closed_by(ClosedBy::Us) + 1;
        eventually("TIME_WAIT at our end of those", || time_wait(nginx.address().port()).1 == told);
        let theirs = time_wait(nginx.address().port()).0;
        assert!(theirs <= 100 && told <= 46, "{theirs} at the server, {told} at the client");
        assert_eq!(counts.of_side(Side::Server), (0, 0));
    }));
}
