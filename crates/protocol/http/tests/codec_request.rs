//! Request heads: bytes in, message out.

use millstream_http::codec::{Framing, HeadLimits, Parse, Progress, Reject, RequestHead, parse_request};

fn parse(bytes: &[u8]) -> Result<(Parse, RequestHead), Reject> {
    let (mut head, mut progress) = (RequestHead::new(), Progress::default());
    parse_request(bytes, &HeadLimits::default(), &mut head, &mut progress).map(|parse| (parse, head))
}

#[test]
fn plain_get_is_whole() {
    let bytes = b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-A:  1 \t\r\n\r\n";
    let (parse, head) = parse(bytes).unwrap();
    assert_eq!(parse, Parse::Complete(bytes.len()));
    assert_eq!((head.path(), head.query(), head.host()), ("/a", Some("b=c"), "127.0.0.1:8080"));
    assert_eq!(head.fields.get("x-a"), Some(&b"1"[..]));
    assert_eq!(head.framing, Framing::None);
    assert!(head.keep_alive);
}
