//! The account of each target: it balances, whatever happens at once, and books each end once.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use millstream_base::{Deadline, EngineId, Kind, Slot};
use millstream_transport::{
    Account, Addr, Cause, ClosedBy, Conn, ConnState, DialOptions, LifeTable, ListenOptions, Listener, Opener,
    Opening, RECORDS_MAX, Side, Stream, dial,
};
use proptest::prelude::*;

/// A connection whose peer is gone already, booked for this target.
fn open(table: &LifeTable, account: &Arc<Account>, opener: Opener) -> Conn {
    let (io, _) = tokio::io::duplex(1);
    let (local, peer) = (Addr::Memory, Addr::Memory);
    let opening =
        Opening { side: Side::Client, opener, local, peer, account: Some(account.clone()), budget: None };
    Conn::new(Stream::other(io), opening, table)
}

proptest! {
    #[test]
    fn accounts_balance_and_the_last_ends_are_kept_in_order(
        steps in prop::collection::vec((any::<bool>(), 0..3_usize, any::<usize>()), 0..900)
    ) {
        let table = LifeTable::default();
        let accounts = ["a", "b", "c"].map(|name| table.account(name));
        let mut live: Vec<Vec<Conn>> = vec![vec![], vec![], vec![]];
        let mut ended: Vec<Vec<(u64, Cause)>> = vec![vec![], vec![], vec![]];
        for (opens, which, random) in steps {
            if opens || live[which].is_empty() {
                let opener = Opener::ALL[random % Opener::ALL.len()];
                live[which].push(open(&table, &accounts[which], opener));
            } else {
                let at = random % live[which].len();
                let conn = live[which].swap_remove(at);
                let cause = Cause::ALL[random % Cause::ALL.len()];
                ended[which].push((conn.life().id().0, cause));
                conn.life().count_message();
                conn.close(cause);
            }
        }
        for (which, account) in table.ledger().iter().enumerate() {
            let counts = &account.counts;
            prop_assert_eq!(counts.open(), live[which].len() as u64);
            prop_assert_eq!(counts.ended(), ended[which].len() as u64);
            prop_assert_eq!(account.requests, counts.ended());
            for cause in Cause::ALL {
                let expected = ended[which].iter().filter(|(_, of)| of == cause).count() as u64;
                prop_assert_eq!(counts.ended_by_cause(*cause), expected);
            }
            let replaced: u64 = account.each_avoidable().map(|(_, count)| count).sum();
            prop_assert!(replaced <= counts.opened() && account.each_avoidable().all(|(cause, _)| cause.is_avoidable()));
            let records = accounts[which].records();
            let kept: Vec<_> = records.iter().map(|one| (one.id.0, one.cause)).collect();
            let first = ended[which].len().saturating_sub(RECORDS_MAX);
            prop_assert_eq!(&kept[..], &ended[which][first..]);
        }
    }
}

#[test]
fn account_balances_whenever_it_is_looked_at_while_threads_open_and_close() {
    const WORKERS: usize = 3;
    const EACH: u64 = 3_000;
    let engine = EngineId::next();
    let table = LifeTable::new(engine, WORKERS);
    let account = table.account("db:5432");
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut looks, mut last, mut requests) = (0_u64, 0, 0);
            while !is_done.load(Relaxed) {
                let account = &table.ledger()[0];
                let counts = &account.counts;
                let ended: u64 = counts.each_ended().map(|(.., count)| count).sum();
                // Each thread has one open at a time, and at most one more on its way out.
                assert!(counts.opened() - ended <= WORKERS as u64, "{counts:?}");
                assert!(counts.opened() >= last, "it only grows");
                assert!(
                    account.requests >= requests && account.requests <= counts.opened(),
                    "none counts twice"
                );
                requests = account.requests;
                (looks, last) = (looks + 1, counts.opened());
            }
            looks
        });
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (table, account) = (&table, &account);
                scope.spawn(move || {
                    Slot::enter(engine, worker);
                    for number in 0..EACH {
                        let conn = open(table, account, Opener::AllBusy);
                        conn.life().count_message();
                        conn.close(Cause::ALL[number as usize % Cause::ALL.len()]);
                    }
                })
            })
            .collect();
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        is_done.store(true, Relaxed);
        assert!(watcher.join().unwrap() > 0);
    });
    let all = WORKERS as u64 * EACH;
    let snapshot = &table.ledger()[0];
    assert_eq!((snapshot.counts.opened(), snapshot.counts.ended(), snapshot.requests), (all, all, all));
    assert_eq!((snapshot.reuse_ratio(), snapshot.new_per_thousand()), (Some(0.0), Some(1000.0)));
}

#[test]
fn new_connection_is_booked_against_the_end_that_made_it_necessary() {
    let table = LifeTable::default();
    let account = table.account("a");
    let first = open(&table, &account, Opener::PoolEmpty);
    assert_eq!(first.life().replaces(), None);
    first.close(Cause::BodyNotDrained);
    let second = open(&table, &account, Opener::PoolEmpty);
    assert_eq!(second.life().replaces(), Some(Cause::BodyNotDrained));
    second.close(Cause::Lifetime); // as was meant
    let third = open(&table, &account, Opener::PoolEmpty);
    assert_eq!(third.life().replaces(), None);
    assert!((0..10).all(|_| third.life().count_message() > 0));
    let now = &table.ledger()[0];
    assert_eq!(now.each_avoidable().collect::<Vec<_>>(), [(Cause::BodyNotDrained, 1)]);
    assert_eq!((now.requests, now.counts.opened(), now.counts.open()), (10, 3, 1));
    assert_eq!((now.reuse_ratio(), now.new_per_thousand()), (Some(0.7), Some(300.0)));
    assert_eq!(table.find_account("a").map(|found| Arc::ptr_eq(&found, &account)), Some(true));
    assert!(table.find_account("b").is_none() && table.ledger().len() == 1, "looking makes no account");
}

#[tokio::test]
async fn dials_are_booked_with_what_they_took_and_how_they_failed() {
    let table = LifeTable::default();
    let account = table.account("here");
    let options = DialOptions::default().with_account(account.clone());
    let mut acceptor = Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::default())
        .unwrap()
        .register()
        .unwrap();
    let deadline = Deadline::after(std::time::Instant::now(), std::time::Duration::from_secs(10));
    let targets = [acceptor.local_addr().clone()];
    let conn = dial(&targets, &options, deadline, &table, Opener::Direct).await.unwrap();
    let peer = acceptor.accept().await.unwrap();
    conn.life().count_message();
    conn.life().set_state(ConnState::Busy, std::time::Instant::now());
    drop(peer); // its FIN came before our close
    let mut conn = conn;
    std::future::poll_fn(|cx| conn.poll_peer(cx)).await;
    conn.close(Cause::PeerCloseHeader);
    let record = &account.records()[0];
    assert_eq!((record.opener, record.cause), (Opener::Direct, Cause::PeerCloseHeader));
    assert_eq!((record.closed_by, record.messages, record.was), (ClosedBy::Peer, 1, ConnState::Busy));
    assert!(!record.connect_time.is_zero() && record.age >= record.connect_time.min(record.age));
    drop(acceptor);
    let error = dial(&targets, &options, deadline, &table, Opener::Direct).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    let now = &table.ledger()[0];
    assert_eq!((now.failed, now.no_port, now.counts.opened()), (1, 0, 1));
    assert_eq!(now.handshake_time, record.connect_time);
    assert!(now.wasted_time.is_zero());
}
