//! Bursts over HTTP: as many connections as the limit allows and the burst needs, and everybody served.

mod client_world;

use std::net::SocketAddr;

use client_world::{World, url};
use millstream_peers::Count;
use millstream_peers::raise_open_files;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Answers each request of a connection.
async fn answer(mut stream: TcpStream) {
    let (mut input, mut buffer) = (Vec::new(), vec![0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        input.extend_from_slice(&buffer[..count]);
        if input.ends_with(b"\r\n\r\n") {
            input.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                return;
            }
        }
    }
}

/// A server that answers nobody before it has so many connections; more are counted too.
async fn patient(expected: usize, accepted: Count) -> SocketAddr {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("loopback has a free port");
    let listener: TcpListener = socket.listen(4096).expect("it is bound");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let mut waiting = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            waiting.push(stream);
            if accepted.rise() >= expected as u64 {
                waiting.drain(..).for_each(|stream| drop(tokio::spawn(answer(stream))));
            }
        }
    });
    address
}

fn burst(callers: usize, max_open: usize) {
    raise_open_files();
    let expected = callers.min(max_open);
    let (world, accepted) = (World::with(|options| options.client.max_open = max_open), Count::new());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let address = url(patient(expected, accepted.clone()).await, "/");
        let calls: Vec<_> =
            (0..callers).map(|_| tokio::spawn(world.client.get(address.as_str()).send())).collect();
        for call in calls {
            let reply = call.await.expect("no panic").expect("served");
            assert_eq!(reply.text().await.expect("text"), "ok");
        }
        let stats = world.client.pool_stats();
        assert_eq!(
            (accepted.value(), stats.dialled, stats.idle),
            (expected as u64, expected as u64, expected)
        );
        assert_eq!((stats.lent, stats.waiting), (0, 0));
        assert_eq!(world.retried(), 0);
    });
}

#[test]
fn burst_of_201_opens_what_the_limit_allows() {
    for max_open in [16, 200, 1024] {
        burst(201, max_open);
    }
}

#[test]
fn burst_of_2000_opens_what_the_limit_allows() {
    for max_open in [16, 200, 1024] {
        burst(2000, max_open);
    }
}
