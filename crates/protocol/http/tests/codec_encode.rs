//! Heads written, and what can't be written.

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use millstream_http::codec::encode::{
    encode_content_length, encode_fields, encode_raw_field, encode_request_line, encode_status_line,
};
use millstream_http::codec::{HeadLimits, Parse, Progress, ResponseHead, Version, parse_response};

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("ASCII")
}

#[test]
fn every_status_line_is_read_back() {
    for code in 100..=999 {
        let status = StatusCode::from_u16(code).unwrap();
        for version in [Version::Http10, Version::Http11] {
            let mut out = Vec::new();
            encode_status_line(&mut out, version, status);
            out.extend_from_slice(b"\r\n");
            let (mut head, mut progress) = (ResponseHead::new(), Progress::default());
            let parse = parse_response(&out, &HeadLimits::default(), &Method::GET, &mut head, &mut progress);
            assert_eq!(parse, Ok(Parse::Complete(out.len())));
            assert_eq!((head.version, head.status), (version, status));
            assert_eq!(head.reason(), status.canonical_reason().unwrap_or_default());
        }
    }
}

#[test]
fn fields_are_written_one_a_line() {
    let mut map = HeaderMap::new();
    map.append("x-a", HeaderValue::from_static("1"));
    map.append("x-a", HeaderValue::from_static("2"));
    assert_eq!(written(|out| encode_fields(out, &map)), "x-a: 1\r\nx-a: 2\r\n");
    assert_eq!(written(|out| encode_content_length(out, 0)), "Content-Length: 0\r\n");
    assert_eq!(
        written(|out| encode_content_length(out, u64::MAX)),
        "Content-Length: 18446744073709551615\r\n"
    );
    assert_eq!(written(|out| encode_raw_field(out, "X-A", b"b c").unwrap()), "X-A: b c\r\n");
}

#[test]
fn request_line_is_written() {
    let line = written(|out| encode_request_line(out, &Method::GET, "/a?b").unwrap());
    assert_eq!(line, "GET /a?b HTTP/1.1\r\n");
}

#[test]
fn targets_that_could_end_the_line_are_refused() {
    for target in
        ["", "/ HTTP/1.1\r\nX: y", "/a b", "/a\n", "/a\r", "/a\t", "/\0", "/\x7f", "/\u{e9}", "/a#b"]
    {
        let mut out = Vec::new();
        let error = encode_request_line(&mut out, &Method::GET, target).unwrap_err();
        assert_eq!(error.kind(), millstream_base::Kind::Invalid, "{target:?}");
        assert!(out.is_empty(), "nothing is written for {target:?}");
    }
}

#[test]
fn raw_fields_that_could_end_the_line_are_refused() {
    for (name, value) in [
        ("", "b"),
        ("a b", "c"),
        ("a:", "b"),
        ("a\r\n", "b"),
        ("\u{e9}", "b"),
        ("a", "b\r\nc: d"),
        ("a", "b\n"),
        ("a", "b\r"),
        ("a", "\0"),
        ("a", "\x7f"),
    ] {
        let mut out = Vec::new();
        assert!(encode_raw_field(&mut out, name, value.as_bytes()).is_err(), "{name:?}: {value:?}");
        assert!(out.is_empty());
    }
}
