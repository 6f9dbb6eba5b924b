//! The deadline of a whole call: it ends a body that comes too slowly, and one that never ends.

mod client_world;

use client_world::{World, block_on, ms, ok, serve, url};
use millstream_base::{Error, Kind, Phase, Seen};
use millstream_client::transport::Cause;
use millstream_peers::{RawConn, Scripted};

fn check(error: &Error) {
    assert_eq!((error.kind(), error.phase(), error.seen()), (Kind::Timeout, Some(Phase::Read), Seen::Yes));
    assert!(error.to_string().contains("the call's deadline"), "{error}");
}

#[test]
fn body_that_stops_ends_at_the_calls_deadline_before_the_limit_on_silence() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
        conn.read_to_end();
    }]);
    let world = World::with(|options| options.http.read_timeout = ms(3_600_000));
    block_on(async {
        let call = world.client.get(url(server.address(), "/")).total_timeout(ms(50)).send();
        let mut reply = call.await.expect("a head");
        let piece = reply.chunk().await.expect("in time").expect("a piece");
        assert_eq!(&piece[..], b"01234");
        check(&reply.chunk().await.expect_err("late"));
    });
    assert_eq!(world.ended(Cause::Cancelled), 1);
    server.finish();
}

#[test]
fn body_that_never_stops_coming_ends_at_the_calls_deadline() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_request();
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        // Until the client has enough.
        while conn.try_send([b'x'; 16 * 1024]).is_ok() {}
    }]);
    let world = World::with(|options| options.total_timeout = Some(ms(100)));
    block_on(async {
        let mut reply = world.client.get(url(server.address(), "/")).send().await.expect("a head");
        let error = loop {
            match reply.chunk().await {
                Ok(piece) => assert!(!piece.expect("it never ends").is_empty()),
                Err(error) => break error,
            }
        };
        check(&error);
    });
    server.finish();
}

#[test]
fn head_that_is_late_ends_at_the_calls_deadline_too_and_what_is_in_time_is_kept() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        serve(conn, |request| if request.target == "/late" { String::new() } else { ok("in time") });
    }]);
    let world = World::with(|options| options.http.first_byte_timeout = ms(3_600_000));
    block_on(async {
        let get = |path| world.client.get(url(server.address(), path));
        for _ in 0..2 {
            let reply = get("/").total_timeout(ms(3_600_000)).send().await.expect("a reply");
            assert_eq!(reply.text().await.expect("in time"), "in time");
        }
        let error = get("/late").total_timeout(ms(50)).send().await.expect_err("late");
        assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(Phase::FirstByte)), "{error}");
    });
    assert_eq!(world.opened(), 1);
    server.finish();
}
