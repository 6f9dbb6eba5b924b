//! Bodies on their way out: early answers, servers that do not read, `Expect: 100-continue`, both directions at once.

mod client_world;

use bytes::Bytes;
use client_world::{World, block_on, ms, ok, url};
use millstream_base::{Error, Kind, Origin, Phase, Seen};
use millstream_client::transport::Cause;
use millstream_http::Body;
use millstream_peers::message::RawRequest;
use millstream_peers::{Gate, RawConn, Scripted, eventually};

const MIB: usize = 1024 * 1024;

/// A body of so many pieces of 64 KiB, of unknown length.
fn endless(pieces: usize) -> Body {
    let mut left = pieces;
    Body::from_fn(move || {
        left = left.saturating_sub(1);
        std::future::ready((left > 0).then(|| Ok(Bytes::from(vec![b'x'; 64 * 1024]))))
    })
}

#[test]
fn bodies_arrive_whole_however_they_are_made() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        client_world::serve(conn, |request: &RawRequest| {
            let framing = request.fields.get("content-length").map_or("chunked", |_| "length");
            let trailer = request.trailers.get("x-sum").unwrap_or("none");
            ok(&format!("{} {framing} {trailer}", request.body.len()))
        });
    });
    let (world, address) = (World::new(), url(server.address(), "/"));
    block_on(async {
        let (sender, stream) = Body::channel(2);
        tokio::spawn(async move {
            for _ in 0..10 {
                sender.send("0123456789").await.expect("read");
            }
            let mut trailers = millstream_http::HeaderMap::new();
            trailers.insert("x-sum", 450.into());
            sender.send_trailers(trailers).await.expect("read");
        });
        for (body, expected) in [
            (Body::empty(), "0 length none"),
            (Body::from("hello"), "5 length none"),
            (Body::from(vec![b'x'; 3 * MIB]), "3145728 length none"),
            (endless(33), "2097152 chunked none"),
            (stream, "100 chunked 450"),
        ] {
            let reply = world.client.post(address.as_str()).body(body).send().await.expect("a reply");
            assert_eq!(reply.text().await.expect("text"), expected);
        }
    });
    assert_eq!(server.accepted().value(), 1, "the connection serves them all");
}

#[test]
fn early_refusal_is_heard_though_the_server_reads_no_more() {
    for closes in [true, false] {
        let heard = Gate::new();
        let until = heard.clone();
        let server = Scripted::serve([move |conn: &mut RawConn| {
            conn.read_until(b"\r\n\r\n");
            conn.send(
                "HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much",
            );
            if closes {
                conn.half_close();
            }
            // Without reading, until the client has heard.
            until.wait();
        }]);
        let world = World::new();
        block_on(async {
            let request = world.client.post(url(server.address(), "/")).body(endless(10_000));
            let reply = request.send().await.expect("the refusal");
            assert_eq!(reply.status().as_u16(), 413);
            assert_eq!(reply.text().await.expect("text"), "too much");
        });
        assert_eq!(world.client.pool_stats().open, 0, "the connection is in the middle of a request");
        heard.open();
        server.finish();
    }
}

#[test]
fn reset_behind_an_early_refusal_does_not_hide_it_or_is_an_error_of_the_connection() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_until(b"\r\n\r\n");
        conn.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        conn.reset_at_close();
    }]);
    let world = World::new();
    block_on(async {
        match world.client.post(url(server.address(), "/")).body(endless(10_000)).send().await {
            Ok(reply) => assert_eq!(reply.status().as_u16(), 413),
            Err(error) => assert_eq!((error.kind(), error.seen()), (Kind::Reset, Seen::Maybe), "{error}"),
        }
    });
}

#[test]
fn server_that_never_reads_is_given_up_after_its_silence() {
    let (_listener, address) = Scripted::never();
    let world = World::with(|options| options.http.first_byte_timeout = ms(100));
    block_on(async {
        let request = world.client.post(url(address, "/")).body(endless(10_000));
        let error = request.send().await.expect_err("nobody reads");
        let got = (error.kind(), error.phase(), error.seen());
        assert_eq!(got, (Kind::Timeout, Some(Phase::Write), Seen::Maybe), "{error}");
    });
}

#[test]
fn upload_that_goes_on_takes_longer_than_the_limit_of_silence() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        let request = conn.read_request();
        conn.send(ok(&request.body.len().to_string()));
        conn.has_more();
    }]);
    let (_listener, silent) = Scripted::never();
    let world = World::with(|options| options.http.first_byte_timeout = ms(60));
    block_on(async {
        let (sender, stream) = Body::channel(1);
        let clock = world.client.clone();
        tokio::spawn(async move {
            for _ in 0..4 {
                sender.send("0123456789").await.expect("read");
                // Between two pieces the limit passes for somebody else; this pause is ours, not the server's.
                assert!(clock.get(url(silent, "/")).send().await.expect_err("silence").is_timeout());
            }
        });
        let reply = world.client.post(url(server.address(), "/")).body(stream).send().await;
        assert_eq!(reply.expect("a reply").text().await.expect("text"), "40");
    });
}

#[test]
fn body_that_fails_is_an_error_of_the_caller_and_closes_the_connection() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        conn.read_until(b"\r\n\r\n");
        conn.read_to_end();
    });
    let (world, address) = (World::new(), url(server.address(), "/"));
    block_on(async {
        let (sender, stream) = Body::channel(4);
        sender.send("some").await.expect("read");
        sender.abort(Error::protocol("the source broke")).await;
        let error = world.client.post(address.as_str()).body(stream).send().await.expect_err("broken");
        assert_eq!((error.kind(), error.origin()), (Kind::Io, Origin::Caller), "{error}");
        assert!(error.to_string().contains("the source broke"), "{error}");
    });
    assert_eq!(world.client.pool_stats().open, 0);
}

#[test]
fn body_of_another_length_than_it_said_is_never_sent_as_if_it_were_right() {
    use http_body_util::BodyExt as _;
    for (said, is) in [(10, 5), (3, 5)] {
        let server = Scripted::serve([move |conn: &mut RawConn| {
            let head = String::from_utf8(conn.read_until(b"\r\n\r\n")).expect("text");
            assert!(head.contains(&format!("Content-Length: {said}\r\n")), "{head}");
            let (body, _) = conn.read_to_end();
            assert!(body.len() < said, "{} of {said}", body.len());
        }]);
        let world = World::new();
        block_on(async {
            let body = http_body_util::Full::new(Bytes::from(vec![b'x'; is]));
            let body = Liar { body: body.boxed(), said: said as u64 };
            let request = world.client.post(url(server.address(), "/")).body(Body::wrap(body));
            assert_eq!(request.send().await.expect_err("a lie").kind(), Kind::Invalid);
        });
        server.finish();
    }
}

/// Says another length than it has.
struct Liar {
    body: http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>,
    said: u64,
}

impl http_body::Body for Liar {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.said)
    }
}

#[test]
fn expected_continue_sends_the_body_when_it_is_wanted() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        let head = String::from_utf8(conn.read_until(b"\r\n\r\n")).expect("text");
        assert!(conn.is_silent(), "the body is held back: {head}");
        conn.send("HTTP/1.1 100 Continue\r\n\r\n");
        conn.expect("hello");
        conn.send(ok("thanks"));
        conn.has_more();
    });
    let (world, address) = (World::new(), url(server.address(), "/"));
    block_on(async {
        let begun = std::time::Instant::now();
        let request = world.client.post(address.as_str()).header("expect", "100-continue").body("hello");
        assert_eq!(request.send().await.expect("a reply").text().await.expect("text"), "thanks");
        assert!(begun.elapsed() < ms(900), "it did not wait for the timer");
    });
    assert_eq!(world.client.pool_stats().idle, 1, "the connection is as good as any");
}

#[test]
fn expected_continue_sends_nothing_behind_a_refusal_and_all_to_a_silent_server() {
    let server = Scripted::serve_boxed(vec![
        millstream_peers::scripted::boxed(|conn| {
            conn.read_until(b"\r\n\r\n");
            conn.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(conn.read_to_end().0, b"", "not a byte of the body");
        }),
        millstream_peers::scripted::boxed(|conn| {
            let request = conn.read_request();
            conn.send(ok(&format!("{} bytes", request.body.len())));
            conn.has_more();
        }),
    ]);
    let world = World::with(|options| options.http.continue_timeout = ms(30));
    let address = url(server.address(), "/");
    block_on(async {
        let post = || world.client.post(address.as_str()).header("expect", "100-continue").body("hello");
        assert_eq!(post().send().await.expect("a reply").status().as_u16(), 401);
        let reply = post().send().await.expect("a reply of one who knows no 100");
        assert_eq!(reply.text().await.expect("text"), "5 bytes");
    });
}

#[test]
fn reply_and_request_run_at_the_same_time() {
    // Echoes chunk by chunk: its reply begins before the request has ended.
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_until(b"\r\n\r\n");
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let size = conn.read_until(b"\r\n");
            let data = conn.read_until(b"\r\n");
            conn.send(&size).send(&data);
            if size == b"0\r\n" {
                break;
            }
        }
        conn.has_more();
    }]);
    let world = World::new();
    block_on(async {
        let (sender, stream) = Body::channel(1);
        sender.send("piece 0").await.expect("read");
        let request = world.client.post(url(server.address(), "/")).body(stream);
        let mut reply = request.send().await.expect("a reply");
        for number in 0..50 {
            let piece = reply.chunk().await.expect("whole").expect("a piece");
            assert_eq!(piece, format!("piece {number}"));
            sender.send(format!("piece {}", number + 1)).await.expect("read");
        }
        drop(sender);
        assert_eq!(reply.chunk().await.expect("whole").expect("a piece"), "piece 50");
        assert_eq!(reply.chunk().await.expect("whole"), None);
    });
    assert_eq!(world.client.pool_stats().idle, 1, "both have ended: it serves the next call");
    drop(world);
    server.finish();
}

/// RFC 9112 section 9.6: who asked for the end sends no other request, and who said it closes.
#[test]
fn connection_that_ends_with_its_call_is_kept_by_no_reply_that_overtakes_the_request() {
    let long = ms(3_600_000);
    for (asked, said, lifetime, cause) in [
        ("Connection: close", "X-Y: z", long, Cause::OwnCloseHeader),
        ("X-Y: z", "Keep-Alive: max=0", long, Cause::MaxRequestsPeer),
        ("X-Y: z", "X-Y: z", ms(0), Cause::Lifetime),
    ] {
        let server = Scripted::always(move |_, conn: &mut RawConn| {
            conn.read_until(b"\r\n\r\n");
            conn.send(format!("HTTP/1.1 200 OK\r\n{said}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"));
            conn.read_until(b"0\r\n\r\n");
            conn.send("0\r\n\r\n");
            conn.has_more();
        });
        let world = World::with(|options| options.client.lifetime = lifetime);
        let (name, value) = asked.split_once(": ").expect("a field");
        block_on(async {
            for _ in 0..2 {
                let (sender, stream) = Body::channel(1);
                let request = world.client.post(url(server.address(), "/")).header(name, value);
                let mut reply = request.body(stream).send().await.expect("a reply");
                assert_eq!(reply.chunk().await.expect("whole").expect("a piece"), "abc");
                sender.send("piece").await.expect("read");
                drop(sender);
                assert_eq!(reply.chunk().await.expect("whole"), None);
                assert_eq!(world.client.pool_stats().idle, 0, "{cause:?}");
            }
        });
        assert_eq!(world.opened(), 2, "{cause:?}");
        eventually("both have ended", || world.ended(cause) == 2);
    }
}

#[test]
fn complete_reply_ends_the_upload_and_its_connection() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_until(b"\r\n\r\n");
        conn.send(ok("ok"));
        let (rest, _) = conn.read_to_end();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "it does not look whole");
    }]);
    let world = World::new();
    block_on(async {
        let (sender, stream) = Body::channel(1);
        sender.send("begun").await.expect("room");
        let reply = world.client.post(url(server.address(), "/")).body(stream).send().await.expect("a reply");
        assert_eq!(reply.text().await.expect("text"), "ok");
        assert_eq!(world.client.pool_stats().open, 0);
        sender.send("more").await.expect_err("nobody sends it");
    });
    server.finish();
}

#[test]
fn dropped_upload_closes_the_connection() {
    let (begun, ended) = (Gate::new(), Gate::new());
    let server = Scripted::serve([{
        let (begun, ended) = (begun.clone(), ended.clone());
        move |conn: &mut RawConn| {
            conn.read_until(b"\r\n\r\n");
            begun.open();
            conn.read_to_end();
            ended.open();
        }
    }]);
    let world = World::new();
    block_on(async {
        tokio::select! {
            reply = world.client.post(url(server.address(), "/")).body(endless(1_000_000)).send() => {
                panic!("nobody answers: {reply:?}");
            }
            () = begun.passed() => {}
        }
    });
    ended.wait();
    server.finish();
}
