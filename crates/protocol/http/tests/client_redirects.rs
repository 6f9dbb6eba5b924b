//! Redirects against a running server: chains, loops, credentials, bodies, connections.

mod client_world;

use std::net::SocketAddr;

use client_world::{World, block_on, ok, serve, url};
use millstream_base::{Kind, Seen};
use millstream_client::transport::Cause;
use millstream_http::{Body, Method};
use millstream_peers::message::RawRequest;
use millstream_peers::{Count, RawConn, Scripted, eventually};

fn to(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nmoved")
}

/// `/N` leads to `/N-1`, and `/0` is the end; says what it was asked.
fn countdown(request: &RawRequest) -> String {
    match request.target.trim_start_matches('/').parse::<u32>() {
        Ok(0) | Err(_) => ok(&format!("{} {}", request.method, request.body.len())),
        Ok(number) => to(302, &format!("/{}", number - 1)),
    }
}

fn serving(reply: impl Fn(&RawRequest) -> String + Send + Sync + 'static) -> Scripted {
    Scripted::always(move |_, conn: &mut RawConn| serve(conn, &reply))
}

#[test]
fn ten_redirects_are_followed_over_one_connection() {
    let (server, world) = (serving(countdown), World::new());
    block_on(async {
        let reply = world.client.get(url(server.address(), "/10")).send().await.expect("ten are allowed");
        assert_eq!((reply.status().as_u16(), reply.url().path()), (200, "/0"));
        assert_eq!(reply.text().await.expect("text"), "GET 0");
    });
    assert_eq!(server.accepted().value(), 1, "each body was drained");
}

#[test]
fn eleventh_redirect_is_an_error_that_names_the_last_url() {
    let (server, world) = (serving(countdown), World::new());
    block_on(async {
        let error = world.client.get(url(server.address(), "/11")).send().await.expect_err("too many");
        assert_eq!((error.kind(), error.seen()), (Kind::Policy, Seen::Yes));
        assert_eq!(error.target(), Some(format!("GET {}", url(server.address(), "/1")).as_str()));
        assert!(error.to_string().contains("too many redirects (limit 10)"), "{error}");
    });
    assert_eq!(world.client.pool_stats().lent, 0);
}

#[test]
fn limit_can_be_set_and_zero_gives_the_redirect_out() {
    for (limit, hops, is_fine) in [(3, 3, true), (3, 4, false)] {
        let (server, world) = (serving(countdown), World::with(|options| options.max_redirects = limit));
        let address = url(server.address(), &format!("/{hops}"));
        assert_eq!(block_on(world.client.get(address).send()).is_ok(), is_fine, "{hops} of {limit}");
    }
    let (server, world) = (serving(countdown), World::with(|options| options.max_redirects = 0));
    block_on(async {
        let reply = world.client.get(url(server.address(), "/4")).send().await.expect("a reply");
        assert_eq!((reply.status().as_u16(), reply.header("location")), (302, Some("/3")));
        assert_eq!(reply.text().await.expect("text"), "moved");
    });
}

#[test]
fn loop_ends_at_the_limit() {
    let asked = Count::new();
    let count = asked.clone();
    let server = serving(move |_| {
        count.rise();
        to(307, "/again?x=y")
    });
    let world = World::new();
    let error = block_on(world.client.get(url(server.address(), "/")).send()).expect_err("a loop");
    assert_eq!((error.kind(), asked.value()), (Kind::Policy, 11));
}

#[test]
fn method_and_body_arrive_as_the_standard_says() {
    for (status, method, expected) in [
        (301, Method::POST, "GET 0"),
        (302, Method::POST, "GET 0"),
        (303, Method::POST, "GET 0"),
        (303, Method::PUT, "GET 0"),
        (307, Method::POST, "POST 4"),
        (308, Method::POST, "POST 4"),
        (302, Method::PUT, "PUT 4"),
    ] {
        let server = serving(
            move |request| {
                if request.target == "/from" { to(status, "/to") } else { countdown(request) }
            },
        );
        let world = World::new();
        block_on(async {
            let request = world.client.request(method.clone(), url(server.address(), "/from")).body("body");
            let text = request.send().await.expect("followed").text().await.expect("text");
            assert_eq!(text, expected, "{status} {method}");
        });
    }
}

#[test]
fn stream_is_not_sent_again_but_may_become_a_get() {
    for (status, is_followed) in [(303, true), (307, false)] {
        let server = serving(
            move |request| {
                if request.target == "/from" { to(status, "/to") } else { countdown(request) }
            },
        );
        let world = World::new();
        block_on(async {
            let (sender, stream) = Body::channel(1);
            sender.send("piece").await.expect("read");
            drop(sender);
            let request = world.client.post(url(server.address(), "/from")).body(stream);
            match request.send().await {
                Ok(reply) => assert!(is_followed && reply.text().await.expect("text") == "GET 0"),
                Err(error) => {
                    assert!(!is_followed && error.kind() == Kind::Policy, "{error}");
                    assert!(error.to_string().contains("can't be sent again"), "{error}");
                }
            }
        });
    }
}

#[test]
fn credentials_stay_with_their_origin() {
    let told = |request: &RawRequest| {
        let fields = ["authorization", "cookie", "x-own"].map(|name| request.fields.get(name).unwrap_or("-"));
        ok(&fields.join(" "))
    };
    let other = serving(told);
    let other_address: SocketAddr = other.address();
    let server = serving(move |request| match request.target.as_str() {
        "/far" => to(302, &format!("http://{other_address}/")),
        "/near" => to(302, "/here"),
        _ => told(request),
    });
    let world = World::new();
    block_on(async {
        for (path, expected) in [("/near", "Bearer token a=b mine"), ("/far", "- - mine")] {
            let request = world.client.get(url(server.address(), path)).bearer_auth("token");
            let request = request.header("cookie", "a=b").header("x-own", "mine");
            assert_eq!(
                request.send().await.expect("followed").text().await.expect("text"),
                expected,
                "{path}"
            );
        }
    });
}

#[test]
fn one_deadline_is_for_the_whole_chain() {
    let asked = Count::new();
    let count = asked.clone();
    let server = Scripted::always(move |_, conn: &mut RawConn| {
        while conn.has_more() {
            let request = conn.read_request();
            if request.target == "/slow" {
                count.rise();
                conn.has_more();
                return;
            }
            conn.send(to(302, "/slow"));
        }
    });
    let world = World::new();
    block_on(async {
        let request = world.client.get(url(server.address(), "/")).timeout(client_world::ms(80));
        let error = request.send().await.expect_err("the second hop is silent");
        assert!(error.is_timeout() && error.to_string().contains("the call's deadline"), "{error}");
    });
    assert_eq!(asked.value(), 1);
}

#[test]
fn long_body_of_a_redirect_costs_a_connection_and_no_time() {
    let server = Scripted::serve_boxed(vec![
        millstream_peers::scripted::boxed(|conn| {
            conn.read_request();
            conn.send("HTTP/1.1 302 Found\r\nLocation: /to\r\nContent-Length: 1000000000\r\n\r\nbegin");
            conn.read_to_end();
        }),
        millstream_peers::scripted::boxed(|conn| serve(conn, countdown)),
    ]);
    let world = World::new();
    block_on(async {
        let text = world.client.get(url(server.address(), "/")).send().await.expect("followed").text().await;
        assert_eq!(text.expect("text"), "GET 0");
    });
    assert_eq!(world.ended(Cause::BodyNotDrained), 1);
}

#[test]
fn body_of_a_redirect_that_does_not_come_costs_a_connection_and_little_time() {
    for begun in ["Content-Length: 20\r\n\r\nbe", "Transfer-Encoding: chunked\r\n\r\n2\r\nbe\r\n"] {
        let server = Scripted::serve_boxed(vec![
            millstream_peers::scripted::boxed(move |conn| {
                conn.read_request();
                conn.send(format!("HTTP/1.1 302 Found\r\nLocation: /to\r\n{begun}"));
                // The peer's own patience ends long before the client's limits: a client that waits fails here.
                conn.read_to_end();
            }),
            millstream_peers::scripted::boxed(|conn| serve(conn, countdown)),
        ]);
        let hour = client_world::ms(3_600_000);
        let world = World::with(|options| options.http.read_timeout = hour);
        block_on(async {
            let request = world.client.get(url(server.address(), "/")).timeout(hour);
            assert_eq!(request.send().await.expect("followed").text().await.expect("text"), "GET 0");
        });
        eventually("the connection is given up", || world.ended(Cause::BodyNotDrained) == 1);
        drop(world);
        server.finish();
    }
}

#[test]
fn redirects_without_a_location_and_others_are_replies() {
    for (status, field) in
        [(302, ""), (300, "Location: /x\r\n"), (304, "Location: /x\r\n"), (201, "Location: /x\r\n")]
    {
        let server = serving(move |_| format!("HTTP/1.1 {status} X\r\n{field}Content-Length: 0\r\n\r\n"));
        let world = World::new();
        let reply = block_on(world.client.get(url(server.address(), "/")).send()).expect("a reply");
        assert_eq!(reply.status().as_u16(), status);
    }
}

#[test]
fn https_never_leads_to_http() {
    let authority = millstream_peers::certs::Authority::new();
    let identity = authority.server(&["localhost"]);
    let folder = millstream_peers::Folder::new();
    let plain = serving(countdown);
    let redirect = format!("return 302 http://{}/0", plain.address());
    let config = millstream_peers::nginx::NginxConfig::new().root(folder.path()).tls(&identity);
    let nginx = millstream_peers::or_skip!(config.directive(&redirect).start());
    let world = World::new();
    let client = millstream_http::HttpClient::builder()
        .root_certificates(millstream_client::transport::tls::Pem::text(authority.root()))
        .without_system_roots()
        .build(&world.engine)
        .expect("settings");
    let address = format!("https://localhost:{}/", nginx.address().port());
    let error = block_on(client.get(address.as_str()).send()).expect_err("out of encryption");
    let called = format!("GET {address}");
    assert_eq!((error.kind(), error.target()), (Kind::Policy, Some(called.as_str())), "{error}");
    assert_eq!(plain.accepted().value(), 0);
}
