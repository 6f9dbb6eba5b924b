//! Path and method to handler, without a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use millstream_base::Result;
use millstream_http::router::{Next, streamed, with_max_body};
use millstream_http::{Handler, IntoResponse, Request, Response, Router, StatusCode, header};

/// Status, Allow and body of the answer.
async fn ask(router: &Router, line: &str) -> (u16, String, String) {
    let mut response = router.call(Request::sample(line)).await;
    let allow = response.headers().get(&header::ALLOW).map(|value| value.to_str().expect("ascii").to_owned());
    let body = std::mem::take(response.body_mut()).collect(1 << 20).await.expect("whole");
    (response.status().as_u16(), allow.unwrap_or_default(), String::from_utf8(body.into()).expect("text"))
}

async fn body(router: &Router, line: &str) -> String {
    ask(router, line).await.2
}

fn says(text: &'static str) -> impl Handler {
    move |_: Request| std::future::ready(text)
}

/// Answers with the value of all named parameters.
fn params(names: &'static [&'static str]) -> impl Handler {
    move |request: Request| {
        let values: Vec<_> = names.iter().map(|name| format!("{name}={:?}", request.param(name))).collect();
        std::future::ready(values.join(" "))
    }
}

fn local(request: Request) -> impl Future<Output = String> {
    std::future::ready(format!("{} of {}", request.local_path(), request.path()))
}

#[tokio::test]
async fn method_and_path_choose_the_handler() {
    let router = Router::new()
        .get("/", says("home"))
        .get("/a", says("get a"))
        .post("/a", says("post a"))
        .any("/any", says("any"))
        .get("/any", says("get any"));
    for (line, expected) in [
        ("GET /", "home"),
        ("GET /?x=/a", "home"),
        ("GET /a", "get a"),
        ("POST /a", "post a"),
        ("HEAD /a", "get a"),
        ("PUT /any", "any"),
        ("GET /any", "get any"),
        ("OPTIONS /any", "any"),
        ("GET http://host/a", "get a"),
        ("GET /a/", "not found\n"),
        ("GET //a", "not found\n"),
        ("GET /A", "not found\n"),
        ("GET /%61", "not found\n"),
    ] {
        assert_eq!(body(&router, line).await, expected, "{line}");
    }
}

#[tokio::test]
async fn other_methods_are_405_with_allow_sorted() {
    let router =
        Router::new().post("/a", says("")).get("/a", says("")).delete("/a", says("")).put("/b", says(""));
    assert_eq!(
        ask(&router, "PATCH /a").await,
        (405, "DELETE, GET, HEAD, OPTIONS, POST".to_owned(), "method not allowed\n".to_owned())
    );
    assert_eq!(ask(&router, "HEAD /b").await.0, 405);
    let (status, allow, body) = ask(&router, "OPTIONS /b").await;
    assert_eq!((status, &*allow, &*body), (204, "OPTIONS, PUT", ""));
    assert_eq!(ask(&router, "OPTIONS *").await.0, 204);
    assert_eq!(ask(&router, "GET /none").await.0, 404);
}

#[tokio::test]
async fn own_options_handler_wins() {
    let router = Router::new().get("/a", says("")).options("/a", says("mine"));
    assert_eq!(body(&router, "OPTIONS /a").await, "mine");
}

#[tokio::test]
async fn parameters_are_decoded_once() {
    let router = Router::new()
        .get("/users/{id}", params(&["id"]))
        .get("/users/{id}/posts/{post}", params(&["id", "post"]))
        .get("/users/me", says("me"))
        .get("/files/{*rest}", params(&["rest"]))
        .get("/img/{name}.png", params(&["name"]));
    for (line, expected) in [
        ("GET /users/7", r#"id=Some("7")"#),
        ("GET /users/me", "me"),
        ("GET /users/a%20b%2Fc%2541", r#"id=Some("a b/c%41")"#),
        ("GET /users/%C3%BC", r#"id=Some("ü")"#),
        ("GET /users/1/posts/2", r#"id=Some("1") post=Some("2")"#),
        ("GET /files/a/b.txt", r#"rest=Some("a/b.txt")"#),
        ("GET /img/x.png", r#"name=Some("x")"#),
        ("GET /users/", "not found\n"),
    ] {
        assert_eq!(body(&router, line).await, expected, "{line}");
    }
    assert_eq!(ask(&router, "GET /users/%FF").await.0, 400);
}

#[tokio::test]
async fn nested_routes_keep_their_own_fallback() {
    let inner = Router::new().get("/", says("inner home")).get("/x/{n}", params(&["n", "tenant"]));
    let with_fallback = Router::new().get("/y", says("y")).fallback(local);
    let router = Router::new()
        .nest("/plain", inner)
        .nest("/own/", with_fallback)
        .nest("/t/{tenant}", Router::new().get("/x/{n}", params(&["n", "tenant"])))
        .fallback(says("outer"));
    for (line, expected) in [
        ("GET /plain", "inner home"),
        ("GET /plain/", "inner home"),
        ("GET /plain/x/1", r#"n=Some("1") tenant=None"#),
        ("GET /t/acme/x/1", r#"n=Some("1") tenant=Some("acme")"#),
        ("GET /plain/none", "outer"),
        ("GET /own/y", "y"),
        ("GET /own/none", "/none of /own/none"),
        ("GET /own", " of /own"),
        ("GET /owner", "outer"),
        ("GET /", "outer"),
    ] {
        assert_eq!(body(&router, line).await, expected, "{line}");
    }
}

#[tokio::test]
async fn deepest_fallback_answers() {
    let deep = Router::new().get("/z", says("z")).fallback(says("deep"));
    let middle = Router::new().nest("/b", deep).fallback(says("middle"));
    let router = Router::new().nest("/a", middle).fallback(says("outer"));
    for (line, expected) in [
        ("GET /a/b/z", "z"),
        ("GET /a/b/none", "deep"),
        ("GET /a/none", "middle"),
        ("GET /a/bnone", "middle"),
        ("GET /none", "outer"),
    ] {
        assert_eq!(body(&router, line).await, expected, "{line}");
    }
}

#[tokio::test]
async fn mounted_handler_sees_the_path_below() {
    let router = Router::new()
        .mount("/static", local)
        .mount("/t/{tenant}/", local)
        .get("/static/special", says("special"))
        .nest("/api", Router::new().mount("/files", local));
    for (line, expected) in [
        ("GET /static", " of /static"),
        ("GET /static/", "/ of /static/"),
        ("PUT /static/a/%2e%2e/b?q", "/a/%2e%2e/b of /static/a/%2e%2e/b"),
        ("GET /static/special", "special"),
        ("GET /t/x/a", "/a of /t/x/a"),
        ("GET /api/files/a", "/a of /api/files/a"),
    ] {
        assert_eq!(body(&router, line).await, expected, "{line}");
    }
    let whole = Router::new().mount("/", local).get("/a", says("a"));
    assert_eq!(body(&whole, "GET /").await, "/ of /");
    assert_eq!(body(&whole, "GET /b/c").await, "/b/c of /b/c");
    assert_eq!(body(&whole, "GET /a").await, "a");
}

#[tokio::test]
async fn router_mounted_as_a_handler_matches_the_path_below() {
    let router = Router::new().mount("/m", Router::new().get("/x", local).mount("/n", local));
    assert_eq!(body(&router, "GET /m/x").await, "/x of /m/x");
    assert_eq!(body(&router, "GET /m/n/y").await, "/y of /m/n/y");
}

#[test]
fn conflicts_are_found_when_the_router_is_built() {
    let path = |router: Router, path: &str| {
        router.try_route(http::Method::GET, path, says("")).map(drop).expect_err(path).to_string()
    };
    let base = || Router::new().get("/a/{x}", says(""));
    assert!(
        path(base(), "/a/{y}").contains("route /a/{y} conflicts with /a/{x}"),
        "{}",
        path(base(), "/a/{y}")
    );
    assert!(path(base(), "/a/{x}").contains("GET /a/{x} has a handler already"));
    assert!(path(base(), "a").contains("does not begin with /"));
    assert!(path(base(), "/{").contains("route /{"));
    assert!(path(base(), "/{*rest}/b").contains("route /{*rest}/b"));
    let nested = base().try_nest("/", Router::new().get("/a/{x}", says("")));
    assert!(nested.is_err());
    assert!(Router::new().mount("/s", says("")).try_mount("/s", says("")).is_err());
    // Another method on the same path is no conflict, even from a nested router.
    assert!(base().try_nest("/a", Router::new().post("/{x}", says(""))).is_ok());
}

#[test]
#[should_panic(expected = "conflicts with")]
fn conflict_panics_without_try() {
    let _ = Router::new().get("/a/{x}", says("")).get("/a/{y}", says(""));
}

fn tag(name: &'static str) -> impl Fn(Request, Next) -> std::pin::Pin<Box<dyn Future<Output = Response>>> {
    move |request, next| {
        Box::pin(async move {
            let mut response = next.run(request).await;
            let body = std::mem::take(response.body_mut()).collect(1000).await.expect("whole");
            let inner = String::from_utf8(body.into()).expect("text");
            response.with_body(format!("{name}({inner})"))
        })
    }
}

#[tokio::test]
async fn layers_surround_everything_in_order() {
    let inner = Router::new().layer(tag("3")).get("/x", says("x")).fallback(says("inner"));
    let router = Router::new()
        .get("/early", says("early"))
        .layer(tag("1"))
        .nest("/n", inner)
        .layer(tag("2"))
        .get("/late", says("late"));
    for (line, status, expected) in [
        ("GET /early", 200, "1(2(early))"),
        ("GET /late", 200, "1(2(late))"),
        ("GET /n/x", 200, "1(2(3(x)))"),
        ("GET /n/none", 200, "1(2(3(inner)))"),
        ("GET /none", 404, "1(2(not found\n))"),
        ("POST /early", 405, "1(2(method not allowed\n))"),
    ] {
        let (got, _, body) = ask(&router, line).await;
        assert_eq!((got, &*body), (status, expected), "{line}");
    }
}

#[tokio::test]
async fn middleware_may_answer_itself_and_leave_values() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    async fn guard(mut request: Request, next: Next) -> Response {
        if request.bearer() != Some("key") {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        request.extensions_mut().insert(42u32);
        next.run(request).await
    }
    let handler = move |request: Request| {
        counter.fetch_add(1, Relaxed);
        let value = request.extensions().and_then(|extensions| extensions.get::<u32>()).copied();
        async move { format!("{value:?}") }
    };
    let router = Router::new().get("/", handler).layer(guard);
    assert_eq!(ask(&router, "GET /").await.0, 401);
    assert_eq!(calls.load(Relaxed), 0);
    assert_eq!(body(&router, "GET / HTTP/1.1\r\nAuthorization: Bearer key").await, "Some(42)");
    assert_eq!(calls.load(Relaxed), 1);
}

#[tokio::test]
async fn handler_may_fail() {
    #[derive(serde::Deserialize)]
    struct Query {
        a: u32,
    }
    let router = Router::new()
        .get("/", async |request: Request| -> Result<String> { Ok(request.query::<Query>()?.a.to_string()) })
        .post("/", async |mut request: Request| -> Result<String> {
            Ok(request.json::<Query>().await?.a.to_string())
        });
    assert_eq!(body(&router, "GET /?a=1").await, "1");
    let (status, _, text) = ask(&router, "GET /?a=b").await;
    assert_eq!((status, &*text), (400, "query: a: invalid digit found in string\n"));
    // The way through the engine's own error type keeps the status.
    let (status, _, text) = ask(&router, "POST /").await;
    assert_eq!((status, &*text), (415, "Content-Type must be application/json\n"));
}

#[test]
fn body_limits_are_by_route() {
    use millstream_http::codec::{HeadLimits, Progress, RequestHead, parse_request};
    let inner = Router::new().post("/plain", says("")).with_max_body(7);
    let router = Router::new()
        .post("/plain", says(""))
        .post("/large", with_max_body(1000, says("")))
        .get("/large", says(""))
        .post("/stream/{x}", streamed(says("")))
        .mount("/up", streamed(says("")))
        .nest("/inner", inner)
        .with_max_body(50);
    for (line, expected) in [
        ("POST /plain", Some(50)),
        ("POST /large", Some(1000)),
        ("PUT /large", Some(50)),
        ("POST /stream/1", Some(u64::MAX)),
        ("PUT /up/a/b", Some(u64::MAX)),
        ("POST /inner/plain", Some(7)),
        ("POST /none", Some(50)),
    ] {
        let mut head = RequestHead::new();
        let bytes = format!("{line} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
        parse_request(bytes.as_bytes(), &HeadLimits::default(), &mut head, &mut Progress::default())
            .expect("a head");
        assert_eq!(router.max_body(&head), expected, "{line}");
    }
}
