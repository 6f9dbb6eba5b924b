//! Connections that leave HTTP: Upgrade, CONNECT, and what was sent ahead.

mod serving;

use millstream_http::server::Upgraded;
use millstream_http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use millstream_peers::{End, eventually};
use millstream_server::Shutdown;
use millstream_server::transport::Cause;
use serving::{Served, block_on, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Upgrades to a protocol that says everything back.
async fn upgrade(request: Request) -> Response {
    if request.path() == "/later" {
        tokio::task::yield_now().await;
    }
    let name = HeaderValue::from_static("echo");
    Response::upgrade(say_back).with_header(HeaderName::from_static("upgrade"), name)
}

async fn say_back(mut upgraded: Upgraded) {
    let mut buf = [0; 1000];
    while let Ok(count @ 1..) = upgraded.read(&mut buf).await {
        if upgraded.write_all(&buf[..count]).await.is_err() {
            return;
        }
    }
}

fn asking(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, x\r\nUpgrade: echo\r\n\r\n")
}

#[test]
fn upgrade_hands_the_connection_out_with_what_was_sent_ahead() {
    let server = Served::start(upgrade);
    for path in ["/", "/later"] {
        for ahead in ["", "early"] {
            let mut conn = server.connect();
            conn.send(asking(path) + ahead);
            let response = conn.read_response("GET");
            assert_eq!((response.status, response.field("connection")), (101, Some("upgrade")));
            assert_eq!((response.field("upgrade"), response.field("content-length")), (Some("echo"), None));
            conn.expect(ahead).send("GET / HTTP/1.1\r\n\r\n").expect("GET / HTTP/1.1\r\n\r\n");
            conn.half_close();
            assert_eq!(conn.expect_end(), End::Fin);
        }
    }
    eventually("all places are free", || server.running.open_connections() == 0);
    assert_eq!(server.metric("millstream_http_upgrades"), 4);
    assert_eq!(server.causes(), [(Cause::HandedOver, 4)]);
}

#[test]
fn connect_becomes_a_tunnel_with_early_bytes() {
    let server = Served::start(upgrade);
    let mut conn = server.connect();
    conn.send("CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n\x16\x03\x01");
    let response = conn.read_response("CONNECT");
    assert_eq!((response.status, response.field("content-length")), (200, None));
    assert_eq!(response.field("transfer-encoding"), None);
    conn.expect("\x16\x03\x01").send("more").expect("more");
}

#[test]
fn replies_before_an_upgrade_come_first() {
    let server = Served::start(async |request: Request| {
        if request.wants_upgrade() { upgrade(request).await } else { Response::bytes(vec![b'x'; 1 << 20]) }
    });
    let mut conn = server.connect();
    conn.send(get("/") + &get("/") + &asking("/") + "early");
    for _ in 0..2 {
        assert_eq!(conn.read_response("GET").body.len(), 1 << 20);
    }
    assert_eq!(conn.read_response("GET").status, 101);
    conn.expect("early");
}

#[test]
fn client_that_did_not_ask_gets_no_upgrade() {
    let server = Served::start(upgrade);
    for request in [
        get("/"),
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: echo\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\nConnection: upgrade, keep-alive\r\nUpgrade: echo\r\n\r\n".to_owned(),
    ] {
        let mut conn = server.connect();
        conn.send(request);
        assert_eq!(conn.read_response("GET").status, 426);
        conn.send(get("/"));
        assert_eq!(conn.read_response("GET").status, 426);
    }
    assert_eq!(server.metric("millstream_http_upgrades"), 0);
}

#[test]
fn upgrade_refused_goes_on_with_http() {
    let server = Served::start(async |_| "no");
    let mut conn = server.connect();
    conn.send(asking("/") + &get("/"));
    for _ in 0..2 {
        let response = conn.read_response("GET");
        assert_eq!((response.status, response.field("connection")), (200, Some("keep-alive")));
    }
}

#[test]
fn connect_that_succeeds_without_a_tunnel_closes() {
    let server = Served::start(async |_| StatusCode::OK);
    let mut conn = server.connect();
    conn.send("CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n");
    assert_eq!(conn.read_response("CONNECT").status, 200);
    // The client takes what it sends from here on for another protocol.
    let _ = conn.try_send(get("/smuggled"));
    assert_eq!(conn.expect_end(), End::Fin);
    // Refused, it is a request like any other.
    let server = Served::start(async |_| StatusCode::FORBIDDEN);
    let mut conn = server.connect();
    conn.send("CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n");
    assert_eq!(conn.read_response("GET").status, 403);
    conn.send(get("/"));
    assert_eq!(conn.read_response("GET").status, 403);
}

#[test]
fn body_that_is_not_read_forbids_the_upgrade() {
    let server = Served::start(upgrade);
    let mut conn = server.connect();
    conn.send(
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo\r\nContent-Length: 100\r\n\r\n",
    );
    conn.send("half");
    // The rest of the body would be taken for the other protocol.
    assert_eq!(conn.read_response("POST").status, 400);
    assert_eq!(conn.expect_end(), End::Fin);
}

#[test]
fn upgraded_connection_knows_its_session_and_ends_with_the_engine() {
    let server = Served::start(async |_| {
        Response::upgrade(async |mut upgraded| {
            let peer = upgraded.session().conn.peer_addr().to_string();
            // The test reads it or has failed.
            let _ = upgraded.write_all(peer.as_bytes()).await;
            std::future::pending::<()>().await;
        })
    });
    let mut conn = server.connect();
    let address = conn.local_addr().to_string();
    conn.send(asking("/"));
    assert_eq!(conn.read_response("GET").status, 101);
    conn.expect(address);
    assert_eq!(server.running.open_connections(), 1);
    assert!(!block_on(server.engine.shutdown(Shutdown::Graceful(serving::SOON))));
    conn.expect_end();
}
