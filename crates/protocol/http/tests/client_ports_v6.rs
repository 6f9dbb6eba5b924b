//! The same hundred local ports towards a server that has an IPv6 address: nobody runs out either.

mod client_world;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use client_world::{World, block_on, fetch, ms, ok, url};
use millstream_peers::netns::{Namespace, SERVER_V6};
use millstream_peers::{or_skip, raise_open_files};

/// Answers so many requests on each connection, and closes then.
fn server(namespace: &Namespace, requests: usize) -> SocketAddr {
    namespace.add_address(SERVER_V6);
    let listener = TcpListener::bind((SERVER_V6, 8080)).expect("nobody else listens");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(&stream, requests));
        }
    });
    address
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
        let address = server(namespace, requests);
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
fn ports_that_rest_are_taken_over() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let address = server(namespace, usize::MAX);
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
