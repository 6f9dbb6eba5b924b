//! An axum router, and other services, behind our server.

mod serving;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{Path, Query};
use axum::routing::{get, post};
use millstream_http::tower::{TowerHandler, tower};
use millstream_http::{Body, Handler, Request, Router};
use serving::Served;
use tower_service::Service;

fn app() -> axum::Router {
    axum::Router::new()
        .route("/hello", get(async || "hello from axum"))
        .route("/users/{id}", get(async |Path(id): Path<String>| format!("user {id}")))
        .route("/query", get(async |Query(pairs): Query<Vec<(String, String)>>| format!("{pairs:?}")))
        .route("/uri", get(async |uri: http::Uri| uri.to_string()))
        .route("/echo", post(async |body: String| body))
        .route("/stream", post(async |body: axum::body::Body| body))
        .fallback(async |uri: http::Uri| (http::StatusCode::NOT_FOUND, format!("axum knows no {uri}")))
}

fn ask(server: &Served, line: &str, body: &str) -> (u16, String) {
    let method = line.split(' ').next().expect("a method");
    let mut conn = server.connect();
    conn.send(format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    let response = conn.read_response(method);
    (response.status, response.text().to_owned())
}

#[test]
fn axum_router_is_served_whole() {
    let server = Served::start(tower(app()));
    let long = "x".repeat(1_000_000);
    for (line, body, status, expected) in [
        ("GET /hello", "", 200, "hello from axum"),
        ("GET /users/7%20a", "", 200, "user 7 a"),
        ("GET /query?a=1&b=2", "", 200, r#"[("a", "1"), ("b", "2")]"#),
        ("GET http://host/uri?x", "", 200, "http://host/uri?x"),
        ("POST /echo", "body", 200, "body"),
        ("POST /stream", &long, 200, &long),
        ("POST /hello", "", 405, ""),
        ("GET /none", "", 404, "axum knows no /none"),
    ] {
        assert_eq!(ask(&server, line, body), (status, expected.to_owned()), "{line}");
    }
}

#[test]
fn axum_router_is_a_fallback_or_mounted_below_a_prefix() {
    let router = Router::new()
        .get("/hello", async |_: Request| "hello from here")
        .mount("/axum", tower(app()))
        .fallback(tower(app()));
    let server = Served::start(router);
    for (line, status, expected) in [
        ("GET /hello", 200, "hello from here"),
        ("GET /users/7", 200, "user 7"),
        ("GET /axum/hello", 200, "hello from axum"),
        ("GET /axum/uri?a=b", 200, "/uri?a=b"),
        ("GET /axum/users/%2e", 200, "user ."),
        ("GET /axum", 404, "axum knows no /"),
        ("GET /axum/", 404, "axum knows no /"),
    ] {
        assert_eq!(ask(&server, line, ""), (status, expected.to_owned()), "{line}");
    }
}

#[test]
fn head_to_axum_has_no_body() {
    let server = Served::start(tower(app()));
    let mut conn = server.connect();
    conn.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = conn.read_response("HEAD");
    assert_eq!((response.status, response.field("content-length")), (200, Some("15")));
}

/// Ready at the second look; fails as told.
#[derive(Clone)]
struct Slow {
    is_ready: bool,
    fails_when: &'static str,
}

impl Service<http::Request<Body>> for Slow {
    type Response = http::Response<String>;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.fails_when == "ready" {
            return Poll::Ready(Err("not today"));
        }
        if std::mem::replace(&mut self.is_ready, true) {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        assert!(self.is_ready, "called before it was ready");
        let fails = self.fails_when == "call";
        let path = request.uri().path().to_owned();
        // Not Send: a worker keeps it.
        let local = std::rc::Rc::new(path);
        Box::pin(
            async move { if fails { Err("broken") } else { Ok(http::Response::new(local.to_string())) } },
        )
    }
}

#[tokio::test]
async fn service_is_asked_when_it_is_ready_and_its_error_is_a_500() {
    for (fails_when, status) in [("never", 200), ("ready", 500), ("call", 500)] {
        let handler = tower(Slow { is_ready: false, fails_when });
        let mut response = handler.call(Request::sample("GET /a")).await;
        assert_eq!(response.status().as_u16(), status, "{fails_when}");
        let body = std::mem::take(response.body_mut()).collect(100).await.expect("whole");
        assert_eq!(body, if status == 200 { "/a" } else { "" });
    }
}

/// Takes a body type of its own.
#[derive(Clone)]
struct Picky;

struct OwnBody(Option<u64>);

impl Service<http::Request<OwnBody>> for Picky {
    type Response = http::Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<OwnBody>) -> Self::Future {
        let conn = request.extensions().get::<Arc<millstream_http::server::ConnInfo>>().is_some();
        std::future::ready(Ok(http::Response::new(format!("{:?} {conn}", request.body().0))))
    }
}

#[test]
fn body_can_be_made_another_and_the_connection_is_known() {
    let handler = TowerHandler::with_body(Picky, |body: Body| OwnBody(body.len()));
    let server = Served::start(handler);
    assert_eq!(ask(&server, "POST /", "12345"), (200, "Some(5) true".to_owned()));
}
