//! A private range of ports: taken over in whole, oldest first, for several destinations at a time, and missed by nobody.
#![allow(missing_docs, clippy::unwrap_used)]

mod shared;

use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind};
use millstream_peers::netns::{CLIENT, Namespace, SERVER};
use millstream_peers::{eventually, or_skip};
use millstream_ports::{BudgetSnapshot, Level};
use millstream_sockets::{Counters, Diag, State};
use millstream_transport::{Addr, Cause, Conn, DialOptions, LifeTable, Opener, dial};
use shared::soon;
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;

/// Outside the namespace's range of 40000 to 40099.
const PRIVATE: RangeInclusive<u16> = 41_000..=41_099;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn listen(port: u16) -> TcpListener {
    TcpListener::bind((SERVER, port)).unwrap()
}

fn table(range: RangeInclusive<u16>, min_age: Option<Duration>) -> LifeTable {
    let table = LifeTable::default();
    table.ports().set_takeover(min_age);
    table.ports().set_private_range(Some(range)).unwrap();
    table
}

async fn connect(table: &LifeTable, listener: &TcpListener) -> Result<(Conn, TcpStream), Error> {
    let target = [Addr::Tcp(listener.local_addr().unwrap())];
    let options = DialOptions::default().with_local_addr(CLIENT);
    let conn = dial(&target, &options, soon(), table, Opener::Direct).await?;
    Ok((conn, listener.accept().unwrap().0))
}

fn port(conn: &Conn) -> u16 {
    conn.local_addr().as_tcp().unwrap().port()
}

/// The client closes first, and both ends are done with it: its port.
fn close((conn, mut server): (Conn, TcpStream)) -> u16 {
    let (port, at) = (port(&conn), server.local_addr().unwrap());
    conn.close(Cause::IdleTimeoutLocal);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop(server);
    eventually("TIME_WAIT", || is_waiting(port, at));
    port
}

fn is_waiting(port: u16, at: SocketAddr) -> bool {
    let found = Diag::open().unwrap().find((CLIENT, port).into(), at).unwrap();
    found.is_some_and(|entry| entry.state() == State::TimeWait)
}

async fn short(table: &LifeTable, listener: &TcpListener) -> Result<u16, Error> {
    connect(table, listener).await.map(close)
}

fn budgets(table: &LifeTable) -> Vec<BudgetSnapshot> {
    table.ports().snapshots(Instant::now())
}

#[test]
fn ten_thousand_short_connections_leave_the_kernels_ports_alone() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let (listener, other) = (listen(8080), listen(8081));
        let table = table(PRIVATE, Some(Duration::from_millis(1)));
        let before = Counters::read().unwrap();
        runtime().block_on(async {
            for number in 0..10_000 {
                let used = short(&table, &listener).await;
                assert!(
                    used.as_ref().is_ok_and(|port| PRIVATE.contains(port)),
                    "{number}: {used:?}, {:?}",
                    budgets(&table)
                );
                if number % 100 == 0 {
                    // Another program's: its server closes first, so that it gives its port back.
                    let mut plain = TcpStream::connect(other.local_addr().unwrap()).unwrap();
                    assert!((40_000..=40_099).contains(&plain.local_addr().unwrap().port()));
                    drop(other.accept().unwrap());
                    assert_eq!(plain.read(&mut [0]).unwrap(), 0);
                }
            }
        });
        let recycled = Counters::read().unwrap().since(&before).get("TcpExt", "TWRecycled");
        assert!(recycled >= 9_800, "{recycled} by the kernel's count");
        let budget = budgets(&table).pop().unwrap();
        assert_eq!((budget.ports, budget.private, budget.opened, budget.open), (200, 100, 10_000, 0));
        assert_eq!(
            (budget.taken_over, budget.time_wait, budget.level),
            (9_900, 100, Level::Calm),
            "{budget:?}"
        );
        // Towards the same server the kernel has still a hundred, or nearly: the probe on loopback took two at most.
        let plain = std::iter::from_fn(|| TcpStream::connect(listener.local_addr().unwrap()).ok());
        assert!(plain.collect::<Vec<_>>().len() >= 98);
    }));
}

#[test]
fn reserved_part_of_the_kernels_range_is_handed_out_in_order_to_two_destinations_at_a_time() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        namespace.set("net.ipv4.ip_local_reserved_ports", "40050-40059");
        let table = table(40_050..=40_059, Some(Duration::ZERO));
        let (first, second) = (listen(8080), listen(8081));
        runtime().block_on(async {
            let mut open = Vec::new();
            for number in 40_050..40_060 {
                for listener in [&first, &second] {
                    let pair = connect(&table, listener).await.unwrap();
                    assert_eq!(port(&pair.0), number);
                    open.push(pair);
                }
            }
            let budget = |at: usize| budgets(&table).swap_remove(at);
            assert_eq!((budget(0).ports, budget(0).private, budget(0).open), (100, 10, 10));
            // All are open towards both: the kernel's search finds the next.
            let more = connect(&table, &first).await.unwrap();
            assert!((40_000..40_050).contains(&port(&more.0)) || (40_060..40_100).contains(&port(&more.0)));
            assert_eq!((budget(0).open, budget(1).open), (11, 10));
            // Closed in another order, of the first destination.
            let order = [7, 2, 9, 0, 1, 3, 4, 5, 6, 8];
            let mut of_first: Vec<_> = open.into_iter().step_by(2).map(Some).collect();
            let closed: Vec<u16> = order.map(|at| close(of_first[at].take().unwrap())).into();
            let mut again = Vec::new();
            for _ in 0..30 {
                again.push(short(&table, &first).await.unwrap());
            }
            assert_eq!(again, closed.repeat(3));
        });
    }));
}

#[test]
fn without_a_source_the_kernels_is_used() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = listen(8080);
        let table = table(PRIVATE, Some(Duration::ZERO));
        runtime().block_on(async {
            short(&table, &listener).await.unwrap(); // from another address
            let target = [Addr::Tcp(listener.local_addr().unwrap())];
            let conn = dial(&target, &DialOptions::default(), soon(), &table, Opener::Direct).await.unwrap();
            assert_eq!(conn.local_addr().as_tcp(), Some((SERVER, 41_000).into()));
        });
    }));
}

#[test]
fn ports_that_others_have_are_passed_over() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = listen(8080);
        let table = table(41_000..=41_009, Some(Duration::ZERO));
        // A program that listens, and one that has bound its port without SO_REUSEADDR and connected it elsewhere.
        let listening = TcpListener::bind((CLIENT, 41_000)).unwrap();
        let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        bound.bind(&SocketAddr::new(CLIENT, 41_003).into()).unwrap();
        runtime().block_on(async {
            let mut used = Vec::new();
            for _ in 0..24 {
                used.push(short(&table, &listener).await.unwrap());
            }
            let free = [41_001, 41_002, 41_004, 41_005, 41_006, 41_007, 41_008, 41_009];
            assert_eq!(used, free.repeat(3));
        });
        let budget = budgets(&table).pop().unwrap();
        assert_eq!((budget.opened, budget.taken_over, budget.free), (24, 16, 108), "{budget:?}");
        drop((listening, bound));
    }));
}

#[test]
fn orphan_whose_peer_has_not_closed_is_left_alone() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = listen(8080);
        let table = table(41_000..=41_003, Some(Duration::ZERO));
        runtime().block_on(async {
            let mut orphans = Vec::new();
            for number in 41_000..41_004 {
                let (conn, server) = connect(&table, &listener).await.unwrap();
                assert_eq!(port(&conn), number);
                conn.close(Cause::Lifetime);
                orphans.push(server);
            }
            let (other, _server) = connect(&table, &listener).await.unwrap();
            assert!((40_000..40_100).contains(&port(&other)), "all wait for a FIN");
            let mut ended = orphans.swap_remove(2);
            assert_eq!(ended.read(&mut [0]).unwrap(), 0);
            drop(ended);
            eventually("it has ended at both ends", || is_waiting(41_002, (SERVER, 8080).into()));
            assert_eq!(short(&table, &listener).await.unwrap(), 41_002);
            // Nobody has reset the others.
            for mut server in orphans {
                assert_eq!(server.read(&mut [0]).unwrap(), 0);
                assert!(server.take_error().unwrap().is_none());
            }
        });
    }));
}

#[test]
fn without_timestamps_time_wait_is_sat_out_and_the_kernel_searches() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = listen(8080);
        let table = table(41_000..=41_003, Some(Duration::ZERO));
        // Behind the probe, as where the peer alone has none.
        namespace.set("net.ipv4.tcp_timestamps", "0");
        runtime().block_on(async {
            let mut used = Vec::new();
            for _ in 0..10 {
                used.push(short(&table, &listener).await.unwrap());
            }
            assert_eq!(used[..4], [41_000, 41_001, 41_002, 41_003]);
            assert!(used[4..].iter().all(|port| (40_000..40_100).contains(port)), "{used:?}");
            let budget = budgets(&table).pop().unwrap();
            assert_eq!((budget.taken_over, budget.time_wait, budget.free), (0, 10, 94), "{budget:?}");
            // A server that closes first leaves nothing with us: that one is used again.
            let ours = self::table(41_004..=41_004, Some(Duration::ZERO));
            for _ in 0..3 {
                let (mut conn, server) = connect(&ours, &listener).await.unwrap();
                assert_eq!(port(&conn), 41_004);
                drop(server);
                assert_eq!(conn.read(&mut [0]).await.unwrap(), 0);
            }
        });
    }));
}

#[test]
fn with_all_ports_held_the_error_counts_both_ranges() {
    or_skip!(Namespace::run(|_| {
        let listener = listen(8080);
        let table = table(41_000..=41_049, None);
        runtime().block_on(async {
            let mut open = Vec::new();
            let error = loop {
                match connect(&table, &listener).await {
                    Ok(pair) => open.push(pair),
                    Err(error) => break error,
                }
            };
            let source: IpAddr = CLIENT;
            let told = format!("from {source}: 150 of 150 held (150 open, 0 in TIME_WAIT, 0 by others)");
            assert_eq!(error.kind(), Kind::PortsExhausted);
            assert!(open.len() == 150 && error.to_string().contains(&told), "{}: {error}", open.len());
            table.ports().look(Instant::now()).unwrap();
            let budget = budgets(&table).pop().unwrap();
            assert_eq!((budget.foreign, budget.free, budget.level), (0, 0, Level::Critical));
        });
    }));
}

#[test]
fn range_that_the_kernel_chooses_from_is_refused() {
    or_skip!(Namespace::run(|namespace| {
        let ports = LifeTable::default().ports().clone();
        let error = ports.set_private_range(Some(40_090..=40_110)).unwrap_err().to_string();
        assert!(error.contains("10 ports that the kernel chooses from (40000 to 40099)"), "{error}");
        assert_eq!(ports.private_count(), 0);
        namespace.set("net.ipv4.ip_local_reserved_ports", "40090-40099");
        ports.set_private_range(Some(40_090..=40_110)).unwrap();
        assert!(ports.set_private_range(Some(80..=41_000)).is_err() && ports.private_count() == 21);
        ports.set_private_range(None).unwrap();
        assert_eq!(ports.private_count(), 0);
    }));
}
