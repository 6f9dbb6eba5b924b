//! Handlers that panic: a 500, a counter, and the server goes on.

mod serving;

use millstream_http::{Body, Request, Response};
use millstream_peers::End;
use millstream_server::transport::Cause;
use serving::{Served, get};

const PANICS: &str = "millstream_http_handler_panics";

/// Panics where the path says.
async fn panics(request: Request) -> Response {
    let path = request.path().to_owned();
    assert_ne!(path, "/before", "on purpose");
    tokio::task::yield_now().await;
    assert_ne!(path, "/behind", "on purpose");
    match &*path {
        "/stream" => Response::bytes(Body::from_fn({
            let mut is_first = true;
            move || {
                assert!(std::mem::take(&mut is_first), "on purpose");
                std::future::ready(Some(Ok("first".into())))
            }
        })),
        "/upgrade" => Response::upgrade(async |upgraded| {
            drop(upgraded);
            panic!("on purpose");
        }),
        _ => Response::text("well"),
    }
}

/// A handler that panics before it gives a future.
fn panics_at_once(request: Request) -> std::future::Ready<Response> {
    assert_ne!(request.path(), "/", "on purpose");
    std::future::ready(Response::text("well"))
}

#[test]
fn panic_is_a_500_that_closes_and_is_counted() {
    let server = Served::start(panics);
    for (count, path) in ["/before", "/behind"].into_iter().enumerate() {
        let mut conn = server.connect();
        conn.send(get("/") + &get(path) + &get("/never"));
        assert_eq!(conn.read_response("GET").text(), "well");
        let response = conn.read_response("GET");
        assert_eq!((response.status, response.field("connection")), (500, Some("close")), "{path}");
        assert_eq!(response.body, b"", "what went wrong is not the client's to know");
        assert_eq!(conn.expect_end(), End::Fin);
        assert_eq!(server.metric(PANICS), count as u64 + 1);
    }
    // The worker's own counter is for what was not contained here.
    assert_eq!(server.metric("millstream_task_panics"), 0);
}

#[test]
fn panic_in_the_call_itself_is_a_500_as_well() {
    let server = Served::start(panics_at_once);
    let mut conn = server.connect();
    conn.send(get("/well") + &get("/"));
    assert_eq!(conn.read_response("GET").text(), "well");
    assert_eq!(conn.read_response("GET").status, 500);
    assert_eq!((conn.expect_end(), server.metric(PANICS)), (End::Fin, 1));
}

#[test]
fn panic_in_a_stream_breaks_the_response_off() {
    let server = Served::start(panics);
    let version_1_0 = "GET /stream HTTP/1.0\r\n\r\n".to_owned();
    for (count, request) in [get("/stream"), version_1_0].into_iter().enumerate() {
        let mut conn = server.connect();
        conn.send(request);
        let (bytes, end) = conn.read_to_end();
        // To version 1.0 a FIN would say that the body is whole.
        assert_eq!(end, End::Reset, "after {}", bytes.escape_ascii());
        assert!(!bytes.ends_with(b"\r\n0\r\n\r\n"));
        assert_eq!(server.metric(PANICS), count as u64 + 1);
    }
    assert_eq!(server.metric("millstream_http_response_bodies_failed"), 2);
    assert_eq!(server.metric("millstream_task_panics"), 0);
}

#[test]
fn panic_behind_an_upgrade_ends_that_connection_alone() {
    let server = Served::start(panics);
    let mut other = server.connect();
    let mut conn = server.connect();
    conn.send("GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(conn.read_response("GET").status, 101);
    conn.expect_end();
    other.send(get("/"));
    assert_eq!(other.read_response("GET").text(), "well");
    server.wait_for_metric("millstream_task_panics", 1);
}

#[test]
fn stream_that_breaks_its_word_is_broken_off() {
    let server = Served::start(async |request: Request| {
        let error = || millstream_base::Error::protocol("on purpose");
        let body = match request.path() {
            "/error" => {
                let mut is_first = true;
                Body::from_fn(move || {
                    let piece = if std::mem::take(&mut is_first) { Ok("first".into()) } else { Err(error()) };
                    std::future::ready(Some(piece))
                })
            }
            "/short" => Body::wrap(Sized { said: 10, given: 5 }),
            _ => Body::wrap(Sized { said: 10, given: 15 }),
        };
        Response::bytes(body)
    });
    for path in ["/error", "/short", "/long"] {
        let mut conn = server.connect();
        conn.send(get(path));
        let (bytes, end) = conn.read_to_end();
        assert_eq!(end, End::Reset, "{path}: after {}", bytes.escape_ascii());
        assert!(bytes.starts_with(b"HTTP/1.1 200") || bytes.is_empty());
    }
    server.wait_for_cause(Cause::ResetInRequest, 3);
    assert_eq!(server.metric("millstream_http_response_bodies_failed"), 3);
}

/// A body that says how long it is and may be wrong.
struct Sized {
    said: u64,
    given: u64,
}

impl http_body::Body for Sized {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        let given = usize::try_from(std::mem::take(&mut self.given)).expect("small");
        let piece = (given > 0).then(|| Ok(http_body::Frame::data("x".repeat(given).into())));
        std::task::Poll::Ready(piece)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.said)
    }
}
