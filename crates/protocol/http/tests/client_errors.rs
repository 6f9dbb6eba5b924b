//! What an error of a call says: one line that names the call, holds no secret, and tells no time that nobody waited.

mod client_world;

use client_world::{World, block_on, ms, ok};
use millstream_base::{Error, Kind, Phase, Seen};
use millstream_http::{HttpClient, Method};
use millstream_peers::{RawConn, Scripted};

type Script = fn(&mut RawConn);

/// The error of one call to `/a/b?token=hidden` with credentials, of a server that does this with each connection.
fn failed(client: &HttpClient, method: Method, script: Script) -> (Error, String) {
    let server = Scripted::always(move |_, conn: &mut RawConn| script(conn));
    let address = server.address();
    let url = format!("http://user:hidden@{address}/a/b?token=hidden");
    let called = format!("{method} http://{address}/a/b: ");
    let error = block_on(async {
        let reply = client.request(method, url.as_str()).send().await?.error_for_status()?;
        reply.text().await
    });
    (error.expect_err("it fails"), called)
}

#[test]
fn error_of_a_call_names_method_and_url_and_no_secret() {
    let world = World::with(|options| options.http.read_timeout = ms(100));
    let scripts: [(Script, Kind); 6] = [
        (|conn| drop(conn.read_request()), Kind::Closed),
        (
            |conn| {
                conn.read_request();
                conn.send("SSH-2.0-OpenSSH_9\r\n");
            },
            Kind::Protocol,
        ),
        (
            |conn| {
                conn.read_request();
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
            },
            Kind::Closed,
        ),
        (
            |conn| {
                conn.read_request();
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
                conn.has_more();
            },
            Kind::Timeout,
        ),
        (
            |conn| {
                conn.read_request();
                conn.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
            },
            Kind::Policy,
        ),
        (
            |conn| {
                conn.read_request();
                conn.send("HTTP/1.1 302 Found\r\nLocation: ftp://x:hidden@y/\r\nContent-Length: 0\r\n\r\n");
            },
            Kind::Policy,
        ),
    ];
    for (script, kind) in scripts {
        for method in [Method::GET, Method::POST] {
            let (error, called) = failed(&world.client, method, script);
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(text.starts_with(&called), "want {called} in front of {text}");
            assert!(!text.contains("hidden") && !format!("{error:?}").contains("hidden"), "{error:?}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}

#[test]
fn error_that_nobody_waited_for_tells_no_time() {
    let (listener, address) = Scripted::never();
    drop(listener);
    let world = World::new();
    let error =
        block_on(world.client.get(format!("http://{address}/x?y").as_str()).send()).expect_err("no one");
    assert_eq!(error.phase(), Some(Phase::Connect));
    let elapsed = error.elapsed().expect("the call's");
    assert_eq!(error.to_string().contains("after"), elapsed >= ms(1), "{error}");
    assert!(!error.to_string().contains("after 0.000 s"), "{error}");
    assert_eq!(error.target(), Some(format!("GET http://{address}/x").as_str()));
}

#[test]
fn error_of_a_body_over_the_limit_says_that_the_request_was_seen() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    for reply in [ok("hello"), chunked.to_owned(), announced.to_owned()] {
        let server = Scripted::serve([{
            let reply = reply.clone();
            move |conn: &mut RawConn| {
                conn.read_request();
                conn.send(&reply);
                conn.has_more();
            }
        }]);
        let world = World::with(|options| options.max_body = 4);
        let address = format!("http://{}/", server.address());
        let error = block_on(async { world.client.get(address.as_str()).send().await?.bytes().await });
        let error = error.expect_err("over the limit");
        let got = (error.kind(), error.phase(), error.seen());
        assert_eq!(got, (Kind::Limit, Some(Phase::Read), Seen::Yes), "{reply:?}: {error}");
    }
}

#[test]
fn error_behind_a_redirect_names_where_it_led() {
    let server = Scripted::always(|_, conn: &mut RawConn| {
        if conn.read_request().target == "/a" {
            conn.send("HTTP/1.1 303 See Other\r\nLocation: /b?token=hidden\r\nContent-Length: 0\r\n\r\n");
            conn.read_request();
        }
    });
    let world = World::new();
    let from = format!("http://{}/a", server.address());
    let error = block_on(world.client.post(from.as_str()).body("x").send()).expect_err("closed");
    assert_eq!(error.target(), Some(format!("GET http://{}/b", server.address()).as_str()), "{error}");
}

#[test]
fn reply_that_is_well_says_nothing() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_request();
        conn.send(ok("hi"));
    }]);
    let world = World::new();
    let text = block_on(async {
        let reply = world.client.get(format!("http://{}/", server.address()).as_str()).send().await?;
        reply.text().await
    });
    assert_eq!(text.expect("a reply"), "hi");
}
