//! The same hundred local ports towards a server that has an IPv6 address: nobody runs out either.

mod client_world;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use client_world::{World, block_on, fetch, ms, ok, url};
use millstream_base::Kind;
use millstream_peers::netns::Namespace;
use millstream_peers::{eventually, or_skip, raise_open_files};

const SERVER: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 2));

/// Answers so many requests on each connection, and closes then. Holds what it has accepted.
fn server(namespace: &Namespace, requests: usize) -> (SocketAddr, Arc<Mutex<Vec<TcpStream>>>) {
    namespace.add_address(SERVER);
    let listener = TcpListener::bind((SERVER, 8080)).expect("nobody else listens");
    let (address, held) = (listener.local_addr().expect("it is bound"), Arc::new(Mutex::new(Vec::new())));
    let holds = held.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            holds.lock().expect("nobody panics").push(stream.try_clone().expect("descriptors are there"));
            std::thread::spawn(move || {
                answer(&stream, requests);
                // The connection's other handle would keep it open.
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    });
    (address, held)
}

fn answer(stream: &TcpStream, requests: usize) {
    let (mut heads, mut writing) = (BufReader::new(stream), stream);
    for number in 1..=requests {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if !heads.read_line(&mut line).is_ok_and(|count| count > 0) {
                return;
            }
        }
        let reply = if number == requests {
            ok("hello").replace("OK\r\n", "OK\r\nConnection: close\r\n")
        } else {
            ok("hello")
        };
        if writing.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

fn many(callers: usize, requests: usize) {
    or_skip!(Namespace::run(|namespace| {
        raise_open_files();
        let (address, _held) = server(namespace, requests);
        let world = World::new();
        block_on(async {
            let failed = fetch(&world.client, &url(address, "/"), 2000, callers, |request| request).await;
            assert!(failed.is_empty(), "{callers} callers: {} failed: {}", failed.len(), failed[0]);
            assert!(world.client.pool_stats().open <= 45);
        });
    }));
}

#[test]
fn server_that_keeps_connections_is_served_by_45_of_them() {
    many(1000, usize::MAX);
}

#[test]
fn server_that_closes_after_seven_requests_costs_no_port() {
    many(300, 7);
}

#[test]
fn server_that_closes_after_each_request_costs_no_port() {
    many(64, 1);
}

#[test]
fn caller_without_a_port_waits_until_one_is_free_or_its_time_is_over() {
    or_skip!(Namespace::run(|namespace| {
        let (address, held) = server(namespace, usize::MAX);
        let mut taken: Vec<TcpStream> = std::iter::from_fn(|| TcpStream::connect(address).ok()).collect();
        assert_eq!(taken.len(), 100);
        eventually("the server has them all", || held.lock().expect("nobody panics").len() == 100);
        let world = World::new();
        block_on(async {
            let call = || world.client.get(url(address, "/"));
            let error = call().timeout(ms(50)).send().await.expect_err("no port is free");
            assert_eq!(error.kind(), Kind::PortsExhausted, "{error}");
            let (text, own) = (error.to_string(), format!("(pid {}): 100", std::process::id()));
            let told = "towards [fd00:9::2]:8080 from fd00:9::2: 100 of 100 are held (100 open, 0 in TIME_WAIT, 0 closing)";
            assert!(text.contains(told) && text.contains(&own), "{text}");
            let calls: Vec<_> = (0..20).map(|_| tokio::spawn(call().send())).collect();
            drop(held.lock().expect("nobody panics").remove(0).shutdown(Shutdown::Both));
            assert_eq!(taken[0].read(&mut [0]).expect("a good end"), 0);
            taken.remove(0);
            for call in calls {
                let reply = call.await.expect("no panic").expect("served");
                assert_eq!(reply.text().await.expect("text"), "hello");
            }
        });
        assert_eq!(world.client.pool_stats().open, 1, "one port, one connection, twenty calls");
    }));
}

#[test]
fn ports_that_rest_are_taken_over() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let (address, _held) = server(namespace, usize::MAX);
        let world = World::new();
        block_on(async {
            let (url, begun) = (url(address, "/"), Instant::now());
            for number in 0..160 {
                let failed = fetch(&world.client, &url, 1, 1, |request| request).await;
                assert!(failed.is_empty(), "call {number}: {failed:?}");
                world.client.close_idle();
            }
            assert!(begun.elapsed() < ms(20_000), "{:?}", begun.elapsed());
        });
        let budgets = world.lives.ports().snapshots(Instant::now());
        assert!(budgets.iter().any(|budget| budget.taken_over > 0), "{budgets:?}");
    }));
}
