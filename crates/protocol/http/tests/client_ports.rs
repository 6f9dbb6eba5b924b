//! A hundred local ports, and servers that close after every few requests: nobody runs out.
//!
//! Each test has a network namespace of its own, with `tcp_tw_reuse=0`: a port whose connection we close first is lost for a
//! minute, and the test with it.

mod client_world;

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use client_world::{World, block_on, ms, ok, serve, url};
use millstream_base::registry::Value;
use millstream_base::{Kind, Seen};
use millstream_client::transport::{Opener, Side};
use millstream_http::HttpClient;
use millstream_http::client::{RequestBuilder, ResetIdle};
use millstream_peers::eventually;
use millstream_peers::netns::{Namespace, SERVER, SERVER_V6};
use millstream_peers::nginx::{Nginx, NginxConfig};
use millstream_peers::or_skip;
use millstream_peers::raise_open_files;
use millstream_peers::{RawConn, Scripted};
use millstream_ports::{Level, Shortage};
use millstream_sockets::{Diag, Query};

fn nginx(requests: u64) -> Result<Nginx, millstream_peers::Skip> {
    NginxConfig::new().answer("hello").keepalive_requests(requests).directive("access_log off").start()
}

/// So many requests by so many callers; what failed.
async fn fetch(client: &HttpClient, url: &str, requests: usize, callers: usize, closes: bool) -> Vec<String> {
    let change = move |request: RequestBuilder| {
        if closes { request.header("connection", "close") } else { request }
    };
    client_world::fetch(client, url, requests, callers, change).await
}

/// 2,000 requests from this many callers, in a namespace of their own: what a client that ends leaves in TIME_WAIT is not
/// the next one's.
fn check(keepalive_requests: u64) {
    for callers in [64, 300, 1000] {
        or_skip!(Namespace::run(|_| {
            raise_open_files();
            let nginx = or_skip!(nginx(keepalive_requests));
            let world = World::new();
            block_on(async {
                let url = url(nginx.address(), "/");
                let failed = fetch(&world.client, &url, 2000, callers, false).await;
                assert!(failed.is_empty(), "{callers} callers: {} failed: {}", failed.len(), failed[0]);
                // The share of a hundred ports that one destination gets.
                assert!(world.client.pool_stats().open <= 45);
            });
        }));
    }
}

#[test]
fn server_that_keeps_connections_is_served_by_45_of_them() {
    check(100_000_000);
}

#[test]
fn server_that_closes_after_seven_requests_costs_no_port() {
    check(7);
}

#[test]
fn server_that_closes_after_each_request_costs_no_port() {
    check(1);
}

/// A server that says which clients it has, and answers only those that speak. Its end closes first, when it is told to.
fn holding_server() -> (SocketAddr, Arc<Mutex<Vec<TcpStream>>>) {
    holding_server_at(SERVER)
}

fn holding_server_at(server: IpAddr) -> (SocketAddr, Arc<Mutex<Vec<TcpStream>>>) {
    let listener = TcpListener::bind((server, 8080)).expect("nobody else listens");
    let (address, held) = (listener.local_addr().expect("it is bound"), Arc::new(Mutex::new(Vec::new())));
    let holds = held.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut speaking = stream.try_clone().expect("descriptors are there");
            holds.lock().expect("nobody panics").push(stream);
            std::thread::spawn(move || {
                while speaking.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {
                    let _ = speaking.write_all(ok("hello").as_bytes());
                }
            });
        }
    });
    (address, held)
}

#[test]
fn caller_without_a_port_waits_until_one_is_free_or_its_time_is_over() {
    or_skip!(Namespace::run(|_| waits_for_a_port(SERVER)));
    or_skip!(Namespace::run(|namespace| {
        namespace.add_address(SERVER_V6);
        waits_for_a_port(SERVER_V6);
    }));
}

fn waits_for_a_port(server: IpAddr) {
    let (address, held) = holding_server_at(server);
    // Another program has all hundred ports of this destination.
    let mut taken: Vec<TcpStream> = std::iter::from_fn(|| TcpStream::connect(address).ok()).collect();
    assert_eq!(taken.len(), 100);
    eventually("the server has them all", || held.lock().expect("nobody panics").len() == 100);
    let world = World::new();
    block_on(async {
        let call = || world.client.get(url(address, "/"));
        let error = call().timeout(ms(50)).send().await.expect_err("no port is free");
        assert_eq!((error.kind(), error.seen()), (Kind::PortsExhausted, Seen::No), "{error}");
        let (text, own) = (error.to_string(), format!("(pid {}): 100", std::process::id()));
        let held_by = "100 of 100 are held (100 open, 0 in TIME_WAIT, 0 closing)";
        let told = format!("towards {address} from {server}: {held_by}");
        assert!(text.contains(&told) && text.contains(&own), "{text}");

        let calls: Vec<_> = (0..20).map(|_| tokio::spawn(call().send())).collect();
        // One connection ends, the server's end first: its port is free at once.
        drop(held.lock().expect("nobody panics").remove(0).shutdown(Shutdown::Both));
        assert_eq!(taken[0].read(&mut [0]).expect("a good end"), 0);
        taken.remove(0);
        for call in calls {
            let reply = call.await.expect("no panic").expect("served");
            assert_eq!(reply.text().await.expect("text"), "hello");
        }
    });
    assert_eq!(world.client.pool_stats().open, 1, "one port, one connection, twenty calls");
}

/// How many calls have waited for a port.
fn port_waits(world: &World) -> u64 {
    let samples = world.engine.registry().collect();
    let found = samples.iter().find(|sample| sample.name == "millstream_client_port_waits");
    found.map_or(0, |sample| if let Value::Counter(count) = sample.value { count } else { 0 })
}

#[test]
fn thousand_callers_without_a_port_make_a_handful_of_connects_and_are_served_when_ten_are_free() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        raise_open_files();
        let (address, held) = holding_server();
        // Another program has used all ports of this destination, and closed first.
        let taken: Vec<TcpStream> = std::iter::from_fn(|| TcpStream::connect(address).ok()).collect();
        assert_eq!(taken.len(), 100);
        eventually("the server has them all", || held.lock().expect("nobody panics").len() == 100);
        drop(taken);
        held.lock().expect("nobody panics").clear();
        let look = || Shortage::look(address, &[]).expect("sock_diag");
        eventually("TIME_WAIT", || look().time_wait == 100);
        let world = World::new();
        let without_port = || world.lives.ledger().first().map_or(0, |account| account.no_port);
        block_on(async {
            let error = world.client.get(url(address, "/")).timeout(ms(100)).send().await;
            let text = error.expect_err("no port is free").to_string();
            let told = "100 of 100 are held (0 open, 100 in TIME_WAIT, 0 closing), the next is free in ";
            assert!(text.contains(told), "{text}");

            let calls: Vec<_> =
                (0..1000).map(|_| tokio::spawn(world.client.get(url(address, "/")).send())).collect();
            let patience = Instant::now() + ms(20_000);
            while port_waits(&world) < 1001 {
                assert!(Instant::now() < patience, "{} wait", port_waits(&world));
                tokio::task::yield_now().await;
            }
            // A second has not passed: the one that failed above, and one on each worker at most.
            assert!(without_port() <= 5, "{} vain connects", without_port());
            let mut diag = Diag::open().expect("sock_diag");
            let mut some = Vec::new();
            let each = |record: &millstream_sockets::Record<'_>| {
                some.push(record.to_entry());
                if some.len() < 10 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            diag.dump(&Query::all().remote(address), each).expect("sock_diag");
            some.iter().for_each(|entry| assert!(diag.destroy(entry).expect("root")));
            let freed = Instant::now();
            for (number, call) in calls.into_iter().enumerate() {
                let reply = call.await.expect("no panic").expect("served");
                assert_eq!(reply.text().await.expect("text"), "hello");
                if number == 0 || number == 999 {
                    eprintln!("call {number} was served {:?} after the ports came free", freed.elapsed());
                }
            }
            // The same calls, with the same connections: what serving them takes.
            let begun = Instant::now();
            let calls: Vec<_> =
                (0..1000).map(|_| tokio::spawn(world.client.get(url(address, "/")).send())).collect();
            for call in calls {
                assert_eq!(
                    call.await.expect("no panic").expect("served").text().await.expect("text"),
                    "hello"
                );
            }
            eprintln!("the same calls with the same connections took {:?}", begun.elapsed());
        });
        let open = world.client.pool_stats().open;
        assert!((1..=10).contains(&open), "{open} connections on ten ports");
    }));
}

#[test]
fn where_ports_are_scarce_callers_share_the_connections_that_there_are() {
    or_skip!(Namespace::run(|_| {
        raise_open_files();
        let (address, held) = holding_server();
        // Another program has 65 of a hundred; the client is told by the kernel's list.
        let taken: Vec<TcpStream> = (0..65).map(|_| TcpStream::connect(address).expect("free")).collect();
        eventually("the server has them all", || held.lock().expect("nobody panics").len() == 65);
        let world = World::new();
        block_on(async {
            let url = url(address, "/");
            assert!(fetch(&world.client, &url, 1, 1, false).await.is_empty());
            let ports = world.lives.ports();
            ports.look(Instant::now()).expect("sock_diag");
            let failed = fetch(&world.client, &url, 2_000, 300, false).await;
            assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
            // 70 of a hundred are the limit: 65 and 5, and one a worker that found out at the same time.
            let open = world.client.pool_stats().open;
            assert!((2..=7).contains(&open), "{open} are open");
            let told = ports.snapshots(Instant::now()).pop().expect("one destination");
            assert_eq!((told.foreign, told.level), (65, Level::Tight), "{told:?}");
            // When the other program lets go, there are as many as ever.
            let theirs = held.lock().expect("nobody panics").drain(..65).collect::<Vec<_>>();
            theirs.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
            for mut stream in taken {
                assert_eq!(stream.read(&mut [0]).expect("a good end"), 0);
            }
            let patience = Instant::now() + ms(20_000);
            while world.client.pool_stats().open < 20 {
                ports.look(Instant::now()).expect("sock_diag");
                assert!(fetch(&world.client, &url, 600, 300, false).await.is_empty());
                assert!(Instant::now() < patience, "{:?}", world.client.pool_stats());
            }
        });
    }));
}

/// All hundred ports are ours and in TIME_WAIT: after a second half of them can be taken over, and callers are let in as many at a
/// time, not one a second.
#[test]
fn callers_that_wait_get_the_ports_that_can_be_taken_over() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let server = Scripted::always(|_, conn: &mut RawConn| serve(conn, |_| ok("hello")));
        let world = World::new();
        block_on(async {
            let (url, begun) = (url(server.address(), "/"), Instant::now());
            for number in 0..160 {
                let failed = fetch(&world.client, &url, 1, 1, false).await;
                assert!(failed.is_empty(), "call {number}: {failed:?}");
                world.client.close_idle();
            }
            assert!(begun.elapsed() < ms(20_000), "{:?}", begun.elapsed());
        });
        let budgets = world.lives.ports().snapshots(Instant::now());
        assert!(budgets.iter().any(|budget| budget.taken_over > 0), "{budgets:?}");
    }));
}

#[test]
fn connections_are_opened_ahead_of_need_up_to_what_ports_allow() {
    or_skip!(Namespace::run(|_| {
        let (address, _held) = holding_server();
        let world = World::new();
        let taken: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).expect("free")).collect();
        block_on(async {
            let url = url(address, "/");
            assert_eq!(world.client.prewarm(url.as_str(), 7).await.expect("it listens"), 7);
            assert_eq!(world.client.prewarm(url.as_str(), 5).await.expect("enough are there"), 0);
            world.lives.ports().look(Instant::now()).expect("sock_diag");
            assert_eq!(world.client.prewarm(url.as_str(), 10).await.expect("it listens"), 3);
            // 20 are another program's: at 45 it is enough.
            let more = world.client.prewarm(url.as_str(), 100).await.expect("it listens");
            assert!((14..=24).contains(&more), "{more} more");
            let stats = world.client.pool_stats();
            assert_eq!((stats.idle, stats.open), (10 + more, 10 + more), "{stats:?}");
            assert!(fetch(&world.client, &url, 100, 10, false).await.is_empty());
        });
        let counts = world.lives.counts();
        assert_eq!(counts.opened(), counts.opened_for(Side::Client, Opener::Prewarm), "none was missing");
        drop(taken);
        let nobody = TcpListener::bind((SERVER, 0)).and_then(|one| one.local_addr()).expect("a free port");
        let error = block_on(world.client.prewarm(url(nobody, "/"), 3)).expect_err("nobody listens");
        assert_eq!(error.kind(), Kind::Connect, "{error}");
    }));
}

#[test]
fn idle_connections_that_may_be_reset_leave_no_time_wait() {
    for (reset_idle, expected) in
        [(ResetIdle::Always, 0), (ResetIdle::UnderPressure, 1), (ResetIdle::Never, 1)]
    {
        or_skip!(Namespace::run(|namespace| {
            namespace.keep_time_wait();
            let (address, held) = holding_server();
            let world = World::with(|options| options.client.reset_idle = reset_idle);
            block_on(async {
                assert!(fetch(&world.client, &url(address, "/"), 1, 1, false).await.is_empty());
            });
            let account = || world.lives.ledger().pop().expect("one target");
            eventually("it is idle", || world.client.pool_stats().idle == 1);
            world.client.close_idle();
            eventually("it is closed", || account().counts.open() == 0);
            held.lock().expect("nobody panics").clear();
            assert_eq!(account().resets, 1 - expected);
            let look = || Shortage::look(address, &[]).expect("sock_diag");
            eventually("the server has closed", || look().held == look().time_wait);
            assert_eq!(u64::from(look().time_wait), expected);
        }));
    }
}

#[test]
fn connections_that_we_asked_to_be_closed_cost_no_port() {
    or_skip!(Namespace::run(|_| {
        let nginx = or_skip!(nginx(100_000_000));
        let world = World::new();
        block_on(async {
            let url = url(nginx.address(), "/");
            let failed = fetch(&world.client, &url, 20_000, 64, true).await;
            assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
        });
        assert!(world.opened() >= 20_000);
    }));
}
