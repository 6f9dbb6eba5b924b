//! Replies cut off anywhere, and replies in any number of pieces: never silently short, never misread.

mod client_world;

use client_world::{World, block_on, url};
use millstream_base::{Error, Kind, Phase, Result, Seen};
use millstream_http::client::Response;
use millstream_http::{HttpClient, Method};
use millstream_peers::{RawConn, Scripted};

/// A reply, and what its body is.
struct Reply {
    name: &'static str,
    method: Method,
    bytes: &'static str,
    body: &'static str,
}

fn replies() -> Vec<Reply> {
    let reply = |name, method, bytes, body| Reply { name, method, bytes, body };
    vec![
        reply(
            "length",
            Method::GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-A: b\r\n\r\n0123456789",
            "0123456789",
        ),
        reply(
            "chunked",
            Method::GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5;x=y\r\n56789\r\n0\r\nX-T: u\r\n\r\n",
            "0123456789",
        ),
        reply(
            "interim first",
            Method::GET,
            "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "ok",
        ),
        reply("head only", Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", ""),
        reply("no content", Method::GET, "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", ""),
        reply("not modified", Method::GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", ""),
        reply("empty", Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
    ]
}

async fn fetch(client: &HttpClient, method: &Method, url: &str) -> Result<String> {
    client.request(method.clone(), url).send().await?.text().await
}

/// What becomes of each of these connections, one call after the other.
fn outcomes(
    reply: &Reply,
    count: usize,
    script: impl Fn(usize, &mut RawConn) + Send + Sync + 'static,
) -> Vec<Result<String>> {
    let server = Scripted::always(move |number, conn: &mut RawConn| {
        conn.read_request();
        script(usize::try_from(number).expect("few"), conn);
    });
    let world = World::new();
    let address = url(server.address(), "/");
    let outcomes = block_on(async {
        let mut outcomes = Vec::new();
        for _ in 0..count {
            outcomes.push(fetch(&world.client, &reply.method, &address).await);
            world.client.close_idle();
        }
        outcomes
    });
    assert_eq!(server.accepted().wait_for(count as u64), count as u64, "{}: one connection each", reply.name);
    outcomes
}

#[test]
fn reply_cut_off_at_any_byte_is_an_error() {
    for reply in replies() {
        let len = reply.bytes.len();
        let bytes = reply.bytes;
        let outcomes = outcomes(&reply, len + 1, move |cut, conn| {
            conn.send(&bytes[..cut]);
        });
        for (cut, outcome) in outcomes.into_iter().enumerate() {
            let name = reply.name;
            match outcome {
                Ok(body) => assert_eq!((cut, body.as_str()), (len, reply.body), "{name} cut at {cut}"),
                Err(error) => {
                    assert!(cut < len, "{name} whole: {error}");
                    check_cut(&error, cut, &format!("{name} cut at {cut}"));
                }
            }
        }
    }
}

fn check_cut(error: &Error, cut: usize, what: &str) {
    assert_eq!(error.kind(), Kind::Closed, "{what}: {error}");
    assert!(error.target().is_some(), "{what}: {error}");
    let (phase, seen) = if cut == 0 { (Phase::FirstByte, Seen::Maybe) } else { (Phase::Read, Seen::Yes) };
    assert_eq!((error.phase(), error.seen()), (Some(phase), seen), "{what}: {error}");
}

#[test]
fn reply_reset_at_any_byte_is_an_error() {
    for reply in replies() {
        let bytes = reply.bytes;
        let outcomes = outcomes(&reply, bytes.len(), move |cut, conn| {
            conn.send(&bytes[..cut]).reset_at_close();
        });
        for (cut, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.expect_err(reply.name);
            let kinds = [Kind::Reset, Kind::Closed];
            assert!(kinds.contains(&error.kind()), "{} reset at {cut}: {error}", reply.name);
        }
    }
}

#[test]
fn reply_in_two_pieces_at_any_byte_is_read() {
    for reply in replies() {
        let bytes = reply.bytes;
        let outcomes = outcomes(&reply, bytes.len(), move |cut, conn| {
            conn.send_pieces([&bytes[..cut], &bytes[cut..]]);
            conn.has_more();
        });
        for (cut, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(outcome.expect(reply.name), reply.body, "{} in two at {cut}", reply.name);
        }
    }
}

#[test]
fn reply_byte_by_byte_is_read() {
    for reply in replies() {
        let bytes = reply.bytes;
        let outcomes = outcomes(&reply, 1, move |_, conn| {
            conn.send_pieces(bytes.as_bytes().chunks(1));
            conn.has_more();
        });
        assert_eq!(
            outcomes.into_iter().map(|outcome| outcome.expect(reply.name)).collect::<String>(),
            reply.body
        );
    }
}

#[test]
fn body_that_ends_with_the_connection_ends_with_a_fin_and_not_with_a_reset() {
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    let server = Scripted::serve_boxed(vec![
        millstream_peers::scripted::boxed(move |conn| {
            conn.read_request();
            conn.send(head).send("all of it");
        }),
        Box::new(move |mut conn: RawConn| {
            conn.read_request();
            conn.send(head).send("not all");
            // The client has read that much when it asks for more than this.
            conn.reset();
        }),
    ]);
    let (world, address) = (World::new(), url(server.address(), "/"));
    block_on(async {
        assert_eq!(fetch(&world.client, &Method::GET, &address).await.expect("a FIN"), "all of it");
        let error = fetch(&world.client, &Method::GET, &address).await.expect_err("a reset");
        assert_eq!(error.kind(), Kind::Reset, "{error}");
    });
}

#[test]
fn trailers_come_behind_the_body() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        client_world::serve(conn, |_| {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n".into()
        });
    });
    let world = World::new();
    block_on(async {
        for _ in 0..3 {
            let reply = world.client.get(url(server.address(), "/")).send().await.expect("a reply");
            let (body, trailers) = reply.into_body().collect_with_trailers(100).await.expect("whole");
            assert_eq!(body, "abc");
            assert_eq!(trailers.expect("trailers")["x-sum"], "6");
        }
    });
    assert_eq!(server.accepted().value(), 1, "the connection is used again behind trailers");
}

#[test]
fn interim_replies_are_passed_over_up_to_a_flood() {
    for (count, is_fine) in [(1, true), (32, true), (33, false)] {
        let server = Scripted::serve([move |conn: &mut RawConn| {
            conn.read_request();
            conn.send("HTTP/1.1 102 Processing\r\n\r\n".repeat(count));
            // A client that has had enough resets.
            let _ = conn.try_send(client_world::ok("fine"));
            conn.has_more();
        }]);
        let world = World::new();
        let outcome = block_on(fetch(&world.client, &Method::GET, &url(server.address(), "/")));
        match outcome {
            Ok(body) => assert!(is_fine && body == "fine", "{count}"),
            Err(error) => assert!(!is_fine && error.kind() == Kind::Protocol, "{count}: {error}"),
        }
    }
}

#[test]
fn switch_of_protocols_that_nobody_asked_for_is_an_error() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_request();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
        conn.has_more();
    }]);
    let world = World::new();
    let outcome: Result<Response> = block_on(world.client.get(url(server.address(), "/")).send());
    assert_eq!(outcome.expect_err("unasked").kind(), Kind::Protocol);
}
