//! Peers that are slow: late heads and bodies, readers that do not read, and who is not to blame.

mod serving;

use std::time::{Duration, Instant};

use millstream_http::{Body, Request, Response};
use millstream_peers::{Count, End, RawConn, eventually};
use millstream_server::transport::{Addr, Cause};
use serving::{Held, SOON, Served, echo, get, post};

/// Lets this much time pass, for what must not happen in it.
fn let_pass(time: Duration) {
    let start = Instant::now();
    eventually("time passes", || start.elapsed() > time);
}

/// Sends byte after byte, each when the server has read those before, until it takes no more.
fn drip(server: &Served, conn: &mut RawConn, byte: &str) -> u64 {
    let address = Addr::Tcp(conn.local_addr());
    let mut sent = 0;
    while conn.try_send(byte).is_ok() {
        sent += 1;
        eventually("the server has read it, or is gone", || {
            let lives = server.lives().snapshot();
            let life = lives.iter().find(|life| life.peer == address);
            life.is_none_or(|life| life.bytes_in >= sent || life.cause.is_some())
        });
    }
    sent
}

#[test]
fn late_head_is_answered_with_408() {
    let server = Served::configured(|options| options.head_timeout = SOON, echo);
    for (before, part) in [("", "GET / HTT"), ("", "GET / HTTP/1.1\r\nHost: a\r\n"), (&*get("/"), "G")] {
        let mut conn = server.connect();
        conn.send(before).send(part);
        if !before.is_empty() {
            assert_eq!(conn.read_response("GET").status, 200);
        }
        let response = conn.read_response("GET");
        assert_eq!((response.status, response.field("connection")), (408, Some("close")));
        assert_eq!(conn.expect_end(), End::Fin);
    }
    server.wait_for_cause(Cause::TimeoutHead, 3);
}

#[test]
fn head_that_drips_is_late_all_the_same() {
    let server = Served::configured(|options| options.head_timeout = 2 * SOON, echo);
    let mut conn = server.connect();
    conn.send("GET / HTTP/1.1\r\nX: ");
    let mut twin = conn.twin();
    let dripping = std::thread::spawn(move || {
        // Until the server has gone: it reads on for a while, lest it destroys its answer.
        while twin.try_send("x").is_ok() {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    });
    assert_eq!(conn.read_response("GET").status, 408);
    assert_eq!(conn.expect_end(), End::Fin);
    conn.reset();
    drop(server);
    dripping.join().expect("no panic");
}

#[test]
fn newcomer_that_says_nothing_is_let_go_without_a_word() {
    let server = Served::configured(|options| options.head_timeout = SOON, echo);
    let mut conn = server.connect();
    assert_eq!(conn.expect_end(), End::Fin);
    // A customer between two requests has more time than a newcomer.
    let mut conn = server.connect();
    conn.send(get("/"));
    conn.read_response("GET");
    let_pass(3 * SOON);
    conn.send(get("/"));
    assert_eq!(conn.read_response("GET").status, 200);
}

#[test]
fn late_body_is_an_error_to_the_handler_and_408_to_the_client() {
    let server = Served::configured(|options| options.read_timeout = SOON, echo);
    for part in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
    ] {
        let mut conn = server.connect();
        conn.send(part);
        if part.contains("Expect") {
            conn.expect("HTTP/1.1 100 Continue\r\n\r\n");
        }
        let response = conn.read_response("POST");
        assert_eq!((response.status, response.field("connection")), (408, Some("close")), "{part}");
        assert_eq!(conn.expect_end(), End::Fin);
    }
}

#[test]
fn late_body_of_a_streamed_exchange_breaks_it_off() {
    let server = Served::configured(
        |options| options.read_timeout = SOON,
        async |mut request: Request| Response::bytes(request.take_body()),
    );
    for part in ["", "4\r\nhalf\r\n"] {
        let mut conn = server.connect();
        conn.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").send(part);
        let (bytes, end) = conn.read_to_end();
        assert!(bytes.starts_with(b"HTTP/1.1 200"), "{}", bytes.escape_ascii());
        assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"), "it must not look whole");
        assert_eq!(end, End::Reset);
    }
}

#[test]
fn handler_that_reads_late_is_not_blamed_on_the_client() {
    let held = Held::new();
    let server = Served::configured(|options| options.read_timeout = SOON, {
        let held = held.clone();
        move |request: Request| {
            let held = held.clone();
            async move {
                held.hold().await;
                echo(request).await
            }
        }
    });
    let body = vec![b'x'; 2 << 20];
    let mut conn = server.connect();
    let mut twin = conn.twin();
    let sending = std::thread::spawn({
        let request = post("/", &body);
        move || drop(twin.try_send(request))
    });
    held.entered.wait();
    let_pass(3 * SOON);
    held.leaves.open();
    let response = conn.read_response("POST");
    assert_eq!(response.status, 200, "{}", response.body.escape_ascii());
    assert!(response.body == body);
    sending.join().expect("sent");
}

#[test]
fn handler_may_take_longer_than_every_timeout() {
    let held = Held::new();
    let server = Served::configured(
        |options| {
            (options.head_timeout, options.read_timeout, options.write_timeout) = (SOON, SOON, SOON);
        },
        {
            let held = held.clone();
            move |mut request: Request| {
                let held = held.clone();
                async move {
                    let body = request.bytes().await;
                    held.hold().await;
                    body.map(|body| body.to_vec())
                }
            }
        },
    );
    let mut conn = server.connect();
    conn.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n").send("body");
    held.entered.wait();
    let_pass(3 * SOON);
    held.leaves.open();
    assert_eq!(conn.read_response("POST").text(), "body");
}

#[test]
fn reader_that_takes_nothing_is_cut_off() {
    let server = Served::configured(
        |options| options.write_timeout = SOON,
        async |request: Request| match request.path() {
            "/bytes" => Response::bytes(vec![b'x'; 32 << 20]),
            _ => Response::bytes(Body::from_fn(|| std::future::ready(Some(Ok("x".repeat(10_000).into()))))),
        },
    );
    for (count, path) in ["/bytes", "/stream"].into_iter().enumerate() {
        let mut conn = server.connect();
        conn.send(get(path));
        server.wait_for_cause(Cause::TimeoutWrite, count as u64 + 1);
        let (bytes, _) = conn.read_to_end();
        assert!(bytes.len() < 32 << 20);
    }
}

#[test]
fn sender_that_reads_nothing_is_cut_off() {
    let (server, produced) = (
        Served::configured(
            |options| (options.write_timeout, options.max_body) = (2 * SOON, u64::MAX),
            async |mut request: Request| Response::bytes(request.take_body()),
        ),
        Count::new(),
    );
    let mut conn = server.connect();
    conn.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000000\r\n\r\n");
    let piece = vec![b'x'; 64 << 10];
    while conn.try_send(&piece).is_ok() {
        produced.add(piece.len() as u64);
    }
    assert!(produced.value() < 64 << 20);
    server.wait_for_cause(Cause::TimeoutWrite, 1);
}

#[test]
fn rest_of_a_body_that_drips_does_not_keep_the_connection() {
    let server = Served::configured(|options| options.read_timeout = 2 * SOON, async |_| "no thanks");
    let mut conn = server.connect();
    conn.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
    assert_eq!(conn.read_response("POST").text(), "no thanks");
    let sent = drip(&server, &mut conn, "x");
    assert!(sent < 200_000);
    server.wait_for_cause(Cause::BodyNotDrained, 1);
}

#[test]
fn connection_that_lingers_ends_with_its_client() {
    let server = Served::start(async |_| "no thanks");
    for _ in 0..20 {
        let mut conn = server.connect();
        conn.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n");
        assert_eq!(conn.read_response("POST").text(), "no thanks");
        assert_eq!(conn.expect_end(), End::Fin);
    }
    eventually("none is left", || server.running.open_connections() == 0);
}
