//! Nanoseconds per message head and per chunk, beside bare httparse with one copy of the head.
//!
//! `cargo bench -p millstream-http --bench parse`: rounds alternate between both, the least of all rounds counts.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::Instant;

use http::{Method, StatusCode};
use millstream_http::codec::encode::{encode_content_length, encode_status_line};
use millstream_http::codec::{
    ChunkEvent, ChunkedDecoder, DateCache, HeadLimits, Progress, RequestHead, ResponseHead, Version,
    parse_request, parse_response,
};

fn main() {
    let browser = browser();
    println!("{:<28}{:>12}{:>12}{:>10}", "", "httparse", "codec", "more");
    compare("wrk request", WRK, bare_request(WRK), ours_request(WRK));
    compare("browser request", &browser, bare_request(&browser), ours_request(&browser));
    compare("response", RESPONSE, bare_response(RESPONSE), ours_response(RESPONSE));
    alone("response head encoded", encoded_head());
    alone("chunked, 8 x 1 KiB", chunked());
    println!("{:<28}{:>12}{:>9.1} ns a byte", "20 KiB head, byte by byte", "", dripped());
}

fn bare_request(bytes: &[u8]) -> impl FnMut() {
    let mut copy = Vec::new();
    move || {
        let mut slots = [const { MaybeUninit::uninit() }; 128];
        let mut parsed = httparse::Request::new(&mut []);
        let status = parsed.parse_with_uninit_headers(black_box(bytes), &mut slots).expect("valid");
        copy.clear();
        copy.extend_from_slice(&bytes[..status.unwrap()]);
        black_box((&parsed, &copy));
    }
}

fn ours_request(bytes: &[u8]) -> impl FnMut() {
    let (mut head, mut progress, limits) = (RequestHead::new(), Progress::default(), HeadLimits::DEFAULT);
    move || {
        let parse = parse_request(black_box(bytes), &limits, &mut head, &mut progress);
        let _ = black_box((parse, &head));
    }
}

fn bare_response(bytes: &[u8]) -> impl FnMut() {
    let mut copy = Vec::new();
    move || {
        let mut slots = [const { MaybeUninit::uninit() }; 128];
        let mut parsed = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let status = config.parse_response_with_uninit_headers(&mut parsed, black_box(bytes), &mut slots);
        copy.clear();
        copy.extend_from_slice(&bytes[..status.expect("valid").unwrap()]);
        black_box((&parsed, &copy));
    }
}

fn ours_response(bytes: &[u8]) -> impl FnMut() {
    let (mut head, mut progress, limits) = (ResponseHead::new(), Progress::default(), HeadLimits::DEFAULT);
    move || {
        let parse = parse_response(black_box(bytes), &limits, &Method::GET, &mut head, &mut progress);
        let _ = black_box((parse, &head));
    }
}

fn encoded_head() -> impl FnMut() {
    let (mut out, mut date) = (Vec::new(), DateCache::new());
    move || {
        out.clear();
        encode_status_line(&mut out, Version::Http11, black_box(StatusCode::OK));
        out.extend_from_slice(b"Date: ");
        date.write(&mut out, black_box(784_111_777));
        out.extend_from_slice(b"\r\n");
        encode_content_length(&mut out, black_box(64));
        out.extend_from_slice(b"\r\n");
        black_box(&out);
    }
}

fn chunked() -> impl FnMut() {
    let mut body = Vec::new();
    for _ in 0..8 {
        body.extend_from_slice(b"400\r\n");
        body.extend_from_slice(&[b'x'; 1024]);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    move || {
        let (mut decoder, mut at) = (ChunkedDecoder::new(), 0);
        while let Ok((used, ChunkEvent::Data(range))) = decoder.decode(black_box(&body[at..])) {
            black_box(range);
            at += used;
        }
    }
}

/// Nanoseconds per byte of a large head that comes byte by byte: must not grow with its size.
fn dripped() -> f64 {
    let fields = "X-Field: 0123456789abcdefghijklmnopqrstuvwxyz\r\n".repeat(90);
    let long = "a".repeat(16 * 1024);
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}X-Long: {long}\r\n\r\n").into_bytes();
    let (mut head, mut progress, limits) = (RequestHead::new(), Progress::default(), HeadLimits::DEFAULT);
    let start = Instant::now();
    for end in 1..=bytes.len() {
        let parse = parse_request(black_box(&bytes[..end]), &limits, &mut head, &mut progress);
        let _ = black_box(parse);
    }
    start.elapsed().as_nanos() as f64 / bytes.len() as f64
}

fn compare(name: &str, bytes: &[u8], mut bare: impl FnMut(), mut ours: impl FnMut()) {
    let (mut least_bare, mut least_ours) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        least_bare = least_bare.min(round(&mut bare));
        least_ours = least_ours.min(round(&mut ours));
    }
    let more = least_ours - least_bare;
    println!("{name:<20}{:>6} B{least_bare:>9.1} ns{least_ours:>9.1} ns{more:>7.1} ns", bytes.len());
}

fn alone(name: &str, mut work: impl FnMut()) {
    let least = (0..ROUNDS).map(|_| round(&mut work)).fold(f64::MAX, f64::min);
    println!("{name:<28}{:>12}{least:>9.1} ns", "");
}

/// Nanoseconds per call in one round.
fn round(work: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        work();
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

fn browser() -> Vec<u8> {
    let fields = [
        ("Host", "www.example.org"),
        ("Connection", "keep-alive"),
        ("Cache-Control", "max-age=0"),
        ("Upgrade-Insecure-Requests", "1"),
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
        ),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Referer", "https://www.example.org/articles/"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("Accept-Language", "en-GB,en;q=0.9"),
        ("Cookie", "session=0123456789abcdef"),
    ];
    let mut bytes = b"GET /articles/2024/06/a-page.html?from=index HTTP/1.1\r\n".to_vec();
    for (name, value) in fields {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

const WRK: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\nContent-Length: 64\r\nConnection: keep-alive\r\n\r\n";
const ROUNDS: u32 = 40;
const CALLS: u32 = 50_000;
