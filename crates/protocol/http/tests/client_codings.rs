//! Compressed replies, undone: whole, cut off, followed by garbage, and bombs.

#![cfg(all(feature = "brotli", feature = "zstd"))]

mod serving;

use std::io::Write;

use bytes::Bytes;
use millstream_base::{Error, Kind, Result};
use millstream_http::client::{HttpClientBuilder, Response as Reply};
use millstream_http::{Body, Compress, HttpClient, Method, Request, Response, StatusCode, header};
use millstream_peers::Gate;
use serving::{Served, block_on};

const CODINGS: [&str; 3] = ["gzip", "br", "zstd"];

/// All three as the client asks for them.
const ASKED: &str = "zstd, br, gzip, deflate";

fn encode(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(plain).expect("memory");
            encoder.finish().expect("memory")
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
            encoder.write_all(plain).expect("memory");
            encoder.into_inner()
        }
        "zstd" => zstd::stream::encode_all(plain, 3).expect("memory"),
        other => panic!("coding {other}"),
    }
}

/// Numbers as text: shrinks to about a third, and no two lines are alike.
fn text(length: usize) -> String {
    (0..length / 8).map(|number| format!("{:07} ", number * 7919 % 10_000_000)).collect()
}

fn client(server: &Served) -> HttpClient {
    configured(server, |builder| builder)
}

fn configured(server: &Served, change: impl FnOnce(HttpClientBuilder) -> HttpClientBuilder) -> HttpClient {
    let builder = HttpClient::builder().without_proxies();
    change(builder).build(&server.engine).expect("settings make sense")
}

/// Answers each request with these bytes, said to be of this coding.
fn coded(coding: &'static str, bytes: impl Into<Bytes>) -> Served {
    let bytes = bytes.into();
    Served::start(move |_: Request| std::future::ready(labelled(coding, bytes.clone())))
}

fn labelled(coding: &'static str, body: impl Into<Body>) -> Response {
    Response::bytes(body).with_header(header::CONTENT_ENCODING, header::HeaderValue::from_static(coding))
}

async fn fetch(client: &HttpClient, server: &Served) -> Result<Bytes> {
    client.get(server.url("/")).send().await?.bytes().await
}

/// What a reply says of its body, the body as it was given, and whether the connection served before.
async fn seen(reply: Reply) -> (Option<u64>, Option<String>, Bytes) {
    let coding = reply.header("content-encoding").map(str::to_owned);
    (reply.content_length(), coding, reply.bytes().await.expect("whole"))
}

#[test]
fn reply_of_each_coding_is_as_if_it_had_none() {
    let plain = text(300_000);
    for coding in CODINGS {
        let server = coded(coding, encode(coding, plain.as_bytes()));
        block_on(async {
            let client = client(&server);
            for is_reused in [false, true] {
                let reply = client.get(server.url("/")).send().await.expect("answered");
                assert_eq!(reply.is_reused(), is_reused, "{coding}: the end of the body was read");
                assert_eq!(reply.header("content-length"), None, "{coding}: it is of the coded form");
                assert!(reply.headers().get(header::CONTENT_ENCODING).is_none());
                assert_eq!(seen(reply).await, (None, None, Bytes::from(plain.clone())), "{coding}");
            }
        });
    }
}

#[test]
fn our_own_compressed_pages_are_read() {
    let page = text(200_000);
    let handler = {
        let page = page.clone();
        Compress::new().wrap(move |_: Request| std::future::ready(Response::text(page.clone())))
    };
    let server = Served::start(handler);
    block_on(async {
        assert_eq!(fetch(&client(&server), &server).await.expect("whole"), page.as_bytes());
        let plain = configured(&server, HttpClientBuilder::without_decompression);
        let reply = plain.get(server.url("/")).send().await.expect("answered");
        assert_eq!(reply.header("content-encoding"), None, "nobody asked for a coding");
        assert_eq!(reply.text().await.expect("whole"), page);
    });
}

#[test]
fn coding_is_asked_for_unless_the_caller_speaks_of_it_or_of_ranges() {
    let gzip = encode("gzip", b"plain");
    let server = Served::start({
        let gzip = gzip.clone();
        move |request: Request| {
            let asked: Vec<_> = request.fields().get_all("accept-encoding").map(<[u8]>::to_vec).collect();
            let asked = String::from_utf8(asked.join(&b" | "[..])).expect("text");
            let asked = header::HeaderValue::try_from(asked).expect("one line");
            let name = header::HeaderName::from_static("x-asked");
            std::future::ready(labelled("gzip", gzip.clone()).with_header(name, asked))
        }
    });
    let (on, off) = (client(&server), configured(&server, HttpClientBuilder::without_decompression));
    let plain: &[u8] = b"plain";
    for (client, field, asked, body) in [
        (&on, None, ASKED, plain),
        (&on, Some(("accept-encoding", "gzip")), "gzip", &gzip[..]),
        (&on, Some(("accept-encoding", "identity")), "identity", &gzip[..]),
        (&on, Some(("range", "bytes=0-")), "", &gzip[..]),
        (&off, None, "", &gzip[..]),
        (&off, Some(("accept-encoding", "br")), "br", &gzip[..]),
    ] {
        block_on(async {
            let mut request = client.get(server.url("/"));
            if let Some((name, value)) = field {
                request = request.header(name, value);
            }
            let reply = request.send().await.expect("answered");
            assert_eq!(reply.header("x-asked"), Some(asked), "{field:?}");
            let is_left = body == &gzip[..];
            assert_eq!(reply.header("content-encoding"), is_left.then_some("gzip"), "{field:?}");
            assert_eq!(reply.bytes().await.expect("whole"), body, "{field:?}");
        });
    }
}

#[test]
fn replies_without_a_body_keep_their_fields() {
    let server = Served::start(async |request: Request| match request.path() {
        "/none" => labelled("gzip", ()).with_status(StatusCode::NO_CONTENT),
        "/same" => labelled("gzip", ()).with_status(StatusCode::NOT_MODIFIED),
        _ => labelled("gzip", encode("gzip", b"plain")),
    });
    for (method, path, status) in
        [(Method::HEAD, "/", 200), (Method::GET, "/none", 204), (Method::GET, "/same", 304)]
    {
        block_on(async {
            let reply = client(&server).request(method, server.url(path)).send().await.expect("answered");
            assert_eq!(reply.status().as_u16(), status);
            assert_eq!(reply.header("content-encoding"), Some("gzip"), "{path}");
            assert!(reply.bytes().await.expect("whole").is_empty(), "{path}");
        });
    }
}

#[test]
fn codings_that_are_not_known_or_lie_over_one_another_are_left_alone() {
    for coding in ["compress", "identity", "gzip, br", "gzip, gzip", "x"] {
        let server = coded(coding, "as it came");
        block_on(async {
            let reply = client(&server).get(server.url("/")).send().await.expect("answered");
            let expected = (Some(10), Some(coding.to_owned()), Bytes::from("as it came"));
            assert_eq!(seen(reply).await, expected, "{coding}");
        });
    }
}

#[test]
fn names_of_codings_are_of_any_case_and_gzip_has_an_old_one() {
    for (name, coding) in
        [("GZIP", "gzip"), ("x-gzip", "gzip"), ("X-GZip", "gzip"), ("Br", "br"), ("ZSTD", "zstd")]
    {
        let server = coded(name, encode(coding, b"plain"));
        let got = block_on(async { fetch(&client(&server), &server).await });
        assert_eq!(got.expect("whole"), "plain", "{name}");
    }
}

/// Both things that servers call `deflate`: RFC 9110 §8.4.1.2 means the first.
fn deflated(plain: &[u8]) -> [Vec<u8>; 2] {
    let level = flate2::Compression::new(6);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), level);
    zlib.write_all(plain).expect("memory");
    let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), level);
    bare.write_all(plain).expect("memory");
    [zlib.finish().expect("memory"), bare.finish().expect("memory")]
}

#[test]
fn deflate_is_undone_with_and_without_its_wrapper_and_never_short() {
    let plain = text(400);
    for bytes in deflated(plain.as_bytes()) {
        let whole = bytes.len();
        let server = cutting("deflate", [&bytes[..], b"!"].concat());
        let client = client(&server);
        for cut in 1..=whole + 1 {
            let url = server.url(&format!("/{cut}"));
            let got = block_on(async { client.get(url).send().await.expect("answered").bytes().await });
            match got {
                Ok(bytes) => assert_eq!((cut, &bytes[..]), (whole, plain.as_bytes())),
                Err(error) => {
                    assert!(cut != whole, "{error}");
                    assert!(matches!(error.kind(), Kind::Closed | Kind::Protocol), "at {cut}: {error}");
                }
            }
        }
    }
    for plain in ["", "x", &text(200_000)] {
        for bytes in deflated(plain.as_bytes()) {
            let server = coded("Deflate", bytes);
            let got = block_on(async { fetch(&client(&server), &server).await });
            assert_eq!(got.expect("whole"), plain.as_bytes());
        }
    }
}

/// The path says how many bytes are sent of the coded body.
fn cutting(coding: &'static str, bytes: Vec<u8>) -> Served {
    Served::start(move |request: Request| {
        let cut = request.path()[1..].parse().expect("a number");
        std::future::ready(labelled(coding, bytes[..cut].to_vec()))
    })
}

#[test]
fn body_cut_off_at_any_byte_is_an_error() {
    let plain = text(400);
    for coding in CODINGS {
        let bytes = encode(coding, plain.as_bytes());
        let whole = bytes.len();
        let server = cutting(coding, bytes);
        let client = client(&server);
        for cut in 1..=whole {
            let url = server.url(&format!("/{cut}"));
            let got = block_on(async { client.get(url).send().await.expect("answered").bytes().await });
            match got {
                Ok(bytes) => assert_eq!((cut, &bytes[..]), (whole, plain.as_bytes()), "{coding}"),
                Err(error) => {
                    assert!(cut < whole, "{coding}: {error}");
                    assert!(
                        matches!(error.kind(), Kind::Closed | Kind::Protocol),
                        "{coding} at {cut}: {error}"
                    );
                    assert!(error.target().is_some_and(|target| target.ends_with(&format!("/{cut}"))));
                }
            }
        }
    }
}

#[test]
fn bytes_behind_the_coded_body_are_an_error() {
    for coding in CODINGS {
        for garbage in [&b"\0"[..], b"garbage", &[0; 64], b"\x1f", b"\x1f\x8b", &[0xff; 9]] {
            let mut bytes = encode(coding, b"plain");
            bytes.extend_from_slice(garbage);
            let server = coded(coding, bytes);
            let got = block_on(async { fetch(&client(&server), &server).await });
            let kind = got.map_err(|error| error.kind());
            let is_error = matches!(kind, Err(Kind::Protocol | Kind::Closed));
            assert!(is_error, "{coding}, {}: {kind:?}", garbage.escape_ascii());
        }
    }
}

#[test]
fn damaged_bodies_are_an_error() {
    for coding in CODINGS {
        for damage in [&b"not coded at all"[..], b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", &[0xff; 40]] {
            let server = coded(coding, damage);
            let got = block_on(async { fetch(&client(&server), &server).await });
            assert!(got.is_err(), "{coding}, {}", damage.escape_ascii());
        }
    }
    // A checksum that is wrong is seen, though every byte of the content was there.
    let mut bytes = encode("gzip", b"plain");
    let at = bytes.len() - 8;
    bytes[at] ^= 1;
    let server = coded("gzip", bytes);
    let got = block_on(async { fetch(&client(&server), &server).await });
    assert_eq!(got.map_err(|error| error.kind()), Err(Kind::Protocol));
}

#[test]
fn members_and_frames_in_a_row_are_one_body() {
    for coding in ["gzip", "zstd"] {
        let bytes = [encode(coding, b"one "), encode(coding, b""), encode(coding, b"two")].concat();
        let server = coded(coding, bytes);
        let got = block_on(async { fetch(&client(&server), &server).await });
        assert_eq!(got.expect("whole"), "one two", "{coding}");
    }
}

#[test]
fn body_in_pieces_of_any_size_is_the_same() {
    let plain = text(6_000);
    for coding in CODINGS {
        let bytes = Bytes::from(encode(coding, plain.as_bytes()));
        for size in [1, 2, 3, 7, 64, 1000] {
            let server = Served::start({
                let bytes = bytes.clone();
                move |_: Request| {
                    let mut rest = bytes.clone();
                    let body = Body::from_fn(move || {
                        let piece = rest.split_to(rest.len().min(size));
                        std::future::ready((!piece.is_empty()).then(|| Ok::<_, Error>(piece)))
                    });
                    std::future::ready(labelled(coding, body))
                }
            });
            let got = block_on(async { fetch(&client(&server), &server).await });
            assert_eq!(got.expect("whole"), plain.as_bytes(), "{coding} in pieces of {size}");
        }
    }
}

/// What a server has flushed, in two steps.
fn flushed(coding: &str) -> [Vec<u8>; 2] {
    fn steps<W: Write>(
        mut encoder: W,
        sent: impl Fn(&W) -> usize,
        end: impl FnOnce(W) -> Vec<u8>,
    ) -> [Vec<u8>; 2] {
        encoder.write_all(b"first").expect("memory");
        encoder.flush().expect("memory");
        let first = sent(&encoder);
        encoder.write_all(b"second").expect("memory");
        let mut whole = end(encoder);
        let rest = whole.split_off(first);
        [whole, rest]
    }
    match coding {
        "gzip" => {
            let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
            steps(encoder, |encoder| encoder.get_ref().len(), |encoder| encoder.finish().expect("memory"))
        }
        "br" => {
            let encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 20);
            steps(encoder, |encoder| encoder.get_ref().len(), brotli::CompressorWriter::into_inner)
        }
        _ => {
            let encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("memory");
            steps(encoder, |encoder| encoder.get_ref().len(), |encoder| encoder.finish().expect("memory"))
        }
    }
}

#[test]
fn what_the_server_flushed_is_given_before_it_sends_more() {
    for coding in CODINGS {
        let read = Gate::new();
        let server = Served::start({
            let read = read.clone();
            move |_: Request| {
                let (mut step, read) = (0, read.clone());
                let parts = flushed(coding).map(Bytes::from);
                let body = Body::from_fn(move || {
                    let (part, read) = (parts.get(step).cloned(), read.clone());
                    step += 1;
                    async move {
                        if step == 2 {
                            read.passed().await;
                        }
                        part.map(Ok::<_, Error>)
                    }
                });
                std::future::ready(labelled(coding, body))
            }
        });
        block_on(async {
            let mut reply = client(&server).get(server.url("/")).send().await.expect("answered");
            assert_eq!(reply.chunk().await.expect("flushed").expect("data"), "first", "{coding}");
            read.open();
            assert_eq!(reply.bytes().await.expect("whole"), "second", "{coding}");
        });
    }
}

#[test]
fn bomb_goes_off_neither_in_memory_nor_in_a_stream() {
    const BOMB: usize = 64 << 20;
    // Never more of it is made than this before the ratio is looked at: the harmless bytes and a piece.
    const MOST: usize = (16 << 20) + (64 << 10);
    let zeros = vec![0; BOMB];
    for coding in CODINGS {
        let server = coded(coding, encode(coding, &zeros));
        block_on(async {
            let client = configured(&server, |builder| builder.max_body(usize::MAX));
            let mut reply = client.get(server.url("/")).send().await.expect("answered");
            let (mut largest, mut whole) = (0, 0);
            let error = loop {
                match reply.chunk().await {
                    Ok(Some(piece)) => (largest, whole) = (piece.len().max(largest), whole + piece.len()),
                    Ok(None) => panic!("{coding}: all {whole} bytes came"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), Kind::Limit, "{coding}: {error}");
            assert!(largest <= 64 << 10 && whole <= MOST, "{coding}: {whole} in pieces of up to {largest}");
            assert_eq!(fetch(&client, &server).await.map_err(|error| error.kind()), Err(Kind::Limit));
        });
    }
}

#[test]
fn limit_on_bodies_counts_what_they_were_before() {
    for coding in CODINGS {
        let server = coded(coding, encode(coding, &[b'a'; 1_000]));
        for (limit, is_ok) in [(999, false), (1_000, true)] {
            block_on(async {
                let client = configured(&server, |builder| builder.max_body(limit));
                let got = fetch(&client, &server).await;
                assert_eq!(got.is_ok(), is_ok, "{coding} within {limit}");
                if let Err(error) = got {
                    assert_eq!(error.kind(), Kind::Limit);
                }
            });
        }
    }
}

#[test]
fn reply_behind_a_redirect_is_undone_too() {
    let server = Served::start(async |request: Request| match request.path() {
        "/" => Response::see_other("/there"),
        _ => labelled("br", encode("br", b"plain")),
    });
    let got = block_on(async { fetch(&client(&server), &server).await });
    assert_eq!(got.expect("whole"), "plain");
}
