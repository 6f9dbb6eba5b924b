//! The table of lives balances, whatever happens at once.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use millstream_base::{EngineId, Slot};
use millstream_transport::{Cause, ClosedBy, Conn, LifeTable, Side};
use proptest::prelude::*;

/// What a test does to a table.
#[derive(Clone, Debug)]
enum Step {
    Open,
    Close(usize, usize),
    Drop(usize),
    Detach(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Open),
        1 => (any::<usize>(), 0..Cause::ALL.len()).prop_map(|(which, cause)| Step::Close(which, cause)),
        1 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::Detach),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn opened_is_open_plus_ended_after_every_step(steps in steps()) {
        let table = LifeTable::default();
        let mut open: Vec<Conn> = Vec::new();
        let mut ended = 0;
        let mut ids = HashSet::new();
        for step in steps {
            match step {
                Step::Open => {
                    let (client, server) = Conn::pair(1, &table);
                    prop_assert!(ids.insert(client.life().id()) && ids.insert(server.life().id()));
                    open.extend([client, server]);
                }
                Step::Close(..) | Step::Drop(_) | Step::Detach(_) if open.is_empty() => {}
                Step::Close(which, cause) => {
                    let which = which % open.len();
                    open.swap_remove(which).close(Cause::ALL[cause]);
                    ended += 1;
                }
                Step::Drop(which) => {
                    let which = which % open.len();
                    drop(open.swap_remove(which));
                    ended += 1;
                }
                Step::Detach(which) => {
                    let which = which % open.len();
                    drop(open.swap_remove(which).into_stream());
                    ended += 1;
                }
            }
            let counts = table.counts();
            prop_assert_eq!(counts.open(), open.len() as u64);
            prop_assert_eq!(counts.ended(), ended);
            prop_assert_eq!(counts.opened(), counts.open() + counts.ended());
            prop_assert_eq!(table.snapshot().len(), open.len());
            let by_cause: u64 = Cause::ALL.iter().map(|cause| counts.ended_by_cause(*cause)).sum();
            prop_assert_eq!(by_cause, ended);
        }
    }
}

#[test]
fn table_balances_while_workers_open_and_strangers_close() {
    const WORKERS: usize = 3;
    const EACH: usize = 2_000;
    let engine = EngineId::next();
    let table = LifeTable::new(engine, WORKERS);
    let is_done = AtomicBool::new(false);
    let (send, receive) = std::sync::mpsc::sync_channel::<Conn>(64);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut looks = 0u64;
            while !is_done.load(Relaxed) {
                let counts = table.counts();
                assert!(counts.ended() <= counts.opened());
                assert!(table.snapshot().len() <= 2 * WORKERS * EACH);
                looks += 1;
            }
            looks
        });
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (table, send) = (&table, send.clone());
                scope.spawn(move || {
                    Slot::enter(engine, worker);
                    for _ in 0..EACH {
                        let (client, server) = Conn::pair(1, table);
                        server.close(Cause::OwnCloseHeader); // here
                        send.send(client).unwrap(); // on another thread
                    }
                })
            })
            .collect();
        drop(send);
        let ids: HashSet<_> = receive.iter().map(|conn| conn.life().id()).collect();
        assert_eq!(ids.len(), WORKERS * EACH, "no id is given twice");
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        is_done.store(true, Relaxed);
        assert!(watcher.join().unwrap() > 0);
    });
    let (counts, all) = (table.counts(), (WORKERS * EACH) as u64);
    assert_eq!((counts.opened(), counts.ended(), counts.open()), (2 * all, 2 * all, 0));
    assert_eq!(counts.ended_for(Side::Server, Cause::OwnCloseHeader, ClosedBy::Us), all);
    assert_eq!(counts.ended_for(Side::Client, Cause::Dropped, ClosedBy::Us), all);
    assert!(table.snapshot().is_empty());
}

#[tokio::test]
async fn selection_is_as_long_as_asked_and_may_close_what_it_looks_at() {
    let table = LifeTable::default();
    let pairs: Vec<_> = (0..1_500).map(|_| Conn::pair(1, &table)).collect(); // more than one batch
    let servers = |limit| table.select(limit, |life| life.side() == Side::Server);
    assert_eq!(servers(usize::MAX).len(), 1_500);
    assert_eq!((servers(7).len(), servers(0).len()), (7, 0));
    assert!(servers(7).iter().all(|life| life.side == Side::Server));
    // No lock is held while the question runs: it may open and close.
    let busy = table.select(3, |_| {
        drop(Conn::pair(1, &table));
        true
    });
    assert_eq!(busy.len(), 3);
    drop(pairs);
    assert_eq!(table.open_count(), 0);
}
