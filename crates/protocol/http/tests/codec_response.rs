//! Response heads: bytes in, message out. What is refused stands in `corpus/responses.txt`.

use std::time::Duration;

use http::{Method, StatusCode};
use millstream_http::codec::{
    Framing, HeadLimits, Parse, Progress, Reject, ResponseHead, Version, parse_response,
};

fn parse_for(method: &Method, bytes: &[u8]) -> Result<ResponseHead, Reject> {
    let (mut head, mut progress) = (ResponseHead::new(), Progress::default());
    match parse_response(bytes, &HeadLimits::default(), method, &mut head, &mut progress)? {
        Parse::Complete(used) => {
            assert_eq!(used, bytes.len(), "all bytes are of the head");
            Ok(head)
        }
        Parse::Partial => panic!("not whole: {}", bytes.escape_ascii()),
    }
}

fn parse(text: &str) -> ResponseHead {
    parse_for(&Method::GET, text.as_bytes()).expect("a valid response")
}

#[test]
fn status_line_comes_apart() {
    let table = [
        ("HTTP/1.1 200 OK", Version::Http11, 200, "OK"),
        ("HTTP/1.0 404 Not Found", Version::Http10, 404, "Not Found"),
        ("HTTP/1.1 200", Version::Http11, 200, ""),
        ("HTTP/1.1 200 ", Version::Http11, 200, ""),
        ("HTTP/1.1 299 a  b\tc", Version::Http11, 299, "a  b\tc"),
        ("HTTP/1.1 200 caf\u{e9}", Version::Http11, 200, ""),
        ("HTTP/1.1 999 Odd", Version::Http11, 999, "Odd"),
    ];
    for (line, version, status, reason) in table {
        let head = parse(&format!("{line}\r\nA: b\r\n\r\n"));
        assert_eq!((head.version, head.status.as_u16(), head.reason()), (version, status, reason), "{line}");
    }
}

#[test]
fn body_is_framed_by_method_status_and_fields() {
    const LENGTH: &str = "Content-Length: 5\r\n";
    const CHUNKS: &str = "Transfer-Encoding: chunked\r\n";
    let table = [
        ("GET", 200, LENGTH, Framing::Length(5), true),
        ("GET", 200, CHUNKS, Framing::Chunked, true),
        ("GET", 200, "", Framing::UntilClose, false),
        ("GET", 500, LENGTH, Framing::Length(5), true),
        ("HEAD", 200, LENGTH, Framing::None, true),
        ("HEAD", 200, CHUNKS, Framing::None, true),
        ("HEAD", 200, "", Framing::None, true),
        ("GET", 304, LENGTH, Framing::None, true),
        ("GET", 204, "", Framing::None, true),
        ("GET", 204, "Content-Length: 0\r\n", Framing::None, true),
        ("GET", 204, LENGTH, Framing::None, false),
        ("GET", 204, CHUNKS, Framing::None, false),
        ("GET", 205, LENGTH, Framing::Length(5), true),
        ("GET", 100, "", Framing::None, true),
        ("GET", 103, CHUNKS, Framing::None, false),
        ("GET", 101, "", Framing::None, false),
        ("CONNECT", 200, CHUNKS, Framing::None, false),
        ("CONNECT", 200, "Content-Length: x\r\nTransfer-Encoding: y\r\n", Framing::None, false),
        ("CONNECT", 407, LENGTH, Framing::Length(5), true),
    ];
    for (method, status, fields, framing, keep_alive) in table {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let text = format!("HTTP/1.1 {status} \r\n{fields}\r\n");
        if fields.contains('x') {
            assert!(parse_for(&method, text.as_bytes()).is_err(), "malformed, even where it means nothing");
            continue;
        }
        let head = parse_for(&method, text.as_bytes()).unwrap();
        assert_eq!((head.framing, head.keep_alive), (framing, keep_alive), "{method} {status} {fields}");
    }
}

#[test]
fn interim_responses_are_told_from_upgrades() {
    assert!(parse("HTTP/1.1 100 Continue\r\n\r\n").is_interim());
    assert!(parse("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n").is_interim());
    let switched = parse("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    assert!(switched.upgrade && !switched.is_interim());
    assert!(parse_for(&Method::CONNECT, b"HTTP/1.1 204 \r\n\r\n").unwrap().upgrade);
    assert!(!parse("HTTP/1.1 200 OK\r\nUpgrade: h2c\r\n\r\n").upgrade);
}

#[test]
fn announced_idle_timeout_is_read() {
    let table = [
        ("timeout=5", Some(5)),
        ("timeout=5, max=100", Some(5)),
        ("max=100, Timeout = 7", Some(7)),
        ("timeout=\"9\"", Some(9)),
        ("timeout=0", Some(0)),
        ("timeout", None),
        ("timeout=", None),
        ("timeout=-1", None),
        ("timeout=1.5", None),
        ("xtimeout=5", None),
        ("timeout=99999999999999999999", None),
    ];
    for (value, seconds) in table {
        let head = parse(&format!("HTTP/1.1 200 OK\r\nKeep-Alive: {value}\r\n\r\n"));
        assert_eq!(head.keep_alive_timeout, seconds.map(Duration::from_secs), "{value}");
    }
}

#[test]
fn announced_number_of_requests_is_read() {
    let table = [
        ("max=100", Some(100)),
        ("timeout=5, max=1", Some(1)),
        ("MAX = \"0\", timeout=5", Some(0)),
        ("timeout=5", None),
        ("max=-1", None),
        ("max=99999999999999999999", None),
        ("maximum=3", None),
    ];
    for (value, max) in table {
        let head = parse(&format!("HTTP/1.1 200 OK\r\nKeep-Alive: {value}\r\n\r\n"));
        assert_eq!(head.keep_alive_max, max, "{value}");
    }
}

#[test]
fn reused_head_keeps_nothing_of_the_last_response() {
    let (mut head, mut progress, limits) = (ResponseHead::new(), Progress::default(), HeadLimits::default());
    let rich = b"HTTP/1.1 101 Switching\r\nKeep-Alive: timeout=5\r\nConnection: upgrade\r\n\r\n";
    parse_response(rich, &limits, &Method::GET, &mut head, &mut progress).unwrap();
    assert!(head.upgrade && head.keep_alive_timeout.is_some());
    let plain = b"HTTP/1.0 200\r\n\r\n";
    parse_response(plain, &limits, &Method::GET, &mut head, &mut progress).unwrap();
    assert_eq!((head.status, head.reason(), head.fields.len()), (StatusCode::OK, "", 0));
    assert_eq!((head.upgrade, head.keep_alive, head.keep_alive_timeout), (false, false, None));
    assert_eq!(head.framing, Framing::UntilClose);
}

#[test]
fn every_refusal_has_status_502() {
    for bytes in
        [&b"HTTP/2 200\r\n\r\n"[..], b"\r\n", b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", b"HTTP/1.1 099 \r\n\r\n"]
    {
        assert_eq!(parse_for(&Method::GET, bytes).unwrap_err().status, 502);
    }
}
