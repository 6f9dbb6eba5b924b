//! Request heads: bytes in, message out. What is refused stands in `corpus/requests.txt`.

use http::Method;
use millstream_base::Kind;
use millstream_http::codec::{
    Framing, HeadLimits, Parse, Progress, Reject, RequestHead, TargetForm, Version, parse_request,
};

fn parse(bytes: &[u8]) -> Result<RequestHead, Reject> {
    parse_within(bytes, &HeadLimits::default())
}

fn parse_within(bytes: &[u8], limits: &HeadLimits) -> Result<RequestHead, Reject> {
    let (mut head, mut progress) = (RequestHead::new(), Progress::default());
    match parse_request(bytes, limits, &mut head, &mut progress)? {
        Parse::Complete(used) => {
            assert_eq!(used, bytes.len(), "all bytes are of the head");
            Ok(head)
        }
        Parse::Partial => panic!("not whole: {}", bytes.escape_ascii()),
    }
}

/// A request with this request line and these fields, in HTTP/1.1 with a Host unless said otherwise.
fn request(line: &str, fields: &str) -> RequestHead {
    let version = if line.contains(" HTTP/") { "" } else { " HTTP/1.1" };
    parse(format!("{line}{version}\r\nHost: h\r\n{fields}\r\n").as_bytes()).expect("a valid request")
}

#[test]
fn target_comes_apart_into_path_and_query() {
    let table = [
        ("GET /", TargetForm::Origin, "/", None, "h"),
        ("GET /a/b%20c?d=e?f", TargetForm::Origin, "/a/b%20c", Some("d=e?f"), "h"),
        ("GET //a", TargetForm::Origin, "//a", None, "h"),
        ("GET /?", TargetForm::Origin, "/", Some(""), "h"),
        ("GET /a|{\"}\\^`", TargetForm::Origin, "/a|{\"}\\^`", None, "h"),
        ("GET http://b.example:81/x?y", TargetForm::Absolute, "/x", Some("y"), "b.example:81"),
        ("GET HTTPS://b.example", TargetForm::Absolute, "/", None, "b.example"),
        ("GET http://b.example?y", TargetForm::Absolute, "/", Some("y"), "b.example"),
        ("OPTIONS http://b.example", TargetForm::Absolute, "*", None, "b.example"),
        ("GET http://[::1]:81/", TargetForm::Absolute, "/", None, "[::1]:81"),
        ("OPTIONS *", TargetForm::Asterisk, "*", None, "h"),
        ("CONNECT b.example:443", TargetForm::Authority, "", None, "b.example:443"),
    ];
    for (line, form, path, query, host) in table {
        let head = request(line, "");
        assert_eq!(
            (head.target_form(), head.path(), head.query(), head.host()),
            (form, path, query, host),
            "{line}"
        );
        assert_eq!(Some(head.target()), line.split(' ').nth(1), "{line}");
    }
}

#[test]
fn connection_stays_open_as_version_and_tokens_say() {
    let table = [
        ("GET /", "", true),
        ("GET /", "Connection: close\r\n", false),
        ("GET /", "Connection: Close\r\n", false),
        ("GET /", "Connection: keep-alive\r\n", true),
        ("GET /", "Connection: keep-alive, close\r\n", false),
        ("GET /", "Connection: x\r\nConnection: y, close\r\n", false),
        ("GET /", "Connection: closed\r\n", true),
        ("GET / HTTP/1.0", "", false),
        ("GET / HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("GET / HTTP/1.0", "Connection: keep-alive, close\r\n", false),
        ("GET / HTTP/1.0", "Keep-Alive: timeout=5\r\n", false),
    ];
    for (line, fields, expected) in table {
        assert_eq!(request(line, fields).keep_alive, expected, "{line} {fields}");
    }
}

#[test]
fn upgrade_needs_the_token_the_field_and_version_1_1() {
    let both = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert!(request("GET /", both).upgrade);
    assert!(request("GET /", "Connection: keep-alive, upgrade\r\nUpgrade: x\r\n").upgrade);
    assert!(!request("GET /", "Upgrade: websocket\r\n").upgrade);
    assert!(!request("GET /", "Connection: upgrade\r\n").upgrade);
    assert!(!request("GET /", "Connection: upgrade\r\nUpgrade:\r\n").upgrade);
    assert!(!request("GET / HTTP/1.0", both).upgrade);
    assert!(request("CONNECT a:1", "").upgrade);
}

#[test]
fn continue_is_expected_only_for_a_body_in_version_1_1() {
    let both = "Expect: 100-continue\r\nContent-Length: 1\r\n";
    assert!(request("POST /", both).expect_continue);
    assert!(request("POST /", "Expect: 100-CONTINUE\r\nTransfer-Encoding: chunked\r\n").expect_continue);
    assert!(!request("POST /", "Expect: 100-continue\r\n").expect_continue);
    assert!(!request("POST /", "Expect: 100-continue\r\nContent-Length: 0\r\n").expect_continue);
    assert!(!request("POST / HTTP/1.0", both).expect_continue);
    assert!(!request("POST / HTTP/1.0", "Expect: else\r\n").expect_continue);
}

#[test]
fn trailers_are_accepted_where_te_says_so() {
    assert!(request("GET /", "TE: trailers\r\n").accepts_trailers);
    assert!(request("GET /", "te: gzip, Trailers\r\n").accepts_trailers);
    assert!(!request("GET /", "TE: gzip\r\n").accepts_trailers);
}

#[test]
fn methods_are_known_or_kept() {
    for name in [
        "GET",
        "POST",
        "PUT",
        "HEAD",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "TRACE",
        "get",
        "M-SEARCH",
        "A!#$%&'*+-.^_`|~",
    ] {
        assert_eq!(request(&format!("{name} /"), "").method, Method::from_bytes(name.as_bytes()).unwrap());
    }
}

#[test]
fn fields_are_found_whatever_their_letter_case() {
    let head = request(
        "GET /",
        "X-One:1\r\nx-two: \t2 2\t \r\nX-ONE: 3\r\nX-Empty:\r\nX-List: a, B ,c\r\nX-Raw: é\r\n",
    );
    let fields = &head.fields;
    assert_eq!(fields.len(), 7);
    assert_eq!(fields.get("x-one"), Some(&b"1"[..]));
    assert_eq!(fields.get_all("X-one").collect::<Vec<_>>(), [b"1", b"3"]);
    assert_eq!(fields.get_str("X-Two"), Some("2 2"));
    assert_eq!(fields.get("x-empty"), Some(&b""[..]));
    assert_eq!(fields.get("x-none"), None);
    assert!(fields.contains_token("x-list", "b") && !fields.contains_token("x-list", "d"));
    let names: Vec<_> = fields.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["Host", "X-One", "x-two", "X-ONE", "X-Empty", "X-List", "X-Raw"]);
}

#[test]
fn header_map_holds_the_same_fields() {
    let head = parse(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nX-Raw: \xff\xfe\r\n\r\n").unwrap();
    let map = head.fields.to_header_map();
    assert_eq!(map.len(), head.fields.len());
    assert_eq!(map.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(map["x-raw"].as_bytes(), b"\xff\xfe");
}

#[test]
fn reused_head_keeps_nothing_of_the_last_request() {
    let (mut head, mut progress, limits) = (RequestHead::new(), Progress::default(), HeadLimits::default());
    let rich = b"POST http://b.example/x?y HTTP/1.1\r\nHost: h\r\nConnection: close, upgrade\r\nUpgrade: x\r\nTE: trailers\r\n\
        Expect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    let plain = b"GET / HTTP/1.0\r\n\r\n";
    parse_request(rich, &limits, &mut head, &mut progress).unwrap();
    assert!(
        head.upgrade && head.expect_continue && head.accepts_trailers && head.framing == Framing::Length(5)
    );
    parse_request(plain, &limits, &mut head, &mut progress).unwrap();
    assert_eq!((head.method.as_str(), head.target(), head.host()), ("GET", "/", ""));
    assert_eq!((head.version, head.framing, head.fields.len()), (Version::Http10, Framing::None, 0));
    assert!(!head.upgrade && !head.expect_continue && !head.accepts_trailers && !head.keep_alive);
    assert_eq!(head.target_form(), TargetForm::Origin);
}

#[test]
fn head_ends_where_the_next_bytes_begin() {
    let bytes = b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\nPOST";
    let (mut head, mut progress) = (RequestHead::new(), Progress::default());
    let parse = parse_request(bytes, &HeadLimits::default(), &mut head, &mut progress);
    assert_eq!(parse, Ok(Parse::Complete(bytes.len() - 4)));
}

#[test]
fn limits_are_exact() {
    let mut limits = HeadLimits::default();
    let head = b"GET /1234 HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    (limits.bytes, limits.fields, limits.target_bytes) = (head.len(), 2, 5);
    assert!(parse_within(head, &limits).is_ok());
    let status = |change: fn(&mut HeadLimits)| {
        let mut limits = limits;
        change(&mut limits);
        parse_within(head, &limits).unwrap_err().status
    };
    assert_eq!(status(|limits| limits.bytes -= 1), 431);
    assert_eq!(status(|limits| limits.fields -= 1), 431);
    assert_eq!(status(|limits| limits.target_bytes -= 1), 414);
}

#[test]
fn more_fields_than_the_stack_holds_are_read_when_the_limit_allows() {
    let mut limits = HeadLimits::default();
    limits.fields = 1_000;
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(999));
    assert_eq!(parse_within(head.as_bytes(), &limits).unwrap().fields.len(), 1_000);
    let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(1_000));
    assert_eq!(parse_within(head.as_bytes(), &limits).unwrap_err().status, 431);
}

#[test]
fn faults_show_before_the_head_is_whole() {
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost : h\r\n"[..],
        b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0",
        b"GET / HTTP/1.1\nHost: h\r\n",
        b"GET / HTTP/3",
        b"\x16\x03",
        b"\r\n\r\n\r\n",
        b"\n",
        b"\rG",
    ] {
        let (mut head, mut progress) = (RequestHead::new(), Progress::default());
        assert!(
            parse_request(bytes, &HeadLimits::default(), &mut head, &mut progress).is_err(),
            "{}",
            bytes.escape_ascii()
        );
        let (limits, mut last) = (HeadLimits::default(), Ok(Parse::Partial));
        for len in 1..=bytes.len() {
            last = parse_request(&bytes[..len], &limits, &mut head, &mut progress);
            if last.is_err() {
                break;
            }
        }
        let is_line_whole = bytes.ends_with(b"\n");
        assert!(last.is_err() || !is_line_whole, "byte by byte: {}", bytes.escape_ascii());
    }
}

#[test]
fn too_many_fields_show_before_the_head_is_whole() {
    let bytes = format!("GET / HTTP/1.1\r\nHost: h\r\n{}", "A: b\r\n".repeat(100));
    let (mut head, mut progress, limits) = (RequestHead::new(), Progress::default(), HeadLimits::default());
    for len in 1..bytes.len() {
        let parse = parse_request(&bytes.as_bytes()[..len], &limits, &mut head, &mut progress);
        assert_eq!(parse, Ok(Parse::Partial), "{len} bytes");
    }
    let parse = parse_request(bytes.as_bytes(), &limits, &mut head, &mut progress);
    assert_eq!(parse.unwrap_err().status, 431);
}

#[test]
fn rejects_are_errors_of_the_peer() {
    let error: millstream_base::Error = parse(b"GET / HTTP/1.1\r\n\r\n").unwrap_err().into();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Protocol, "no Host"));
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(10_000));
    let error: millstream_base::Error = parse(long.as_bytes()).unwrap_err().into();
    assert_eq!(error.kind(), Kind::Limit);
}
