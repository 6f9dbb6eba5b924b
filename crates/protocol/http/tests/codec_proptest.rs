//! What holds for all input: no panic, one verdict whatever the splits, and what is written is read back.

mod corpus;

use corpus::drive::{fetch, serve};
use corpus::{End, Outcome};
use http::{HeaderName, HeaderValue, Method};
use millstream_http::codec::chunked::{encode_chunk, encode_last_chunk};
use millstream_http::codec::encode::{encode_field, encode_request_line};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), sizes in splits()) {
        same_verdict(&serve([&bytes[..]]), &serve(split(&bytes, &sizes)))?;
        same_verdict(&fetch(&Method::GET, [&bytes[..]]), &fetch(&Method::GET, split(&bytes, &sizes)))?;
    }

    #[test]
    fn random_tokens_get_one_verdict_whatever_the_splits(pieces in vec(token(), 0..40), sizes in splits()) {
        let bytes = pieces.concat();
        same_verdict(&serve([&bytes[..]]), &serve(split(&bytes, &sizes)))?;
        same_verdict(&fetch(&Method::GET, [&bytes[..]]), &fetch(&Method::GET, split(&bytes, &sizes)))?;
    }

    #[test]
    fn damaged_cases_get_one_verdict_whatever_the_splits(
        case in prop::sample::select(corpus::requests()).prop_map(|case| case.bytes),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        sizes in splits(),
    ) {
        let mut bytes = case;
        let at = at.index(bytes.len());
        bytes[at] = byte;
        same_verdict(&serve([&bytes[..]]), &serve(split(&bytes, &sizes)))?;
    }

    #[test]
    fn requests_are_read_as_they_were_written(messages in vec(message(), 1..5), sizes in splits()) {
        let bytes: Vec<u8> = messages.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let bodies: Vec<_> = messages.into_iter().map(|(_, body)| body).collect();
        prop_assert_eq!(serve(split(&bytes, &sizes)), Outcome { bodies, end: End::Open });
    }
}

/// The same, but that bytes in pieces may wait for the end of a line where whole ones show its fault at once, and that
/// of several faults another may show first.
fn same_verdict(whole: &Outcome, pieces: &Outcome) -> Result<(), TestCaseError> {
    let is_late = matches!((whole.end, pieces.end), (End::Reject(_), End::Wait | End::Reject(_)));
    prop_assert!(whole == pieces || (is_late && whole.bodies == pieces.bodies), "{:?} {:?}", whole, pieces);
    Ok(())
}

fn splits() -> impl Strategy<Value = Vec<usize>> {
    vec(1_usize..40, 1..50)
}

/// The bytes in pieces of these sizes, over and over.
fn split<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = bytes.len().min(*sizes.next()?);
        let (piece, rest) = bytes.split_at(size);
        bytes = rest;
        (size > 0).then_some(piece)
    })
}

/// What messages are made of, right and wrong.
fn token() -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\n"[..],
        b"POST /x?y HTTP/1.0\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 204 \r\n",
        b"Host: a\r\n",
        b"Host: b\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"0\r\n",
        b"abc",
        b"X",
        b": ",
        b" ",
        b"\t",
        b"\r",
        b"\n",
        b"\0",
        b"\xff",
        b"HTTP/2",
        b" HTTP/1.1",
        b"http://a/",
        b"*",
        b"#",
        b";a=b",
        b",",
        b"chunked",
    ])
    .prop_map(<[u8]>::to_vec)
}

/// A request as our encoders write it, and its body.
fn message() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let name = "x-[a-z0-9-]{0,12}".prop_map(|name| HeaderName::from_bytes(name.as_bytes()).expect("a token"));
    let value = vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..], 0..20)
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).expect("no control bytes"));
    let chunks = vec(vec(any::<u8>(), 0..60), 0..5);
    let method = prop::sample::select(vec![Method::GET, Method::POST, Method::PUT, Method::DELETE]);
    (method, "/[!-\"$-~]{0,30}", vec((name, value), 0..8), chunks, any::<bool>()).prop_map(
        |(method, target, fields, chunks, is_chunked)| {
            let (mut out, body) = (Vec::new(), chunks.concat());
            encode_request_line(&mut out, &method, &target).expect("clean");
            out.extend_from_slice(b"host: a\r\n");
            fields.iter().for_each(|(name, value)| encode_field(&mut out, name, value));
            if is_chunked {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                chunks.iter().for_each(|chunk| encode_chunk(&mut out, chunk));
                encode_last_chunk(&mut out, None);
            } else {
                out.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
                out.extend_from_slice(&body);
            }
            (out, body)
        },
    )
}
