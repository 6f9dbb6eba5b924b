//! Sockets in the reactor of their worker, and away from it.

use std::io::{Read, Write};

use millstream_base::Result;
use millstream_runtime::Engine;
use millstream_transport::{Cause, Conn, LifeTable, ListenOptions, Listener, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Runs `serve` on the second worker (the first runs the test, which blocks) with a connection accepted there, and gives the client's end and what `serve` gives.
fn accepted<T: Send + 'static>(
    engine: &Engine,
    serve: impl AsyncFnOnce(Conn) -> T + Send + 'static,
) -> (std::net::TcpStream, impl Future<Output = Result<T>>) {
    let (tell, told) = std::sync::mpsc::channel();
    let served = engine.workers()[1].spawn(async move || {
        let listener = Listener::bind(&"127.0.0.1:0".parse().expect("an address"), &ListenOptions::default())
            .expect("a port is free");
        let mut acceptor = listener.register().expect("it is watched");
        tell.send(acceptor.local_addr().to_string()).expect("somebody asks");
        let conn = Conn::accept(acceptor.accept().await.expect("one comes"), &LifeTable::default())
            .expect("it is taken");
        serve(conn).await
    });
    (std::net::TcpStream::connect(told.recv().expect("it listens")).expect("it accepts"), served)
}

async fn echo(mut conn: Conn) -> (u64, Conn) {
    let mut count = 0;
    let mut buffer = [0; 1000];
    loop {
        let length = conn.read(&mut buffer).await.expect("the client is well");
        if length == 0 {
            conn.shutdown().await.expect("the client reads on");
            return (count, conn);
        }
        count += length as u64;
        conn.write_all(&buffer[..length]).await.expect("the client reads");
    }
}

/// Sends `size` bytes while it reads them back, and gives whether all came.
fn converse(client: std::net::TcpStream, size: usize) -> bool {
    let mut writer = client.try_clone().expect("descriptors are left");
    let sender = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        writer.write_all(&bytes).expect("the server reads");
        writer.shutdown(std::net::Shutdown::Write).expect("it is open");
    });
    let mut got = Vec::new();
    (&client).read_to_end(&mut got).expect("the server is well");
    sender.join().expect("all was sent");
    got.len() == size && got.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8)
}

#[test]
fn megabytes_go_both_ways_through_full_buffers() {
    let engine = Engine::builder().workers(2).build().unwrap();
    engine
        .run(async |engine| {
            let (client, served) = accepted(&engine, async |conn| {
                assert!(matches!(conn.stream(), Stream::Socket(_)));
                echo(conn).await.0
            });
            let client = std::thread::spawn(move || converse(client, 8 << 20));
            assert_eq!(served.await.unwrap(), 8 << 20);
            assert!(client.join().unwrap());
        })
        .unwrap();
}

#[test]
fn connection_that_leaves_its_worker_loses_nothing() {
    let engine = Engine::builder().workers(2).build().unwrap();
    engine
        .run(async |engine| {
            let (mut client, served) = accepted(&engine, async |mut conn| {
                let mut byte = [0];
                conn.read_exact(&mut byte).await.unwrap();
                (byte[0], conn)
            });
            // The rest lies in the kernel when the connection moves.
            client.write_all(b"xyz").unwrap();
            let (first, conn) = served.await.unwrap();
            assert_eq!(first, b'x');
            let elsewhere = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let (count, conn) = echo(conn).await;
                    assert!(matches!(conn.stream(), Stream::Tcp(_)));
                    conn.close(Cause::Shutdown);
                    count
                })
            });
            let mut got = [0; 2];
            client.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"yz");
            assert!(converse(client, 1 << 20));
            assert_eq!(elsewhere.join().unwrap(), (1 << 20) + 2);
        })
        .unwrap();
}

#[test]
fn connection_dropped_on_another_thread_is_closed() {
    let engine = Engine::builder().workers(2).build().unwrap();
    engine
        .run(async |engine| {
            for _ in 0..100 {
                let (mut client, served) = accepted(&engine, async |conn| conn);
                let conn = served.await.unwrap();
                std::thread::spawn(move || drop(conn)).join().unwrap();
                assert_eq!(client.read(&mut [0]).unwrap(), 0);
            }
        })
        .unwrap();
}
