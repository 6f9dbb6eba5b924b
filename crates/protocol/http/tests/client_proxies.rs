//! Proxies: absolute form for http, tunnels for https, and proxies that do not do as they are asked.

mod client_world;

use std::net::SocketAddr;
use std::thread;

use client_world::{World, block_on, ms, ok, serve, url};
use millstream_base::{Error, Kind, Phase, Seen};
use millstream_client::transport::tls::Pem;
use millstream_http::HttpClient;
use millstream_http::client::{HttpClientBuilder, Proxy};
use millstream_peers::certs::Authority;
use millstream_peers::message::RawRequest;
use millstream_peers::nginx::{Nginx, NginxConfig};
use millstream_peers::{Count, Folder, RawConn, Scripted};

fn through(proxy: SocketAddr, credentials: &str) -> Proxy {
    Proxy::all(&format!("http://{credentials}{proxy}")).expect("a proxy")
}

fn client(world: &World, change: impl FnOnce(HttpClientBuilder) -> HttpClientBuilder) -> HttpClient {
    change(HttpClient::builder()).build(&world.engine).expect("settings")
}

/// Says what it was asked.
fn teller() -> Scripted {
    Scripted::always(|_, conn: &mut RawConn| {
        serve(conn, |request: &RawRequest| {
            let field = |name| request.fields.get(name).unwrap_or("-").to_owned();
            ok(&format!("{} {} {}", request.target, field("host"), field("proxy-authorization")))
        });
    })
}

#[test]
fn http_goes_in_absolute_form_over_connections_shared_by_origins() {
    let (proxy, world) = (teller(), World::new());
    let client = client(&world, |builder| builder.proxy(through(proxy.address(), "user:secret@")));
    block_on(async {
        for (address, expected) in [
            ("http://a.example/x?y=z", "http://a.example/x?y=z a.example Basic dXNlcjpzZWNyZXQ="),
            ("http://b.example:8080/", "http://b.example:8080/ b.example:8080 Basic dXNlcjpzZWNyZXQ="),
            ("http://u:p@c.example/", "http://c.example/ c.example Basic dXNlcjpzZWNyZXQ="),
        ] {
            let reply = client.get(address).send().await.expect("a reply");
            assert_eq!(reply.text().await.expect("text"), expected);
        }
    });
    assert_eq!(proxy.accepted().value(), 1);
}

#[test]
fn other_credentials_are_other_connections() {
    let (proxy, world) = (teller(), World::new());
    let one = client(&world, |builder| builder.proxy(through(proxy.address(), "one:1@")));
    let two = one.clone();
    let both = [one, client(&world, |builder| builder.proxy(through(proxy.address(), "two:2@"))), two];
    block_on(async {
        for client in &both {
            client.get("http://a.example/").send().await.expect("a reply").bytes().await.expect("whole");
        }
    });
    assert_eq!(proxy.accepted().value(), 2);
}

#[test]
fn hosts_that_are_excepted_are_reached_directly() {
    let (proxy, direct, world) = (teller(), teller(), World::new());
    let client = client(&world, |builder| {
        builder.proxy(through(proxy.address(), "").without("127.0.0.0/8")).without_retries()
    });
    block_on(async {
        let reply = client.get(url(direct.address(), "/x")).send().await.expect("a reply");
        assert_eq!(reply.text().await.expect("text"), format!("/x {} -", direct.address()));
        client.get("http://a.example/").send().await.expect("a reply").bytes().await.expect("whole");
    });
    assert_eq!((proxy.accepted().value(), direct.accepted().value()), (1, 1));
}

#[test]
fn proxy_credentials_are_not_told_to_an_origin_behind_a_redirect() {
    let direct = teller();
    let target = direct.address();
    let proxy = Scripted::always(move |_, conn: &mut RawConn| {
        serve(conn, |_| {
            format!("HTTP/1.1 302 Found\r\nLocation: http://{target}/\r\nContent-Length: 0\r\n\r\n")
        });
    });
    let world = World::new();
    let client = client(&world, |builder| {
        builder.proxy(through(proxy.address(), "user:secret@").without(&target.ip().to_string()))
    });
    let text = block_on(async {
        client.get("http://a.example/").send().await.expect("followed").text().await.expect("text")
    });
    assert_eq!(text, format!("/ {target} -"));
}

/// Opens the tunnel it is asked for, and carries bytes both ways; counts the requests.
fn tunneller(asked: &Count, credentials: &'static str) -> Scripted {
    let asked = asked.clone();
    Scripted::always(move |_, conn: &mut RawConn| {
        let head = String::from_utf8(conn.read_until(b"\r\n\r\n")).expect("text");
        asked.rise();
        let authority = head.split(' ').nth(1).expect("a target").to_owned();
        assert!(
            head.starts_with(&format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n")),
            "{head}"
        );
        assert!(head.contains(credentials), "{head}");
        let port = authority.rsplit_once(':').expect("a port").1.parse().expect("a number");
        let mut origin = RawConn::connect(SocketAddr::from(([127, 0, 0, 1], port)));
        conn.send("HTTP/1.1 103 Early Hints\r\n\r\n");
        conn.send("HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n");
        let (mut from_origin, mut to_client) = (origin.twin(), conn.twin());
        let back = thread::spawn(move || carry(&mut from_origin, &mut to_client));
        carry(conn, &mut origin);
        back.join().expect("carried");
    })
}

fn carry(from: &mut RawConn, to: &mut RawConn) {
    while from.has_more() {
        let Ok(bytes) = from.try_read_some() else { break };
        if to.try_send(bytes).is_err() {
            break;
        }
    }
    to.try_half_close();
}

fn secure_origin(authority: &Authority, folder: &Folder) -> Result<Nginx, millstream_peers::Skip> {
    folder.write("x", "through the tunnel");
    NginxConfig::new().root(folder.path()).tls(&authority.server(&["localhost"])).start()
}

#[test]
fn https_goes_through_a_tunnel_that_serves_many_calls() {
    let (authority, folder, asked) = (Authority::new(), Folder::new(), Count::new());
    let nginx = millstream_peers::or_skip!(secure_origin(&authority, &folder));
    let proxy = tunneller(&asked, "proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n");
    let world = World::new();
    let client = client(&world, |builder| {
        let builder = builder.proxy(through(proxy.address(), "user:secret@"));
        builder.root_certificates(Pem::text(authority.root())).without_system_roots()
    });
    let address = format!("https://localhost:{}/x", nginx.address().port());
    block_on(async {
        for _ in 0..3 {
            let reply = client.get(address.as_str()).send().await.expect("a reply");
            assert_eq!(reply.text().await.expect("text"), "through the tunnel");
        }
    });
    assert_eq!(asked.value(), 1);
    drop(client);
}

#[test]
fn certificate_is_checked_within_the_tunnel() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let nginx = millstream_peers::or_skip!(secure_origin(&authority, &folder));
    let proxy = tunneller(&Count::new(), "");
    let world = World::new();
    let client = client(&world, |builder| {
        let stranger = Pem::text(Authority::new().root());
        builder.proxy(through(proxy.address(), "")).root_certificates(stranger).without_system_roots()
    });
    let port = nginx.address().port();
    let error = block_on(client.get(format!("https://localhost:{port}/x")).send()).expect_err("a stranger");
    assert_eq!((error.kind(), error.phase()), (Kind::Tls, Some(Phase::Tls)), "{error}");
    let called = format!("GET https://localhost:{port}/x through {}", proxy.address());
    assert_eq!(error.target(), Some(called.as_str()));
}

/// The error of an https call through a proxy that answers so.
fn refused(answer: &str, closes: bool) -> Error {
    let bytes = answer.to_owned();
    let proxy = Scripted::serve([move |conn: &mut RawConn| {
        conn.read_until(b"\r\n\r\n");
        conn.send(&bytes);
        if !closes {
            conn.has_more();
        }
    }]);
    let world = World::new();
    let client = client(&world, |builder| {
        let builder = builder.proxy(through(proxy.address(), "")).timeout(ms(300));
        builder.danger_accept_invalid_certificates()
    });
    let error = block_on(client.post("https://a.example/").send()).expect_err(answer);
    assert_eq!((error.seen(), world.client.pool_stats().open), (Seen::No, 0), "{error}");
    error
}

#[test]
fn proxies_that_refuse_are_quoted() {
    for (answer, kind, message) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
            Kind::Policy,
            "other credentials (407)",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!", Kind::Connect, "CONNECT with 502"),
        ("HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n", Kind::Connect, "CONNECT with 301"),
        ("SSH-2.0-OpenSSH_9.2\r\n", Kind::Connect, "malformed"),
        ("HTTP/1.1 200 OK\r\nContent Length: 1\r\n\r\n", Kind::Connect, "malformed"),
        ("HTTP/1.1 200 OK\r\n\r\n220 smtp.example ESMTP\r\n", Kind::Connect, "sent data before"),
        ("HTTP/1.1 200 OK\r\n", Kind::Connect, "closed without an answer"),
        ("", Kind::Connect, "closed without an answer"),
    ] {
        let error = refused(answer, true);
        assert_eq!(error.kind(), kind, "{answer:?}: {error}");
        assert!(error.to_string().contains(message), "{answer:?}: {error}");
        assert!(error.to_string().starts_with("POST https://a.example/ through 127.0.0.1:"), "{error}");
    }
}

#[test]
fn proxy_whose_interim_answers_go_on_is_given_up_at_the_limit_for_replies() {
    for (interims, kind, message) in
        [(32, Kind::Connect, "CONNECT with 502"), (33, Kind::Protocol, "too many interim replies")]
    {
        let hints = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(interims);
        let error = refused(&format!("{hints}HTTP/1.1 502 Bad Gateway\r\n\r\n"), false);
        assert_eq!(error.kind(), kind, "{interims}: {error}");
        assert!(error.to_string().contains(message), "{interims}: {error}");
    }
}

#[test]
fn proxy_that_is_silent_is_given_up_at_the_deadline() {
    let error = refused("", false);
    assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(Phase::Handshake)), "{error}");
}

#[test]
fn proxy_that_is_not_there_is_named() {
    let (listener, address) = Scripted::never();
    drop(listener);
    let world = World::new();
    let client = client(&world, |builder| builder.proxy(through(address, "user:secret@")));
    for target in ["http://a.example/", "https://a.example/"] {
        let error = block_on(client.get(target).send()).expect_err("nobody listens");
        let called = format!("GET {target} through {address}");
        assert_eq!((error.kind(), error.target()), (Kind::Connect, Some(called.as_str())));
        assert!(!error.to_string().contains("secret"));
    }
}

#[test]
fn proxy_may_itself_be_spoken_to_over_tls() {
    let (authority, folder) = (Authority::new(), Folder::new());
    // nginx as a forward proxy of sorts: it answers what is in absolute form.
    let config = NginxConfig::new().root(folder.path()).tls(&authority.server(&["localhost"]));
    let nginx = millstream_peers::or_skip!(config.directive("return 200 \"$scheme $http_host\"").start());
    let world = World::new();
    let client = client(&world, |builder| {
        let proxy = Proxy::http(&format!("https://localhost:{}", nginx.address().port())).expect("a proxy");
        builder.proxy(proxy).root_certificates(Pem::text(authority.root())).without_system_roots()
    });
    let text = block_on(async {
        client.get("http://a.example/").send().await.expect("a reply").text().await.expect("text")
    });
    assert_eq!(text, "https a.example");
}
