//! Chunked bodies at every split. What is refused stands in `corpus/`.

use http::HeaderMap;
use millstream_http::codec::chunked::{encode_chunk, encode_chunk_head, encode_last_chunk};
use millstream_http::codec::{ChunkEvent, ChunkLimits, ChunkedDecoder, Reject};

/// The data, the trailers, and the number of bytes used, from the bytes in these pieces; `None` if it isn't over.
type Decoded = Option<(Vec<u8>, Option<HeaderMap>, usize)>;

/// Bytes in, data and trailers out.
type Row<'a> = (&'a [u8], &'a [u8], &'a [(&'a str, &'a str)]);

fn decode<'a>(limits: ChunkLimits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Decoded, Reject> {
    let (mut decoder, mut data, mut total) = (ChunkedDecoder::with_limits(limits), Vec::new(), 0);
    for piece in pieces {
        let mut rest = piece;
        loop {
            let (used, event) = decoder.decode(rest)?;
            total += used;
            match event {
                ChunkEvent::Data(range) => {
                    assert!(!range.is_empty() && range.end == used);
                    data.extend_from_slice(&rest[range]);
                }
                ChunkEvent::NeedMore => {
                    assert_eq!(used, rest.len());
                    break;
                }
                ChunkEvent::End => return Ok(Some((data, decoder.take_trailers(), total))),
            }
            rest = &rest[used..];
        }
    }
    assert!(decoder.take_trailers().is_none(), "no trailers before the end");
    Ok(None)
}

fn whole(bytes: &[u8]) -> Result<Decoded, Reject> {
    decode(ChunkLimits::default(), [bytes])
}

#[test]
fn data_and_trailers_come_out_at_every_split() {
    let table: [Row<'_>; 5] = [
        (b"0\r\n\r\n", b"", &[]),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc", &[]),
        (b"a;x=y\r\n0123456789\r\n001\r\n\r\r\n000\r\n\r\n", b"0123456789\r", &[]),
        (b"1\r\na\r\n0\r\nX-Sum: 1\r\nx-two:2\r\n\r\n", b"a", &[("x-sum", "1"), ("x-two", "2")]),
        (b"0\r\nTransfer-Encoding: x\r\nContent-Length: 5\r\nHost: b\r\n\r\n", b"", &[]),
    ];
    for (bytes, data, trailers) in table {
        let behind = [bytes, b"GET / HTTP/1.1"].concat();
        for at in 0..behind.len() {
            let (head, tail) = behind.split_at(at);
            let (got, map, used) = decode(ChunkLimits::default(), [head, tail]).unwrap().unwrap();
            assert_eq!((&got[..], used), (data, bytes.len()), "split at {at}: {}", bytes.escape_ascii());
            let map: Vec<_> = map.iter().flatten().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
            assert_eq!(map, trailers, "split at {at}: {}", bytes.escape_ascii());
        }
        let (got, _, used) = decode(ChunkLimits::default(), behind.chunks(1)).unwrap().unwrap();
        assert_eq!((&got[..], used), (data, bytes.len()));
    }
}

#[test]
fn every_prefix_waits_for_more() {
    let bytes = b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n";
    for len in 0..bytes.len() {
        assert_eq!(whole(&bytes[..len]), Ok(None), "{len} bytes");
    }
}

#[test]
fn refusal_is_for_ever() {
    let mut decoder = ChunkedDecoder::new();
    let refused = decoder.decode(b"x").unwrap_err();
    assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(refused));
    assert!(!decoder.is_end());
}

#[test]
fn end_uses_nothing_more() {
    let mut decoder = ChunkedDecoder::new();
    assert_eq!(decoder.decode(b"0\r\n\r\nabc"), Ok((5, ChunkEvent::End)));
    assert_eq!(decoder.decode(b"abc"), Ok((0, ChunkEvent::End)));
    assert!(decoder.is_end());
}

#[test]
fn sizes_reach_63_bits_and_no_further() {
    assert_eq!(whole(b"7fffffffffffffff\r\n"), Ok(None));
    assert_eq!(whole(b"07fffffffffffffff\r\n").unwrap_err().reason, "chunk size too large");
    for size in ["8000000000000000", "ffffffffffffffff", "10000000000000000", "00000000000000000"] {
        assert_eq!(whole(size.as_bytes()).unwrap_err().reason, "chunk size too large", "{size}");
    }
}

#[test]
fn extensions_may_cost_what_the_data_earns() {
    let mut limits = ChunkLimits::default();
    limits.extension_bytes = 8;
    let refused = |body: &str| decode(limits, [body.as_bytes()]).is_err();
    assert!(!refused("1;abcdefg\r\nx\r\n0\r\n\r\n"), "7 bytes of extension and a CR");
    assert!(refused("1;abcdefgh\r\nx\r\n0\r\n\r\n"), "one more");
    assert!(refused("1;abc\r\nx\r\n1;abc\r\nx\r\n1;abc\r\nx\r\n0\r\n\r\n"), "many small ones add up");
    assert!(!refused(&format!("{}0\r\n\r\n", "4;abc\r\nxxxx\r\n".repeat(100))), "as much data as extensions");
}

#[test]
fn trailers_are_limited() {
    let mut limits = ChunkLimits::default();
    (limits.trailer_bytes, limits.trailer_fields) = (14, 2);
    let decode = |trailers: &str| decode(limits, [format!("0\r\n{trailers}\r\n").as_bytes()]);
    assert!(decode("A: b\r\nC: d\r\n").is_ok());
    assert_eq!(decode("A: b\r\nC: de\r\n").unwrap_err().status, 431);
    assert_eq!(decode("A:\r\nB:\r\nC:\r\n").unwrap_err().status, 431);
}

#[test]
fn chunks_are_written_as_they_are_read() {
    let mut out = Vec::new();
    encode_chunk(&mut out, b"hello");
    encode_chunk(&mut out, b"");
    encode_chunk(&mut out, &[b'x'; 300]);
    encode_chunk_head(&mut out, 0);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "1".parse().unwrap());
    trailers.insert("content-length", "1".parse().unwrap());
    encode_last_chunk(&mut out, Some(&trailers));
    let x300 = "x".repeat(300);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!("5\r\nhello\r\n12c\r\n{x300}\r\n0\r\nx-sum: 1\r\n\r\n")
    );
    let mut out = Vec::new();
    encode_last_chunk(&mut out, None);
    encode_chunk_head(&mut out, u64::MAX);
    assert_eq!(out, b"0\r\n\r\nffffffffffffffff\r\n");
}
