//! Typed values over a connection, and what a client is told when they don't fit.

mod serving;

use millstream_http::extract::Rejection;
use millstream_http::router::{streamed, with_max_body};
use millstream_http::{Request, Response, Router};
use serving::Served;

#[derive(serde::Deserialize, serde::Serialize)]
struct User {
    name: String,
    age: u8,
}

async fn create(mut request: Request) -> Result<Response, Rejection> {
    let user: User = request.json().await?;
    Ok(Response::json(&user))
}

async fn form(mut request: Request) -> Result<String, Rejection> {
    let user: User = request.form().await?;
    Ok(format!("{} {}", user.name, user.age))
}

async fn length(mut request: Request) -> millstream_base::Result<String> {
    let mut length = 0;
    while let Some(piece) = request.body_mut().chunk().await {
        length += piece?.len();
    }
    Ok(length.to_string())
}

fn server() -> Served {
    Served::start(
        Router::new()
            .post("/json", with_max_body(100, create))
            .post("/form", form)
            .post("/small", length)
            .post("/large", with_max_body(3_000_000, length))
            .post("/any", streamed(length))
            .with_max_body(1000),
    )
}

fn post(server: &Served, path: &str, fields: &str, body: &str) -> (u16, String) {
    let mut conn = server.connect();
    let length = body.len();
    conn.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n{body}"));
    let response = conn.read_response("POST");
    (response.status, response.text().trim_end().to_owned())
}

#[test]
fn values_fit_or_the_client_is_told_why_not() {
    let server = server();
    let json = "Content-Type: application/json\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n";
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(100));
    for (path, fields, body, status, text) in [
        ("/json", json, r#"{"name":"a","age":7}"#, 200, r#"{"name":"a","age":7}"#),
        (
            "/json",
            json,
            r#"{"name":"a","age":700}"#,
            422,
            "JSON: age: invalid value: integer `700`, expected u8",
        ),
        ("/json", json, "{", 400, "JSON: EOF while parsing an object"),
        ("/json", "", "{}", 415, "Content-Type must be application/json"),
        ("/json", json, &long, 413, ""),
        ("/form", form, "name=a+b&age=7", 200, "a b 7"),
        ("/form", form, "name=a", 422, "form: missing field `age`"),
        ("/form", json, "{}", 415, "Content-Type must be application/x-www-form-urlencoded"),
    ] {
        let (got, answer) = post(&server, path, fields, body);
        assert_eq!(got, status, "{path} {body}: {answer}");
        assert!(answer.starts_with(text), "{path} {body}: {answer}");
    }
}

#[test]
fn limits_are_those_of_the_route() {
    let server = server();
    for (path, length, status) in [
        ("/small", 1000, 200),
        ("/small", 1001, 413),
        ("/large", 3_000_000, 200),
        ("/large", 3_000_001, 413),
        ("/any", 20_000_000, 200),
    ] {
        let mut conn = server.connect();
        conn.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
        if status == 200 {
            conn.send(vec![b'x'; length]);
        }
        let response = conn.read_response("POST");
        assert_eq!(response.status, status, "{path} {length}");
        if status == 200 {
            assert_eq!(response.text(), length.to_string());
        }
    }
}
