//! Short connections that we close first: a hundred ports are enough for ten thousand of them, without a sysctl, and several source
//! addresses have a hundred each.
#![allow(missing_docs, clippy::unwrap_used)]

mod shared;

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind};
use millstream_peers::netns::{CLIENT, Namespace, SERVER};
use millstream_peers::{eventually, or_skip};
use millstream_ports::{BudgetSnapshot, Level, Shortage};
use millstream_sockets::{Counters, Diag, State};
use millstream_transport::{Addr, Cause, Conn, DialOptions, LifeTable, Opener, dial};
use shared::soon;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn at() -> SocketAddr {
    (SERVER, 8080).into()
}

async fn connect(table: &LifeTable, options: &DialOptions) -> Result<Conn, Error> {
    dial(&[Addr::Tcp(at())], options, soon(), table, Opener::Direct).await
}

/// A connection whose client closes first, wholly.
async fn short(table: &LifeTable, listener: &TcpListener) -> Result<(), Error> {
    let conn = connect(table, &DialOptions::default().with_local_addr(CLIENT)).await?;
    let (mut server, _) = listener.accept().unwrap();
    conn.close(Cause::IdleTimeoutLocal);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    Ok(())
}

fn budget(table: &LifeTable) -> BudgetSnapshot {
    table.ports().snapshots(Instant::now()).pop().unwrap()
}

#[test]
fn ten_thousand_short_connections_need_a_hundred_ports() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let table = LifeTable::default();
        table.ports().set_takeover(Some(Duration::from_millis(1)));
        let before = Counters::read().unwrap();
        runtime().block_on(async {
            for number in 0..10_000 {
                let error = short(&table, &listener).await.err();
                assert!(error.is_none(), "connection {number}: {error:?}, {:?}", budget(&table));
            }
        });
        let budget = budget(&table);
        assert_eq!((budget.source, budget.opened, budget.open), (CLIENT, 10_000, 0));
        assert!(budget.taken_over >= 9_900, "{budget:?}");
        let recycled = Counters::read().unwrap().since(&before).get("TcpExt", "TWRecycled");
        assert!(recycled >= 9_900, "{recycled} by the kernel's count");
        assert!(Shortage::look(at(), &[]).unwrap().time_wait <= 100);
        // Half of the ports were never bound: other programs find them, towards any other destination.
        let elsewhere = TcpListener::bind((SERVER, 8081)).unwrap();
        let free = std::iter::from_fn(|| TcpStream::connect(elsewhere.local_addr().unwrap()).ok()).take(50);
        assert_eq!(free.collect::<Vec<_>>().len(), 50);
    }));
}

#[test]
fn without_taking_over_the_hundred_and_first_finds_no_port() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let table = LifeTable::default();
        table.ports().set_takeover(None);
        runtime().block_on(async {
            for _ in 0..100 {
                short(&table, &listener).await.unwrap();
            }
            let error = short(&table, &listener).await.unwrap_err();
            assert_eq!(error.kind(), Kind::PortsExhausted);
        });
        let budget = budget(&table);
        assert_eq!((budget.time_wait, budget.free, budget.level), (100, 0, Level::Critical));
    }));
}

#[test]
fn port_whose_peer_has_not_closed_is_not_taken_over() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let table = LifeTable::default();
        table.ports().set_takeover(Some(Duration::ZERO));
        runtime().block_on(async {
            let mut servers = Vec::new();
            for _ in 0..100 {
                connect(&table, &DialOptions::default()).await.unwrap().close(Cause::Lifetime);
                servers.push(listener.accept().unwrap().0);
            }
            let error = connect(&table, &DialOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), Kind::PortsExhausted, "all wait for a FIN: {:?}", budget(&table));
            // Of the upper half: the others are never taken over.
            let at_peer = |server: &TcpStream| server.peer_addr().unwrap();
            let upper = servers.iter().position(|server| at_peer(server).port() >= 40_050).unwrap();
            let mut last = servers.swap_remove(upper);
            let port = at_peer(&last);
            assert_eq!(last.read(&mut [0]).unwrap(), 0);
            drop(last);
            let mut diag = Diag::open().unwrap();
            eventually("one has ended at both ends", || {
                diag.find(port, at()).unwrap().is_some_and(|entry| entry.state() == State::TimeWait)
            });
            // Each dial looks at four of a hundred, and asks each again only when its turn comes.
            let mut dialled = Err(error);
            for _ in 0..50 {
                dialled = connect(&table, &DialOptions::default()).await;
                if dialled.is_ok() {
                    break;
                }
            }
            assert_eq!(dialled.unwrap().local_addr().as_tcp(), Some(port));
        });
    }));
}

#[test]
fn port_that_somebody_listens_on_by_now_is_left_alone() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let table = LifeTable::default();
        table.ports().set_takeover(Some(Duration::ZERO));
        runtime().block_on(async {
            for _ in 0..100 {
                short(&table, &listener).await.unwrap();
            }
            let waiting = |port: &u16| {
                let local = SocketAddr::new(CLIENT, *port);
                Diag::open()
                    .unwrap()
                    .find(local, at())
                    .unwrap()
                    .filter(|entry| entry.state() == State::TimeWait)
            };
            // One that waits for longest; when its TIME_WAIT is over another program listens there.
            let all: Vec<u16> = (40_000..40_100).filter(|port| waiting(port).is_some()).collect();
            let others: Vec<TcpListener> = all
                .iter()
                .take(10)
                .map(|port| {
                    assert!(Diag::open().unwrap().destroy(&waiting(port).unwrap()).unwrap());
                    TcpListener::bind((CLIENT, *port)).unwrap()
                })
                .collect();
            for _ in 0..300 {
                short(&table, &listener).await.unwrap();
            }
            assert_eq!(others.len(), 10);
        });
        assert_eq!(budget(&table).opened, 400);
    }));
}

#[test]
fn four_sources_have_four_hundred_ports_and_share_them_evenly() {
    or_skip!(Namespace::run(|_| {
        let listener = TcpListener::bind(at()).unwrap();
        let table = LifeTable::default();
        let sources: Vec<IpAddr> = (1..=4).map(|last| IpAddr::from([127, 0, 0, last])).collect();
        let listener_there = TcpListener::bind((sources[0], 8080)).unwrap();
        drop(listener);
        let target = [Addr::Tcp(listener_there.local_addr().unwrap())];
        let options = DialOptions::default().with_local_addrs(sources.clone());
        runtime().block_on(async {
            let mut open = Vec::new();
            for number in 1..=400 {
                let conn = dial(&target, &options, soon(), &table, Opener::Direct).await;
                open.push((conn.unwrap(), listener_there.accept().unwrap()));
                if number % 100 == 0 {
                    let counts: Vec<u32> =
                        table.ports().snapshots(Instant::now()).iter().map(|one| one.open).collect();
                    let fair = number / 4;
                    assert!(counts.iter().all(|count| count.abs_diff(fair) * 20 <= fair), "{counts:?}");
                }
            }
            let error = dial(&target, &options, soon(), &table, Opener::Direct).await.unwrap_err();
            let text = error.to_string();
            assert_eq!(error.kind(), Kind::PortsExhausted);
            for source in &sources {
                assert!(
                    text.contains(&format!(
                        "from {source}: 100 of 100 held (100 open, 0 in TIME_WAIT, 0 by others)"
                    )),
                    "{text}"
                );
            }
        });
    }));
}
