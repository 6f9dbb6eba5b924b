//! What stands in a response, and what never does.

mod serving;

use std::time::{Duration, Instant, SystemTime};

use millstream_http::{Body, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use millstream_peers::eventually;
use millstream_server::transport::{Cause, ClosedBy, Side};
use serving::{Served, get};

/// Answers as the path says.
async fn various(request: Request) -> Response {
    match request.path() {
        "/text" => Response::text("hello"),
        "/empty" => Response::new(StatusCode::OK),
        "/204" => Response::text("never sent").with_status(StatusCode::NO_CONTENT),
        "/205" => Response::bytes(stream(["never", "sent"])).with_status(StatusCode::RESET_CONTENT),
        "/304" => Response::text("never sent").with_status(StatusCode::NOT_MODIFIED),
        "/stream" => Response::bytes(stream(["ab", "", "cde"])),
        "/sized" => Response::bytes(Body::wrap(http_body_util::Full::new(bytes::Bytes::from("abcde")))),
        "/close" => Response::text("bye").with_close(),
        "/continue" => Response::new(StatusCode::CONTINUE),
        "/early" => Response::new(StatusCode::from_u16(103).expect("a status")),
        "/switch" => Response::new(StatusCode::SWITCHING_PROTOCOLS),
        _ => StatusCode::NOT_FOUND.into_response_here(),
    }
}

trait IntoResponseHere {
    fn into_response_here(self) -> Response;
}

impl IntoResponseHere for StatusCode {
    fn into_response_here(self) -> Response {
        millstream_http::IntoResponse::into_response(self)
    }
}

fn stream<const N: usize>(pieces: [&'static str; N]) -> Body {
    let mut pieces = pieces.into_iter();
    Body::from_fn(move || std::future::ready(pieces.next().map(|piece| Ok(piece.into()))))
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    let server = Served::start(various);
    let mut conn = server.connect();
    for path in ["/text", "/empty", "/204", "/205", "/304", "/stream", "/sized", "/missing"] {
        conn.send(get(path));
        let to_get = conn.read_response("GET");
        conn.send(get(path).replacen("GET", "HEAD", 1));
        let to_head = conn.read_response("HEAD");
        assert_eq!((to_head.status, &to_head.fields), (to_get.status, &to_get.fields), "{path}");
    }
    assert!(conn.is_silent());
}

#[test]
fn bodies_are_framed_by_what_is_known_of_them() {
    let server = Served::start(various);
    let mut conn = server.connect();
    for (path, length, coding, body) in [
        ("/text", Some("5"), None, "hello"),
        ("/empty", Some("0"), None, ""),
        ("/204", None, None, ""),
        ("/205", Some("0"), None, ""),
        ("/304", Some("10"), None, ""),
        ("/sized", Some("5"), None, "abcde"),
        ("/stream", None, Some("chunked"), "abcde"),
    ] {
        conn.send(get(path));
        let response = conn.read_response("GET");
        let framing = (response.field("content-length"), response.field("transfer-encoding"));
        assert_eq!((framing, response.text()), ((length, coding), body), "{path}");
        assert_eq!(response.field("connection"), Some("keep-alive"), "{path}");
    }
}

#[test]
fn not_modified_may_say_how_long_the_body_would_be() {
    let server = Served::start(async |_| {
        let length = HeaderValue::from_static("1234");
        Response::new(StatusCode::NOT_MODIFIED).with_header(header::CONTENT_LENGTH, length)
    });
    let mut conn = server.connect();
    conn.send(get("/"));
    assert_eq!(conn.read_response("GET").field("content-length"), Some("1234"));
    conn.send(get("/"));
    assert_eq!(conn.read_response("GET").status, 304);
}

#[test]
fn interim_status_as_an_answer_is_an_error_of_the_handler() {
    let server = Served::start(various);
    for path in ["/continue", "/early", "/switch"] {
        let mut conn = server.connect();
        conn.send(get(path));
        // With an interim response the client would wait for the real one, for ever.
        assert_eq!(conn.read_response("GET").status, 500, "{path}");
    }
}

#[test]
fn what_frames_a_message_is_the_servers_alone() {
    let server = Served::start(async |_| {
        let mut response = Response::text("hello");
        for (name, value) in [
            ("content-length", "999"),
            ("transfer-encoding", "chunked"),
            ("connection", "close, x-hop"),
            ("keep-alive", "timeout=1"),
            ("upgrade", "x"),
        ] {
            response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    });
    let mut conn = server.connect();
    for _ in 0..2 {
        conn.send(get("/"));
        let response = conn.read_response("GET");
        assert_eq!(response.field("content-length"), Some("5"));
        assert_eq!(response.field("connection"), Some("keep-alive"));
        assert_eq!(response.field("keep-alive"), Some("timeout=60"));
        assert_eq!((response.field("transfer-encoding"), response.field("upgrade")), (None, None));
    }
}

#[test]
fn version_1_0_closes_unless_asked_to_stay() {
    let server = Served::start(various);
    let mut conn = server.connect();
    conn.send("GET /text HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(conn.read_response("GET").field("connection"), Some("keep-alive"));
    conn.send("GET /text HTTP/1.0\r\n\r\n");
    let response = conn.read_response("GET");
    assert_eq!((response.text(), response.field("connection")), ("hello", Some("close")));
    conn.expect_end();
}

#[test]
fn version_1_0_gets_streams_until_the_end_of_the_connection() {
    let server = Served::start(various);
    let mut conn = server.connect();
    conn.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let response = conn.read_response("GET");
    assert_eq!((response.text(), response.field("connection")), ("abcde", Some("close")));
    assert_eq!((response.field("transfer-encoding"), response.field("content-length")), (None, None));
    // To HEAD nothing follows, so nothing needs to end.
    let mut conn = server.connect();
    conn.send("HEAD /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(conn.read_response("HEAD").field("connection"), Some("keep-alive"));
}

#[test]
fn connection_closes_where_either_side_says_so() {
    let server = Served::start(various);
    for (request, cause) in [
        ("GET /close HTTP/1.1\r\nHost: a\r\n\r\n", Cause::OwnCloseHeader),
        ("GET /text HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Cause::PeerCloseHeader),
    ] {
        let mut conn = server.connect();
        conn.send(request);
        assert_eq!(conn.read_response("GET").field("connection"), Some("close"));
        conn.expect_end();
        conn.close();
        server.wait_for_cause(cause, 1);
        assert_eq!(server.lives().counts().ended_for(Side::Server, cause, ClosedBy::Us), 1);
    }
}

#[test]
fn date_is_that_of_now() {
    let server = Served::start(various);
    let mut conn = server.connect();
    for path in ["/text", "/stream", "/304", "/missing"] {
        conn.send(get(path));
        let response = conn.read_response("GET");
        let date = response.field("date").expect("every response has a date").to_owned();
        let moment = httpdate::parse_http_date(&date).expect("it is a date of HTTP");
        assert_eq!(httpdate::fmt_http_date(moment), date, "in the preferred form");
        let drift = SystemTime::now().duration_since(moment).expect("not in the future");
        assert!(drift < Duration::from_secs(5), "{date} is {drift:?} ago");
    }
}

#[test]
fn date_and_server_of_the_handler_win() {
    let name = HeaderValue::from_static("mill");
    let server = Served::configured(
        |options| options.server_name = Some(name),
        async |request: Request| {
            let response = Response::text("x");
            match request.path() {
                "/own" => response
                    .with_header(header::DATE, HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"))
                    .with_header(header::SERVER, HeaderValue::from_static("own")),
                _ => response,
            }
        },
    );
    let mut conn = server.connect();
    conn.send(get("/"));
    assert_eq!(conn.read_response("GET").field("server"), Some("mill"));
    conn.send(get("/own"));
    let own = conn.read_response("GET");
    assert_eq!(
        (own.field("server"), own.field("date")),
        (Some("own"), Some("Sun, 06 Nov 1994 08:49:37 GMT"))
    );
}

#[test]
fn no_field_can_carry_a_line_break() {
    for text in ["a\r\nX: y", "a\nb", "a\rb", "a\0b"] {
        assert!(HeaderValue::from_str(text).is_err());
        assert!(HeaderValue::from_bytes(text.as_bytes()).is_err());
        assert!(HeaderName::from_bytes(text.as_bytes()).is_err());
    }
    let server = Served::start(async |request: Request| {
        Response::see_other(&format!(
            "/{}",
            request.query_str().unwrap_or_default().replace("%0d%0a", "\r\n")
        ))
    });
    let mut conn = server.connect();
    conn.send(get("/?x%0d%0aSet-Cookie:%20a=b"));
    let response = conn.read_response("GET");
    assert_eq!((response.status, response.field("set-cookie")), (500, None));
}

#[test]
fn handler_knows_its_connection_and_the_number_of_the_request() {
    let opened = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let make = move |_: &_| opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let server = Served::with(
        2,
        |server| server.with_context(make),
        async |request: Request| {
            let context: u32 = *request.context().expect("it was made when the connection opened");
            assert!(request.context::<String>().is_none(), "only its own type");
            format!("{context} {} {}", request.number(), request.conn().peer())
        },
    );
    for conn_number in 0..3 {
        let mut conn = server.connect();
        let peer = conn.local_addr();
        conn.send(get("/") + &get("/"));
        conn.send(get("/"));
        for number in 1..=3 {
            assert_eq!(conn.read_response("GET").text(), format!("{conn_number} {number} {peer}"));
        }
    }
}

#[test]
fn idle_time_is_announced_and_kept() {
    let idle = Duration::from_secs(1);
    let server = Served::with(1, |server| server.with_idle_timeout(idle), various);
    let mut conn = server.connect();
    conn.send(get("/text"));
    assert_eq!(conn.read_response("GET").field("keep-alive"), Some("timeout=1"));
    let start = Instant::now();
    conn.expect_end();
    // Later than announced: a request on its way must still find the connection open.
    assert!(start.elapsed() > idle, "closed after {:?}", start.elapsed());
    conn.close();
    eventually("the connection is gone", || server.running.open_connections() == 0);
    let counts = server.lives().counts();
    assert_eq!(
        counts.ended_for(Side::Server, Cause::IdleTimeoutLocal, ClosedBy::Us),
        1,
        "{:?}",
        server.causes()
    );
}
