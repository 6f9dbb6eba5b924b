//! The end of a server under load: nothing that was begun is lost, and the end comes.

mod serving;

use std::thread::JoinHandle;

use millstream_http::{Body, Request, Response};
use millstream_peers::{Count, End, Gate, PATIENCE, RawConn, eventually};
use millstream_server::Shutdown;
use millstream_server::transport::Cause;
use serving::{Held, SOON, Served, block_on, get, post};

/// A server on so many workers whose handlers wait for the gate; the count says how many do.
fn held(workers: usize) -> (Served, Count, Gate) {
    let (entered, leaves) = (Count::new(), Gate::new());
    let server = Served::with(workers, |server| server, {
        let (entered, leaves) = (entered.clone(), leaves.clone());
        move |mut request: Request| {
            let (entered, leaves) = (entered.clone(), leaves.clone());
            async move {
                let body = request.bytes().await.unwrap_or_default();
                entered.rise();
                leaves.passed().await;
                body.to_vec()
            }
        }
    });
    (server, entered, leaves)
}

/// Stops the server in a thread; the drain has begun when this returns.
fn stop(server: &Served) -> JoinHandle<bool> {
    let running = server.running.clone();
    let stopping = std::thread::spawn(move || block_on(running.stop(PATIENCE)));
    eventually("the listener is closed", || RawConn::try_connect(server.address).is_err());
    stopping
}

#[test]
fn thousand_requests_in_flight_are_all_answered() {
    let (server, entered, leaves) = held(2);
    let mut conns: Vec<_> = (0..1000).map(|_| server.connect()).collect();
    for (number, conn) in conns.iter_mut().enumerate() {
        conn.send(post("/", number.to_string()));
    }
    entered.wait_for(1000);
    let stopping = stop(&server);
    leaves.open();
    for (number, conn) in conns.iter_mut().enumerate() {
        let response = conn.read_response("POST");
        assert_eq!((response.text(), response.field("connection")), (&*number.to_string(), Some("close")));
        assert_eq!(conn.expect_end(), End::Fin);
    }
    drop(conns);
    assert!(stopping.join().expect("no panic"));
    // Besides, the one that found the listener still open.
    assert!(server.lives().counts().ended_by_cause(Cause::Shutdown) >= 1000);
}

#[test]
fn body_under_way_when_the_drain_begins_is_read_and_answered() {
    let (server, entered, leaves) = held(1);
    leaves.open();
    let mut conn = server.connect();
    conn.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf");
    eventually("it is read", || server.lives().snapshot().iter().any(|life| life.bytes_in > 4));
    let stopping = stop(&server);
    conn.send("half");
    assert_eq!(conn.read_response("POST").text(), "halfhalf");
    conn.close();
    assert!(stopping.join().expect("no panic"));
    assert_eq!(entered.value(), 1);
}

#[test]
fn head_under_way_when_the_drain_begins_is_answered() {
    let (server, _, leaves) = held(1);
    leaves.open();
    let mut conn = server.connect();
    conn.send("GET / HT");
    eventually("it is read", || server.lives().snapshot().iter().any(|life| life.bytes_in == 8));
    let stopping = stop(&server);
    conn.send("TP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(conn.read_response("GET").field("connection"), Some("close"));
    conn.close();
    assert!(stopping.join().expect("no panic"));
}

#[test]
fn stream_under_way_when_the_drain_begins_comes_to_its_end() {
    let held = Held::new();
    let server = Served::start({
        let held = held.clone();
        move |_: Request| {
            let (held, mut left) = (held.clone(), 3);
            let body = Body::from_fn(move || {
                let held = held.clone();
                left -= 1;
                async move {
                    if left == 1 {
                        held.hold().await;
                    }
                    (left > 0).then(|| Ok("piece".into()))
                }
            });
            std::future::ready(Response::bytes(body))
        }
    });
    let mut conn = server.connect();
    conn.send(get("/"));
    held.entered.wait();
    let stopping = stop(&server);
    held.leaves.open();
    assert_eq!(conn.read_response("GET").text(), "piecepiece");
    assert_eq!(conn.expect_end(), End::Fin);
    assert!(stopping.join().expect("no panic"));
}

#[test]
fn idle_connections_are_closed_at_once() {
    let server = Served::with(2, |server| server, async |_| "idle");
    let mut conns: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for conn in &mut conns {
        conn.send(get("/"));
        conn.read_response("GET");
    }
    // Those that never asked for anything too.
    conns.extend((0..100).map(|_| server.connect()));
    assert!(block_on(server.engine.shutdown(Shutdown::Graceful(PATIENCE))));
    for conn in &mut conns {
        assert_eq!(conn.expect_end(), End::Fin);
    }
}

#[test]
fn second_shutdown_cancels_what_is_left() {
    let (server, entered, _leaves) = held(2);
    let mut conns: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for conn in &mut conns {
        conn.send(get("/"));
    }
    entered.wait_for(100);
    let engine = server.engine.clone();
    let first = std::thread::spawn(move || block_on(engine.shutdown(Shutdown::Graceful(PATIENCE * 10))));
    eventually("the listener is closed", || RawConn::try_connect(server.address).is_err());
    block_on(server.engine.shutdown(Shutdown::Now));
    assert!(!first.join().expect("no panic"));
    for conn in &mut conns {
        let (bytes, _) = conn.read_to_end();
        assert_eq!(bytes, b"");
    }
}

#[test]
fn drain_past_its_deadline_cancels_what_is_left() {
    let held = Held::new();
    let server = Served::start({
        let held = held.clone();
        move |_: Request| {
            let held = held.clone();
            async move { held.hold().await }
        }
    });
    let mut conn = server.connect();
    conn.send(get("/"));
    held.entered.wait();
    assert!(!block_on(server.engine.shutdown(Shutdown::Graceful(SOON))));
    held.dropped.wait();
    conn.read_to_end();
}

#[test]
fn busy_clients_lose_no_request_that_was_sent_before_the_drain() {
    let server = Served::with(2, |server| server, async |request: Request| request.path().to_owned());
    let served = Count::new();
    let clients: Vec<_> = (0..20)
        .map(|number| {
            let (mut conn, served) = (server.connect(), served.clone());
            std::thread::spawn(move || {
                for request in 0.. {
                    let path = format!("/{number}/{request}");
                    // An idle connection may be closed at any time: only a request that began to be answered counts.
                    if conn.try_send(get(&path)).is_err() || conn.is_at_end() {
                        return;
                    }
                    let response = conn.read_response("GET");
                    assert_eq!(response.text(), path);
                    served.rise();
                    if response.field("connection") == Some("close") {
                        conn.expect_end();
                        return;
                    }
                }
            })
        })
        .collect();
    served.wait_for(2000);
    assert!(block_on(server.running.stop(PATIENCE)));
    clients.into_iter().for_each(|client| client.join().expect("no response was cut short"));
}

#[test]
fn two_thousand_clients_at_once_are_all_answered() {
    let (server, entered, leaves) = held(2);
    let mut conns: Vec<_> = (0..2000).map(|_| server.connect()).collect();
    for (number, conn) in conns.iter_mut().enumerate() {
        conn.send(post("/", number.to_string()));
    }
    entered.wait_for(2000);
    assert_eq!(server.running.open_connections(), 2000);
    leaves.open();
    for (number, conn) in conns.iter_mut().enumerate() {
        assert_eq!(conn.read_response("POST").text(), number.to_string());
    }
}

#[test]
fn requests_in_the_kernels_queue_when_the_drain_begins_are_answered() {
    for _ in 0..20 {
        let server = Served::start(async |request: Request| request.path().to_owned());
        let mut kept = server.connect();
        kept.send(get("/kept"));
        assert_eq!(kept.read_response("GET").text(), "/kept");
        // While its worker is held, nobody sees what comes: new connections, and a request on an old one.
        let (entered, leaves) = (Gate::new(), Gate::new());
        let hold = {
            let (entered, leaves) = (entered.clone(), leaves.clone());
            move || {
                entered.open();
                leaves.wait();
            }
        };
        server.engine.workers()[0].run(hold).expect("the engine runs");
        entered.wait();
        let mut conns: Vec<_> = (0..10).map(|_| server.connect()).collect();
        conns.push(kept);
        for conn in &mut conns {
            conn.send(get("/in-time"));
        }
        let running = server.running.clone();
        let stopping = std::thread::spawn(move || block_on(running.stop(PATIENCE)));
        leaves.open();
        for conn in &mut conns {
            assert_eq!(conn.read_response("GET").text(), "/in-time");
        }
        drop(conns);
        assert!(stopping.join().expect("no panic"));
    }
}
