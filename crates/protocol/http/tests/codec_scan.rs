//! Plain request heads are scanned without httparse; with and without, the outcome must be the same in every respect.

mod corpus;

use millstream_http::codec::HeadLimits;
use millstream_http::codec::fuzz::request_both_ways;
use proptest::collection::vec;
use proptest::prelude::*;

const BROWSER: &[u8] = b"GET /a/page.html?from=index HTTP/1.1\r\nHost: www.example.org:8080\r\n\
    Connection: keep-alive\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101\r\nAccept: */*\r\nX-B3-TraceId: 1f\r\n\
    Cookie: a=b\r\nTE: trailers\r\n\r\n";

/// Heads that the scanner takes; others are made of them by damage.
const PLAIN: [&[u8]; 10] = [
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1:12345\r\n\r\n",
    b"GET /? HTTP/1.1\r\nHost: a:65535\r\n\r\n",
    BROWSER,
    b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\nExpect: 100-continue\r\n\r\nhello, world",
    b"PUT /x HTTP/1.1\r\nhost:\t[::1]:80\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"PUT /x HTTP/1.1\r\nhost:  [::1]:80 \r\ntransfer-encoding: chunked  \r\n\r\n0\r\n\r\n",
    b"DELETE /x HTTP/1.0\r\n\r\n",
    b"GET /chat HTTP/1.1\r\nHost: a.b\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"OPTIONS /%20 HTTP/1.1\r\nHost:\r\nX:\r\nY_Z:  \r\nKeep-Alive: timeout=5\r\nX-Long: 0123456789abcdef0123456789\r\n\r\n",
    b"PATCH /~!$&'()*+,;=:@[]{}|^` HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nAAAAAAAAAAAAAAAAAAAAAAAAAAA: b\r\n\r\n",
];

#[test]
fn plain_heads_are_taken_by_the_scanner() {
    let taken = PLAIN.iter().filter(|bytes| request_both_ways(bytes, &HeadLimits::DEFAULT)).count();
    // All but two whose hosts are addresses in brackets.
    assert_eq!(taken, PLAIN.len() - 2);
}

#[test]
fn every_corpus_case_comes_out_the_same_however_it_is_cut() {
    let mut taken = 0;
    for case in corpus::requests() {
        let len = case.bytes.len();
        for at in (0..=len).filter(|at| len < 2_000 || at % 97 == 0 || *at < 40 || *at > len - 40) {
            request_both_ways(&case.bytes[..at], &HeadLimits::DEFAULT);
            taken += usize::from(request_both_ways(&case.bytes[at..], &HeadLimits::DEFAULT));
        }
    }
    assert!(taken > 50, "only {taken} were taken by the scanner");
}

#[test]
fn every_byte_at_every_place_comes_out_the_same() {
    for head in PLAIN {
        for at in 0..head.len() {
            let mut bytes = head.to_vec();
            for byte in 0..=u8::MAX {
                bytes[at] = byte;
                request_both_ways(&bytes, &HeadLimits::DEFAULT);
            }
            bytes[at] = head[at];
            bytes.remove(at);
            request_both_ways(&bytes, &HeadLimits::DEFAULT);
        }
    }
}

#[test]
fn every_insertion_comes_out_the_same() {
    let pieces: [&[u8]; 14] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n ",
        b"\r\n\t",
        b"\0",
        b" ",
        b"\t",
        b":",
        b"\x7f",
        b"\x80",
        b"\xff",
        b"\r\n\r\n",
        b"#",
    ];
    for head in PLAIN {
        for (at, piece) in (0..=head.len()).flat_map(|at| pieces.map(|piece| (at, piece))) {
            let bytes = [&head[..at], piece, &head[at..]].concat();
            request_both_ways(&bytes, &HeadLimits::DEFAULT);
        }
    }
}

#[test]
fn limits_are_met_in_the_same_way() {
    let mut taken = 0;
    for bytes in 0..BROWSER.len() + 4 {
        for (fields, target_bytes) in (0..10).flat_map(|fields| [22, 23, 24].map(|target| (fields, target))) {
            let mut limits = HeadLimits::default();
            (limits.bytes, limits.fields, limits.target_bytes) = (bytes, fields, target_bytes);
            taken += usize::from(request_both_ways(BROWSER, &limits));
        }
    }
    // The head has 8 fields and a target of 23 bytes.
    assert_eq!(taken, 4 * 2 * 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_heads_come_out_the_same(
        head in prop_oneof![
            prop::sample::select(PLAIN.to_vec()).prop_map(<[u8]>::to_vec),
            prop::sample::select(corpus::requests()).prop_map(|case| case.bytes),
            lines(),
        ],
        damages in vec((any::<prop::sample::Index>(), damage()), 0..4),
    ) {
        let mut bytes = head;
        for (at, (removed, piece)) in damages {
            let at = at.index(bytes.len() + 1);
            let end = bytes.len().min(at + removed);
            bytes.splice(at..end, piece);
        }
        request_both_ways(&bytes, &HeadLimits::DEFAULT);
    }
}

/// How many bytes go, and what comes in their place.
fn damage() -> impl Strategy<Value = (usize, Vec<u8>)> {
    let piece = prop_oneof![
        vec(any::<u8>(), 0..3),
        prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        Just(b"9".repeat(20)),
    ];
    (prop_oneof![Just(0), 0..4_usize, Just(usize::MAX / 2)], piece)
}

/// A head of lines that are right or nearly so.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        prop::sample::select(NAMES.to_vec()).prop_map(str::to_string),
        "[A-Za-z-]{1,20}",
        "[!#-'*+.^-z|~0-9-]{1,12}",
    ];
    let value = prop_oneof![
        prop::sample::select(VALUES.to_vec()).prop_map(str::to_string),
        "[ -~]{0,40}",
        "[a-z.:0-9]{1,24}",
    ];
    let blanks = || prop::sample::select(vec!["", " ", "  ", "\t"]);
    let line = (name, blanks(), value, blanks())
        .prop_map(|(name, before, value, behind)| format!("{name}:{before}{value}{behind}\r\n"));
    (prop::sample::select(STARTS.to_vec()), vec(line, 0..8))
        .prop_map(|(start, lines)| format!("{start}\r\n{}\r\n", lines.concat()).into_bytes())
}

const STARTS: [&str; 8] = [
    "GET / HTTP/1.1\r\nHost: a",
    "GET / HTTP/1.1",
    "POST /a?b HTTP/1.0",
    "OPTIONS * HTTP/1.1\r\nHost: a",
    "CONNECT a:1 HTTP/1.1\r\nHost: a:1",
    "GET http://a/ HTTP/1.1\r\nHost: b",
    "M-SEARCH /x HTTP/1.1\r\nHost: b",
    "PUT /x HTTP/1.1\r\nHost: b\r\nContent-Length: 3",
];
const NAMES: [&str; 13] = [
    "Host",
    "hOST",
    "TE",
    "Expect",
    "Upgrade",
    "Connection",
    "Keep-Alive",
    "Content-Length",
    "Transfer-Encoding",
    "content_length",
    "Content-Lengtg",
    "Hos",
    "Proxy-Connection",
];
const VALUES: [&str; 20] = [
    "",
    "0",
    "5",
    "+5",
    "5, 5",
    "18446744073709551616",
    "chunked",
    "gzip, chunked",
    "chunked, chunked",
    "close",
    "keep-alive",
    "Keep-Alive, Upgrade",
    "websocket",
    "100-continue",
    "trailers",
    "a:65535",
    "a:65536",
    "[::1]:8",
    "a@b",
    "a:99999",
];
const PIECES: [&str; 12] = [
    "\r\n",
    "\r",
    "\n",
    "\r\n ",
    "\0",
    ": ",
    " ",
    "\t",
    "\r\n\r\n",
    "Host: b\r\n",
    "Content-Length: 1\r\n",
    " HTTP/1.1",
];
