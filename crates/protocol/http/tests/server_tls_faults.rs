//! Faults under TLS: clients that leave, say nothing, or send what nobody reads; and what TLS still holds when we close.

mod serving;

use millstream_base::Deadline;
use millstream_http::{Body, Request, Response};
use millstream_peers::certs::Authority;
use millstream_peers::message::RawResponse;
use millstream_peers::{End, PATIENCE, RawConn, eventually};
use millstream_server::ServerOptions;
use millstream_server::transport::tls::{Pem, TlsClient, TlsServer};
use millstream_server::transport::{Addr, Cause, Conn, DialOptions, LifeTable, Opener, dial};
use serving::{Held, SOON, Served, block_on, get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server over TLS and a client that trusts it.
struct Secure {
    server: Served,
    client: TlsClient,
}

impl Secure {
    fn start(options: ServerOptions, handler: impl millstream_http::Handler) -> Self {
        let authority = Authority::new();
        let identity = authority.server(&["localhost"]);
        let tls = TlsServer::builder().with_certificate(Pem::text(identity.chain), Pem::text(identity.key));
        let tls = tls.build().expect("the certificate is good");
        let client = TlsClient::builder().without_system_roots().with_roots(Pem::text(authority.root()));
        let client = client.build().expect("the root is good");
        Self { server: Served::with(1, |server| server.with_options(options).with_tls(tls), handler), client }
    }

    async fn connect(&self) -> Conn {
        let deadline = Deadline::after(std::time::Instant::now(), PATIENCE);
        let options = DialOptions::default().with_tls(self.client.clone(), "localhost");
        let address = Addr::Tcp(self.server.address);
        dial(&[address], &options, deadline, &LifeTable::default(), Opener::Direct)
            .await
            .expect("a handshake")
    }
}

/// Sends all of it, whether it is taken or not.
async fn send(conn: &mut Conn, bytes: impl AsRef<[u8]>) {
    // The server may have said all it wants to say: then that is still to be read.
    let _ = conn.write_all(bytes.as_ref()).await;
    let _ = conn.flush().await;
}

#[test]
fn handler_is_dropped_when_its_client_leaves() {
    for leaves_by_reset in [false, true] {
        let held = Held::new();
        let secure = Secure::start(ServerOptions::default(), {
            let held = held.clone();
            move |_: Request| {
                let held = held.clone();
                async move { held.hold().await }
            }
        });
        block_on(async {
            let mut conn = secure.connect().await;
            send(&mut conn, get("/")).await;
            held.entered.passed().await;
            if leaves_by_reset {
                conn.set_linger_zero();
            }
            drop(conn);
            held.dropped.passed().await;
        });
        secure.server.wait_for_cause(Cause::Cancelled, 1);
        eventually("its place is free", || secure.server.running.open_connections() == 0);
    }
}

#[test]
fn stream_is_dropped_when_its_client_says_goodbye() {
    let held = Held::new();
    let secure = Secure::start(ServerOptions::default(), {
        let held = held.clone();
        move |_: Request| {
            let (held, mut is_first) = (held.clone(), true);
            let body = Body::from_fn(move || {
                let (held, is_first) = (held.clone(), std::mem::take(&mut is_first));
                async move {
                    if !is_first {
                        held.hold().await;
                    }
                    Some(Ok("piece".into()))
                }
            });
            std::future::ready(Response::bytes(body))
        }
    });
    block_on(async {
        let mut conn = secure.connect().await;
        send(&mut conn, get("/")).await;
        held.entered.passed().await;
        // With close_notify, and the connection open below.
        conn.shutdown().await.expect("it is open");
        held.dropped.passed().await;
    });
}

#[test]
fn pipelined_requests_and_large_bodies_go_through() {
    let secure = Secure::start(ServerOptions::default(), async |mut request: Request| match request.path() {
        "/large" => Response::bytes(vec![b'x'; 5 << 20]),
        "/echo" => Response::bytes(request.take_body()),
        path => Response::text(path.to_owned()),
    });
    let body = vec![b'y'; 3 << 20];
    let requests =
        [get("/1").into_bytes(), get("/large").into(), post("/echo", &body), get("/2").into()].concat();
    let bytes = block_on(async {
        let conn = secure.connect().await;
        let (mut reader, mut writer) = tokio::io::split(conn);
        let writing = async move {
            writer.write_all(&requests).await.expect("it is taken");
            writer.shutdown().await.expect("it is open");
            writer
        };
        let reading = async move {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).await.expect("a good end");
            bytes
        };
        tokio::join!(writing, reading).1
    });
    let responses = RawResponse::read_all(&bytes, ["GET", "GET", "POST", "GET"]);
    assert_eq!((responses[0].text(), responses[3].text()), ("/1", "/2"));
    assert_eq!(responses[1].body.len(), 5 << 20);
    assert!(responses[2].body == body);
}

#[test]
fn response_arrives_whole_before_an_unread_body() {
    let secure = Secure::start(ServerOptions::default(), async |_| Response::bytes(vec![b'x'; 1 << 20]));
    for _ in 0..20 {
        let bytes = block_on(async {
            let conn = secure.connect().await;
            let (mut reader, mut writer) = tokio::io::split(conn);
            let writing = async {
                // It may be cut off once the response is out.
                let _ = writer.write_all(&post("/", vec![b'y'; 2 << 20])).await;
            };
            let reading = async {
                let mut bytes = Vec::new();
                reader.read_to_end(&mut bytes).await.expect("a good end");
                bytes
            };
            tokio::join!(writing, reading).1
        });
        let responses = RawResponse::read_all(&bytes, ["POST"]);
        assert_eq!((responses[0].body.len(), responses[0].field("connection")), (1 << 20, Some("close")));
    }
}

#[test]
fn response_that_is_broken_off_has_no_good_end() {
    let secure = Secure::start(ServerOptions::default(), async |_| {
        let mut is_first = true;
        Response::bytes(Body::from_fn(move || {
            let error = || millstream_base::Error::protocol("on purpose");
            let piece =
                if std::mem::take(&mut is_first) { Ok("x".repeat(100_000).into()) } else { Err(error()) };
            std::future::ready(Some(piece))
        }))
    });
    // Version 1.0 knows the end of the body by the end of the connection: a goodbye would make it whole.
    for request in ["GET / HTTP/1.0\r\n\r\n".to_owned(), get("/")] {
        block_on(async {
            let mut conn = secure.connect().await;
            send(&mut conn, request).await;
            let mut bytes = Vec::new();
            conn.read_to_end(&mut bytes).await.expect_err("it was cut short");
        });
    }
}

#[test]
fn client_that_says_nothing_in_its_handshake_is_let_go() {
    let mut options = ServerOptions::default();
    options.handshake_timeout = SOON;
    let secure = Secure::start(options, async |_| "served");
    for begin in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut conn = RawConn::connect(secure.server.address);
        conn.send(begin);
        let (bytes, _) = conn.read_to_end();
        assert_eq!(bytes, b"");
    }
    secure.server.wait_for_metric("millstream_server_handshake_failures", 2);
    eventually("their places are free", || secure.server.running.open_connections() == 0);
    block_on(async {
        let mut conn = secure.connect().await;
        send(&mut conn, get("/")).await;
        let mut head = [0; 15];
        conn.read_exact(&mut head).await.expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200 OK");
    });
}

/// Limits under which a silent client would stay for ever.
fn patient(most: usize) -> ServerOptions {
    let mut options = ServerOptions::default();
    options.handshake_timeout = std::time::Duration::from_secs(3600);
    options.max_connections = most;
    options
}

#[test]
fn client_that_has_said_nothing_does_not_hold_a_drain() {
    let secure = Secure::start(patient(10), async |_| "served");
    let mut silent = RawConn::connect(secure.server.address);
    eventually("it is accepted", || secure.server.running.open_connections() == 1);
    let running = secure.server.running.clone();
    assert!(block_on(async { running.stop(PATIENCE).await }));
    assert_eq!(silent.read_to_end().0, b"");
}

#[test]
fn client_that_has_said_nothing_makes_room_for_another() {
    let secure = Secure::start(patient(1), async |_| "served");
    let mut silent = RawConn::connect(secure.server.address);
    eventually("it is accepted", || secure.server.running.open_connections() == 1);
    block_on(async {
        let mut conn = secure.connect().await;
        send(&mut conn, get("/")).await;
        let mut head = [0; 15];
        conn.read_exact(&mut head).await.expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200 OK");
    });
    assert_eq!(silent.read_to_end().0, b"");
}

#[test]
fn handshake_under_way_when_the_drain_begins_is_answered() {
    let secure = Secure::start(ServerOptions::default(), async |_| "served");
    block_on(async {
        let idle = secure.connect().await;
        let mut conn = secure.connect().await;
        send(&mut conn, get("/")).await;
        let mut bytes = Vec::new();
        let running = secure.server.running.clone();
        let stopping = async { running.stop(PATIENCE).await };
        let reading = async {
            conn.read_to_end(&mut bytes).await.expect("a good end");
            conn.shutdown().await.expect("our side is open");
            drop(idle);
            bytes
        };
        let (stopped, bytes) = tokio::join!(stopping, reading);
        assert!(stopped);
        assert_eq!(RawResponse::read_all(&bytes, ["GET"])[0].text(), "served");
    });
    assert!(RawConn::try_connect(secure.server.address).is_err());
}

#[test]
fn plain_bytes_are_answered_with_an_alert_and_an_end() {
    let secure = Secure::start(ServerOptions::default(), async |_| "served");
    let mut conn = RawConn::connect(secure.server.address);
    conn.send(get("/"));
    let (bytes, end) = conn.read_to_end();
    assert!(bytes.first().is_none_or(|kind| *kind == 21), "an alert, or nothing: {}", bytes.escape_ascii());
    assert!(matches!(end, End::Fin | End::Reset));
}
