//! Compressed responses, decoded by the libraries' own decoders.

mod serving;

use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Body as _;
use millstream_base::Error;
use millstream_http::{
    Body, Compress, Files, Handler, HeaderMap, HeaderValue, Request, Response, Router, header,
};
use millstream_peers::Folder;
use serving::Served;

fn decode(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let read = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut plain),
        "zstd" => zstd::stream::read::Decoder::new(bytes).expect("memory").read_to_end(&mut plain),
        "" => return bytes.to_vec(),
        other => panic!("coding {other}"),
    };
    read.expect("well-formed");
    plain
}

/// What is left when a stream is cut here, as a client sees it that decodes as it reads.
fn decode_some(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut piece = [0; 1];
    let mut reader: Box<dyn Read> = match coding {
        "gzip" => Box::new(flate2::read::GzDecoder::new(bytes)),
        "br" => Box::new(brotli::Decompressor::new(bytes, 1)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(bytes).expect("memory")),
        other => panic!("coding {other}"),
    };
    while let Ok(1) = reader.read(&mut piece) {
        plain.push(piece[0]);
    }
    plain
}

const ALL: [&str; 3] = ["gzip", "br", "zstd"];

/// Text that shrinks, of about this length.
fn text(length: usize) -> String {
    (0..length / 8).map(|n| format!("{:07} ", n * 7 % 1_000_003)).collect()
}

/// Fields and decoded body.
async fn ask(handler: &impl Handler, head: &str) -> (Response, Vec<u8>) {
    let mut response = handler.call(Request::sample(head)).await;
    let body = std::mem::take(response.body_mut()).collect(usize::MAX).await.expect("whole");
    let coding = field(&response, "content-encoding");
    let plain = decode(&coding, &body);
    assert!(coding.is_empty() || body.len() < plain.len(), "{coding} grew");
    (response, plain)
}

fn field(response: &Response, name: &str) -> String {
    let name = name.parse().expect("a name");
    response.headers().get(&name).map(|value| value.to_str().expect("ascii").to_owned()).unwrap_or_default()
}

fn get(accept: &str) -> String {
    format!("GET / HTTP/1.1\r\nAccept-Encoding: {accept}")
}

#[tokio::test]
async fn bodies_of_all_sizes_come_back() {
    for size in [1024, 10_000, 32 * 1024, 40_000, 1_000_000] {
        let handler = Compress::new().wrap(move |_: Request| std::future::ready(Response::text(text(size))));
        for coding in ALL {
            let (response, plain) = ask(&handler, &get(coding)).await;
            assert_eq!(field(&response, "content-encoding"), coding);
            assert_eq!(field(&response, "vary"), "Accept-Encoding");
            assert!(plain == text(size).as_bytes(), "{coding} {size}");
        }
    }
}

#[tokio::test]
async fn streams_come_back_with_their_trailers() {
    for coding in ALL {
        let handler = Compress::new().wrap(async |_: Request| {
            let (sender, body) = Body::channel(2);
            tokio::spawn(async move {
                for piece in text(300_000).as_bytes().chunks(7001) {
                    sender.send(piece.to_vec()).await.expect("read");
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("x-sum", HeaderValue::from_static("7"));
                sender.send_trailers(trailers).await.expect("read");
            });
            Response::text(body)
        });
        let mut response = handler.call(Request::sample(&get(coding))).await;
        let body =
            std::mem::take(response.body_mut()).collect_with_trailers(usize::MAX).await.expect("whole");
        assert!(decode(coding, &body.0) == text(300_000).as_bytes(), "{coding}");
        assert_eq!(body.1.expect("trailers")["x-sum"], "7");
    }
}

#[tokio::test]
async fn what_should_not_be_coded_is_not() {
    let with = |name: header::HeaderName, value: &'static str| {
        Response::text(text(5000)).with_header(name, HeaderValue::from_static(value))
    };
    type Make = Box<dyn Fn() -> Response + Send + Sync>;
    let cases: Vec<(&str, Make, &str)> = vec![
        ("small", Box::new(|| Response::text("small")), ""),
        ("just too small", Box::new(|| Response::text("x".repeat(1023))), ""),
        ("picture", Box::new(move || with(header::CONTENT_TYPE, "image/png")), ""),
        ("no type", Box::new(|| Response::bytes(text(5000))), ""),
        ("coded", Box::new(move || with(header::CONTENT_ENCODING, "br")), ""),
        ("no-transform", Box::new(move || with(header::CACHE_CONTROL, "public, No-Transform")), ""),
        ("part", Box::new(move || with(header::CONTENT_RANGE, "bytes 0-4999/6000")), ""),
        ("206", Box::new(|| Response::text(text(5000)).with_status(http::StatusCode::PARTIAL_CONTENT)), ""),
        ("random", Box::new(|| Response::text(noise(5000))), "Accept-Encoding"),
        ("star", Box::new(move || with(header::VARY, "*")), "*"),
    ];
    for (name, make, vary) in cases {
        let handler = Compress::new().wrap(move |_: Request| std::future::ready(make()));
        let mut response = handler.call(Request::sample(&get("gzip"))).await;
        let is_coded = field(&response, "content-encoding") == "gzip";
        assert_eq!(is_coded, name == "star", "{name}");
        assert_eq!(field(&response, "vary"), vary, "{name}");
        assert!(std::mem::take(response.body_mut()).collect(10_000).await.is_ok());
    }
}

/// Bytes that don't shrink.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn client_decides() {
    let handler = Compress::new().wrap(async |_: Request| Response::text(text(5000)));
    for (accept, coding) in [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br", "br"),
        ("gzip;q=0.9, br;q=0.8", "gzip"),
        ("", ""),
        ("identity", ""),
        ("deflate", ""),
        ("gzip;q=0", ""),
        ("*", "zstd"),
    ] {
        let (response, plain) = ask(&handler, &get(accept)).await;
        assert_eq!(field(&response, "content-encoding"), coding, "{accept}");
        assert_eq!(field(&response, "vary"), "Accept-Encoding", "{accept}");
        assert!(plain == text(5000).as_bytes());
    }
    // Plain content refused: even what is small is coded.
    let small = Compress::new().wrap(async |_: Request| Response::text("small"));
    let response = small.call(Request::sample(&get("identity;q=0, gzip"))).await;
    assert_eq!(field(&response, "content-encoding"), "gzip");
    // Nothing fits: plain is better than nothing.
    let (response, _) = ask(&small, &get("*;q=0")).await;
    assert_eq!(field(&response, "content-encoding"), "");
}

#[tokio::test]
async fn tag_is_weakened_and_ranges_are_taken_back() {
    let handler = Compress::new().wrap(async |_: Request| {
        Response::text(text(5000))
            .with_header(header::ETAG, HeaderValue::from_static("\"a\""))
            .with_header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
            .with_header(header::CONTENT_LENGTH, HeaderValue::from_static("5000"))
    });
    let (response, _) = ask(&handler, &get("gzip")).await;
    for (name, value) in [("etag", "W/\"a\""), ("accept-ranges", ""), ("content-length", "")] {
        assert_eq!(field(&response, name), value, "{name}");
    }
    let (response, _) = ask(&handler, &get("identity")).await;
    for (name, value) in [("etag", "\"a\""), ("accept-ranges", "bytes")] {
        assert_eq!(field(&response, name), value, "{name}");
    }
}

#[tokio::test]
async fn piece_reaches_the_client_before_the_next_is_sent() {
    for coding in ALL {
        let (sender, body) = Body::channel(4);
        let slot = std::sync::Mutex::new(Some(body));
        let handler = Compress::new().wrap(move |_: Request| {
            std::future::ready(Response::text(slot.lock().expect("unpoisoned").take().expect("asked once")))
        });
        let mut response = handler.call(Request::sample(&get(coding))).await;
        let mut got = Vec::new();
        let mut expected = String::new();
        for n in 0..5 {
            let piece = format!("data: event {n}\n\n");
            expected.push_str(&piece);
            sender.send(piece).await.expect("read");
            got.extend_from_slice(&response.body_mut().chunk().await.expect("a piece").expect("no error"));
            assert_eq!(String::from_utf8_lossy(&decode_some(coding, &got)), expected, "{coding}");
        }
        drop(sender);
        while let Some(piece) = response.body_mut().chunk().await {
            got.extend_from_slice(&piece.expect("no error"));
        }
        assert_eq!(decode(coding, &got), expected.as_bytes(), "{coding}");
    }
}

#[tokio::test]
async fn broken_stream_stays_broken() {
    let handler = Compress::new().wrap(async |_: Request| {
        let (sender, body) = Body::channel(4);
        sender.send(text(2000)).await.expect("room");
        sender.abort(Error::protocol("broken")).await;
        Response::text(body)
    });
    let mut response = handler.call(Request::sample(&get("gzip"))).await;
    let error = std::mem::take(response.body_mut()).collect(usize::MAX).await.expect_err("broken");
    assert_eq!(error.message(), "broken");
}

#[tokio::test]
async fn large_body_lets_others_have_their_turn() {
    let handler = Compress::new().wrap(async |_: Request| Response::text("x".repeat(4 << 20)));
    let mut response = handler.call(Request::sample(&get("gzip"))).await;
    let mut pauses = 0;
    let mut cx = Context::from_waker(Waker::noop());
    let mut coded = Vec::new();
    loop {
        match Pin::new(response.body_mut()).poll_frame(&mut cx) {
            Poll::Pending => pauses += 1,
            Poll::Ready(None) => break,
            Poll::Ready(Some(frame)) => {
                coded.extend_from_slice(&frame.expect("no error").into_data().expect("data"))
            }
        }
    }
    assert!(pauses >= 30, "{pauses}");
    assert_eq!(decode("gzip", &coded).len(), 4 << 20);
}

#[test]
fn served_files_and_handlers_are_coded_over_the_wire() {
    let folder = Folder::new();
    folder.write("page.html", text(200_000));
    folder.write("small.txt", "small");
    let router = Router::new()
        .get("/json", async |_: Request| Response::json(&vec!["value"; 1000]))
        .get("/stream", async |_: Request| {
            let mut left = 100;
            Response::text(Body::from_fn(move || {
                left -= 1;
                std::future::ready((left >= 0).then(|| Ok(Bytes::from(text(1000)))))
            }))
        })
        .mount("/files", Files::new(folder.path()).expect("it is there"))
        .layer(Compress::new());
    let server = Served::start(router);
    let mut conn = server.connect();
    for (path, length) in [("/json", Some(8001)), ("/stream", None), ("/files/page.html", None)] {
        for coding in ALL {
            conn.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n"));
            let response = conn.read_response("GET");
            assert_eq!((response.status, response.field("content-encoding")), (200, Some(coding)), "{path}");
            let plain = decode(coding, &response.body);
            assert!(length.is_none_or(|length| plain.len() == length), "{}", plain.len());
            if path == "/files/page.html" {
                assert!(plain == text(200_000).as_bytes());
                let etag = response.field("etag").expect("a tag").to_owned();
                assert!(etag.starts_with("W/"));
                conn.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\nIf-None-Match: {etag}\r\n\r\n"));
                assert_eq!(conn.read_response("GET").status, 304);
            }
        }
    }
    // A part is a part of the plain file.
    conn.send(
        "GET /files/page.html HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nRange: bytes=8-15\r\n\r\n",
    );
    let response = conn.read_response("GET");
    assert_eq!((response.status, response.field("content-encoding")), (206, None));
    assert_eq!(response.body, &text(200_000).as_bytes()[8..16]);
    conn.send("GET /files/small.txt HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(conn.read_response("GET").field("content-encoding"), None);
}

/// A handler that is asked for a page of 5000 bytes with the tag `"a"`, and answers HEAD without it.
fn page() -> impl Handler {
    Compress::new().wrap(async |request: Request| {
        let response = if *request.method() == http::Method::HEAD {
            let length = HeaderValue::from_static("5000");
            Response::text("").with_header(header::CONTENT_LENGTH, length)
        } else {
            Response::text(text(5000))
        };
        response
            .with_header(header::ETAG, HeaderValue::from_static("\"a\""))
            .with_header(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"))
    })
}

#[tokio::test]
async fn head_is_told_what_get_would_be() {
    let handler = page();
    for (accept, coding) in
        [("gzip", "gzip"), ("br", "br"), ("zstd", "zstd"), ("gzip;q=0", ""), ("identity", "")]
    {
        let (got, _) = ask(&handler, &get(accept)).await;
        let head = handler.call(Request::sample(&get(accept).replace("GET", "HEAD"))).await;
        assert_eq!(field(&head, "content-encoding"), coding, "{accept}");
        for name in ["content-encoding", "etag", "vary", "accept-ranges", "content-type"] {
            assert_eq!(field(&head, name), field(&got, name), "{accept}: {name}");
        }
        let is_plain = coding.is_empty();
        assert_eq!(field(&head, "content-length"), if is_plain { "5000" } else { "" }, "{accept}");
        assert_eq!(head.body().len(), is_plain.then_some(0), "{accept}: nobody knows");
    }
}

#[tokio::test]
async fn head_of_a_handler_that_gives_the_content_has_its_exact_length() {
    for content in [text(5000).into_bytes(), noise(5000)] {
        let handler =
            Compress::new().wrap(move |_: Request| std::future::ready(Response::text(content.clone())));
        for coding in ALL {
            let got = handler.call(Request::sample(&get(coding))).await;
            let head = handler.call(Request::sample(&get(coding).replace("GET", "HEAD"))).await;
            assert!(got.body().len().is_some(), "{coding}");
            assert_eq!(head.body().len(), got.body().len(), "{coding}");
            assert_eq!(field(&head, "content-encoding"), field(&got, "content-encoding"), "{coding}");
        }
    }
}

#[tokio::test]
async fn head_without_a_length_or_of_what_is_small_is_left_alone() {
    for length in [None, Some("0"), Some("1023"), Some("x")] {
        let handler = Compress::new().wrap(move |_: Request| {
            let response = Response::text("");
            std::future::ready(match length {
                Some(length) => {
                    response.with_header(header::CONTENT_LENGTH, HeaderValue::from_static(length))
                }
                None => response,
            })
        });
        let head = handler.call(Request::sample("HEAD / HTTP/1.1\r\nAccept-Encoding: gzip")).await;
        assert_eq!(field(&head, "content-encoding"), "", "{length:?}");
        assert_eq!(field(&head, "content-length"), length.unwrap_or_default());
    }
}

#[tokio::test]
async fn not_modified_has_the_tag_that_the_content_would_have() {
    const VARY: (header::HeaderName, &str) = (header::VARY, "Accept-Encoding");
    const TEXT: (header::HeaderName, &str) = (header::CONTENT_TYPE, "text/plain");
    const PICTURE: (header::HeaderName, &str) = (header::CONTENT_TYPE, "image/png");
    const FIXED: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-transform");
    for (accept, condition, fields, is_weak) in [
        ("gzip", "If-None-Match: W/\"a\"", &[][..], true),
        ("br", "If-None-Match: \"b\", W/\"a\"", &[], true),
        ("zstd", "If-None-Match: \"a\"\r\nIf-None-Match: W/\"a\"", &[VARY], true),
        ("gzip;q=0", "If-None-Match: W/\"a\"", &[VARY], false),
        ("identity", "If-None-Match: W/\"a\"", &[VARY], false),
        ("gzip", "If-None-Match: W/\"a\"", &[FIXED], false),
        // What it has is plain: it was not coded then.
        ("gzip", "If-None-Match: \"a\"", &[VARY], false),
        ("gzip", "If-None-Match: W/\"b\", \"a\"", &[], false),
        ("gzip", "If-None-Match: *", &[], false),
        ("gzip", "If-None-Match: *", &[VARY], true),
        ("gzip", "If-None-Match: *", &[TEXT], true),
        ("gzip", "If-None-Match: *", &[VARY, PICTURE], false),
        ("gzip", "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", &[VARY], true),
    ] {
        let handler = Compress::new().wrap(move |_: Request| {
            let tag = HeaderValue::from_static("\"a\"");
            let response = Response::new(http::StatusCode::NOT_MODIFIED).with_header(header::ETAG, tag);
            std::future::ready(fields.iter().fold(response, |response, (name, value)| {
                response.with_header(name.clone(), HeaderValue::from_static(value))
            }))
        });
        for method in ["GET", "HEAD"] {
            let head = format!("{method} / HTTP/1.1\r\nAccept-Encoding: {accept}\r\n{condition}");
            let (response, _) = ask(&handler, &head).await;
            let case = format!("{accept}, {condition}, {fields:?}");
            assert_eq!(field(&response, "etag"), if is_weak { "W/\"a\"" } else { "\"a\"" }, "{case}");
            let varies = is_weak || fields.contains(&VARY);
            assert_eq!(field(&response, "vary"), if varies { "Accept-Encoding" } else { "" }, "{case}");
            assert_eq!(field(&response, "content-encoding"), "", "{case}");
        }
    }
}

#[test]
fn weak_tag_of_a_file_serves_for_what_weak_tags_are_for() {
    let folder = Folder::new();
    folder.write("page.html", text(200_000));
    folder.write("small.html", "small");
    let files = Files::new(folder.path()).expect("it is there");
    let server = Served::start(Compress::new().wrap(files));
    let mut conn = server.connect();
    let mut ask = |method: &str, path: &str, fields: &str| {
        conn.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        conn.read_response(method)
    };
    for coding in ALL {
        let accept = format!("Accept-Encoding: {coding}\r\n");
        let whole = ask("GET", "/page.html", &accept);
        let tag = whole.field("etag").expect("a tag").to_owned();
        assert!(tag.starts_with("W/"), "{tag}");
        let head = ask("HEAD", "/page.html", &accept);
        assert_eq!((head.status, head.field("content-length")), (200, None), "{coding}");
        for name in ["etag", "vary", "content-encoding", "content-type"] {
            assert_eq!(head.field(name), whole.field(name), "{coding}: {name}");
        }
        for method in ["GET", "HEAD"] {
            let same = ask(method, "/page.html", &format!("{accept}If-None-Match: {tag}\r\n"));
            assert_eq!((same.status, same.field("etag")), (304, Some(&*tag)), "{coding}");
            assert_eq!(same.field("vary"), Some("Accept-Encoding"), "{coding}");
        }
        // Strong comparison: the bytes are not those of the plain file.
        assert_eq!(ask("GET", "/page.html", &format!("{accept}If-Match: {tag}\r\n")).status, 412);
        let range = format!("{accept}Range: bytes=0-9\r\nIf-Range: {tag}\r\n");
        assert_eq!(ask("GET", "/page.html", &range).status, 200);
        // What is too small keeps its strong tag.
        let small = ask("GET", "/small.html", &accept);
        let tag = small.field("etag").expect("a tag").to_owned();
        let same = ask("GET", "/small.html", &format!("{accept}If-None-Match: {tag}\r\n"));
        assert_eq!((same.status, same.field("etag")), (304, Some(&*tag)));
    }
}
