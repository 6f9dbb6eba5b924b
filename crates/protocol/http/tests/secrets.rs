//! What `Debug` shows: no value of a field, no query, no credentials.

use http::HeaderValue;
use millstream_client::Engine;
use millstream_http::codec::{HeadLimits, Progress, RequestHead, parse_request};
use millstream_http::{Headers, HttpClient, Response};

const SECRET: &str = "s3cret";

/// Also not in bytes, as numbers.
fn assert_clean(what: &dyn std::fmt::Debug) {
    let text = format!("{what:?} {what:#?}");
    let numbers = SECRET.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    assert!(!text.contains(SECRET) && !text.contains(&numbers), "{text}");
}

#[test]
fn debug_shows_names_of_fields_alone() {
    let head = format!(
        "GET /path?token={SECRET} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {SECRET}\r\nCookie: a={SECRET}\r\n\
         X-Api-Key: {SECRET}\r\n\r\n"
    );
    let mut parsed = RequestHead::new();
    parse_request(head.as_bytes(), &HeadLimits::default(), &mut parsed, &mut Progress::default())
        .expect("it is one");
    assert_clean(&parsed);
    assert_clean(&parsed.fields);
    assert_eq!(format!("{:?}", parsed.fields), r#"["Host", "Authorization", "Cookie", "X-Api-Key"]"#);
    let mut headers = Headers::new();
    headers.append(http::header::AUTHORIZATION, HeaderValue::from_static(SECRET));
    assert_clean(&headers);
    let cookie = HeaderValue::from_static(SECRET);
    assert_clean(&Response::text(SECRET).with_header(http::header::SET_COOKIE, cookie));
}

#[test]
fn debug_of_a_request_in_the_making_shows_no_secret() {
    let engine = Engine::builder().workers(1).build().expect("threads can be started");
    let client = HttpClient::new(&engine);
    let url = format!("http://user:{SECRET}@127.0.0.1/path?token={SECRET}");
    let request = client
        .get(&url)
        .header("Cookie", SECRET)
        .header("Authorization", SECRET)
        .header("Proxy-Authorization", SECRET)
        .header("X-Api-Key", SECRET)
        .body(SECRET);
    assert_clean(&request);
    let text = format!("{request:?}");
    assert!(text.contains("/path") && text.contains("x-api-key"), "{text}");
    assert_clean(&client.get(format!("http://user:{SECRET}@bad host/?{SECRET}")));
}
