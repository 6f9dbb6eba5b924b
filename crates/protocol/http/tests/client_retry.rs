//! The keep-alive race over HTTP: what is sent again, what is not, what of a connection is used again.

mod client_world;

use client_world::{World, block_on, ms, ok, serve, url};
use millstream_base::{Kind, Result, Seen};
use millstream_client::transport::{Cause, ClosedBy, Side};
use millstream_http::client::RequestBuilder;
use millstream_http::{Body, HttpClient, Method};
use millstream_peers::scripted::{Script, boxed};
use millstream_peers::{Count, Gate, RawConn, Scripted, eventually};

/// Answers one request; reads a second, counts it, and closes without a word.
fn closes_on_second(seen: &Count) -> Script {
    let seen = seen.clone();
    boxed(move |conn| {
        conn.read_request();
        seen.rise();
        conn.send(ok("first"));
        conn.read_request();
        seen.rise();
    })
}

/// Answers all requests, and counts them.
fn answers(seen: &Count) -> Script {
    let seen = seen.clone();
    boxed(move |conn| {
        serve(conn, |_| {
            seen.rise();
            ok("second")
        });
    })
}

async fn text(request: RequestBuilder) -> Result<String> {
    request.send().await?.text().await
}

/// What becomes of a request that meets a connection about to close, and how often servers saw it.
fn race(make: impl FnOnce(&HttpClient, &str) -> RequestBuilder) -> (Result<String>, u64, World) {
    let seen = Count::new();
    let server = Scripted::serve_boxed(vec![closes_on_second(&seen), answers(&seen)]);
    let (world, address) = (World::new(), url(server.address(), "/"));
    let outcome = block_on(async {
        assert_eq!(text(world.client.get(address.as_str())).await.expect("answered"), "first");
        text(make(&world.client, &address)).await
    });
    // The scripts end with their connections.
    world.client.close_idle();
    drop(RawConn::try_connect(server.address()));
    (outcome, seen.value() - 1, world)
}

#[test]
fn requests_that_may_be_repeated_are_repeated_once_on_a_fresh_connection() {
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::TRACE] {
        let (outcome, seen, world) = race(|client, url| client.request(method.clone(), url));
        let expected = if method == Method::HEAD { "" } else { "second" };
        assert_eq!(outcome.unwrap_or_else(|error| panic!("{method}: {error}")), expected, "{method}");
        assert_eq!((seen, world.retried()), (2, 1), "{method}");
    }
}

#[test]
fn requests_that_must_not_be_repeated_are_not_and_say_that_they_may_have_been_done() {
    for method in [Method::POST, Method::PATCH] {
        let (outcome, seen, world) = race(|client, url| client.request(method.clone(), url).body("order"));
        let error = outcome.expect_err("it must not be sent again");
        assert_eq!((error.kind(), error.seen()), (Kind::Closed, Seen::Maybe), "{method}: {error}");
        assert_eq!((seen, world.retried()), (1, 0), "{method}");
        assert!(!error.is_retryable());
    }
}

#[test]
fn post_that_is_idempotent_is_repeated_with_its_body() {
    let (outcome, seen, world) = race(|client, url| client.post(url).body("order").idempotent());
    assert_eq!(outcome.expect("it may be sent again"), "second");
    assert_eq!((seen, world.retried()), (2, 1));
}

#[test]
fn large_body_in_memory_is_repeated_and_a_stream_is_not() {
    let large = "x".repeat(300_000);
    let (outcome, seen, _) = race(|client, url| client.put(url).body(large));
    assert_eq!((outcome.expect("it may be sent again").as_str(), seen), ("second", 2));
    let (sender, stream) = Body::channel(1);
    let (outcome, seen, world) = race(|client, url| {
        std::thread::spawn(move || block_on(async move { sender.send("piece").await }));
        client.put(url).body(stream)
    });
    assert!(outcome.is_err());
    assert_eq!((seen, world.retried()), (1, 0));
}

#[test]
fn reply_that_began_is_never_asked_for_again() {
    let seen = Count::new();
    let server = Scripted::serve_boxed(vec![
        boxed({
            let seen = seen.clone();
            move |conn: &mut RawConn| {
                conn.read_request();
                conn.send(ok("first"));
                conn.read_request();
                seen.rise();
                conn.send("HTTP/1.1 200 OK\r\nConte");
            }
        }),
        answers(&seen),
    ]);
    let (world, address) = (World::new(), url(server.address(), "/"));
    block_on(async {
        text(world.client.get(address.as_str())).await.expect("answered");
        let error = text(world.client.get(address.as_str())).await.expect_err("cut off");
        assert_eq!((error.kind(), error.seen()), (Kind::Closed, Seen::Yes), "{error}");
    });
    assert_eq!((seen.value(), world.retried()), (1, 0));
    drop(RawConn::try_connect(server.address()));
}

#[test]
fn connection_on_which_the_server_spoke_unasked_is_not_used_again() {
    let (spoken, go) = (Gate::new(), Gate::new());
    let server = Scripted::serve_boxed(vec![
        boxed({
            let (spoken, go) = (spoken.clone(), go.clone());
            move |conn: &mut RawConn| {
                conn.read_request();
                conn.send(ok("first"));
                go.wait();
                conn.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
                spoken.open();
                conn.has_more();
            }
        }),
        answers(&Count::new()),
    ]);
    let (world, address) = (World::new(), url(server.address(), "/"));
    block_on(async {
        text(world.client.get(address.as_str())).await.expect("answered");
        go.open();
        spoken.wait();
        eventually("the watch fires", || world.client.pool_stats().open == 0);
        assert_eq!(text(world.client.post(address.as_str())).await.expect("on a fresh one"), "second");
    });
    assert_eq!(world.retried(), 0);
}

#[test]
fn bytes_behind_a_reply_end_its_connection() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        conn.read_request();
        conn.send(ok("fine") + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        conn.has_more();
    });
    let (world, address) = (World::new(), url(server.address(), "/"));
    block_on(async {
        for _ in 0..3 {
            assert_eq!(text(world.client.get(address.as_str())).await.expect("answered"), "fine");
        }
    });
    assert_eq!((server.accepted().wait_for(3), world.client.pool_stats().open), (3, 0));
    assert_eq!(world.ended(Cause::ParseDesync), 3);
}

#[test]
fn what_the_server_says_of_its_patience_is_believed() {
    // (field, is the connection used again after so long a pause)
    for (field, pause, is_reused) in [
        ("Keep-Alive: timeout=0\r\n", ms(0), false),
        ("Keep-Alive: timeout=1\r\n", ms(0), true),
        ("Keep-Alive: timeout=1\r\n", ms(1_000), false),
        ("Keep-Alive: timeout=5, max=100\r\n", ms(0), true),
        ("Connection: close\r\n", ms(0), false),
        ("Connection: keep-alive\r\n", ms(0), true),
    ] {
        let server = Scripted::always(move |_, conn: &mut RawConn| {
            serve(conn, |_| format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{field}\r\nok"));
        });
        let (world, address) = (World::new(), url(server.address(), "/"));
        client_world::block_on_paused(async {
            text(world.client.get(address.as_str())).await.expect("answered");
            tokio::time::advance(pause).await;
            text(world.client.post(address.as_str())).await.expect("answered");
        });
        let expected = if is_reused { 1 } else { 2 };
        assert_eq!(server.accepted().wait_for(expected), expected, "{field:?} after {pause:?}");
        assert_eq!(world.retried(), 0);
    }
}

#[test]
fn reply_of_http_1_0_keeps_its_connection_only_if_it_says_so() {
    for (field, connections) in [("", 2), ("Connection: keep-alive\r\n", 1)] {
        let server = Scripted::always(move |_, conn: &mut RawConn| {
            serve(conn, |_| format!("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n{field}\r\nok"));
        });
        let (world, address) = (World::new(), url(server.address(), "/"));
        block_on(async {
            for _ in 0..2 {
                assert_eq!(text(world.client.get(address.as_str())).await.expect("answered"), "ok");
            }
        });
        assert_eq!(server.accepted().wait_for(connections), connections, "{field:?}");
    }
}

/// Near the end of its lifetime a connection is closed by its server, which was asked to: the server keeps TIME_WAIT.
#[test]
fn last_request_of_a_connection_asks_its_server_to_close() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        while conn.has_more() {
            let request = conn.read_request();
            let closes = request.fields.get("connection") == Some("close");
            conn.send(if closes {
                ok("close").replacen("\r\n", "\r\nConnection: close\r\n", 1)
            } else {
                ok("stays")
            });
            if closes {
                return;
            }
        }
    });
    for (lifetime, told, opened) in [(ms(3_600_000), "stays", 1), (ms(0), "close", 3)] {
        let world = World::with(|options| options.client.lifetime = lifetime);
        block_on(async {
            for _ in 0..3 {
                let request = world.client.get(url(server.address(), "/"));
                assert_eq!(text(request).await.expect("served"), told);
            }
        });
        assert_eq!(world.opened(), opened);
        let by_peer = || {
            let counts = world.lives.counts();
            counts.ended_for(Side::Client, Cause::Lifetime, ClosedBy::Peer)
        };
        eventually("those that were asked to close have", || by_peer() == if opened == 3 { 3 } else { 0 });
    }
}

#[test]
fn connection_that_we_asked_to_be_closed_is_not_used_again_whatever_its_server_says() {
    let server = Scripted::always(|_, conn: &mut RawConn| serve(conn, |_| ok("hello")));
    let world = World::new();
    block_on(async {
        for _ in 0..3 {
            let request = world.client.get(url(server.address(), "/")).header("connection", "x, Close");
            assert_eq!(text(request).await.expect("served"), "hello");
        }
    });
    assert_eq!(world.opened(), 3);
    eventually("all have ended", || world.ended(Cause::OwnCloseHeader) == 3);
}
