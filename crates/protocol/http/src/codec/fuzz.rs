//! Entry points of the fuzz targets in `fuzz/`: whatever the bytes and however they are split, one verdict, no panic.

use http::Method;

use super::chunked::{encode_chunk, encode_last_chunk};
use super::request::parse_request_slow;
use super::{
    ChunkEvent, ChunkedDecoder, HeadLimits, Parse, Progress, Reject, RequestHead, ResponseHead,
    parse_request, parse_response,
};

/// A request head; the first byte says how the rest is split.
pub fn request(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else { return };
    let limits = HeadLimits::DEFAULT;
    request_both_ways(bytes, &limits);
    let (mut whole, mut pieces) = (RequestHead::new(), RequestHead::new());
    let is_complete = same_verdict(bytes, size, |buf, is_whole, progress| {
        parse_request(buf, &limits, if is_whole { &mut whole } else { &mut pieces }, progress)
    });
    if !is_complete {
        return;
    }
    assert_eq!(whole.target(), pieces.target());
    assert_eq!((whole.framing, whole.keep_alive), (pieces.framing, pieces.keep_alive));
    assert!(whole.fields.iter().eq(pieces.fields.iter()));
    assert!(whole.host().len() + whole.path().len() <= 2 * bytes.len() + 1);
    assert!(whole.fields.to_header_map().len() <= limits.fields);
}

/// The scanner of plain heads may only spare work: with it and without, the verdict and the head are the same, down to each
/// span. Did the scanner take the head?
pub fn request_both_ways(bytes: &[u8], limits: &HeadLimits) -> bool {
    let (mut quick, mut slow) = (RequestHead::new(), RequestHead::new());
    let (mut quick_progress, mut slow_progress) = (Progress::default(), Progress::default());
    let verdict = parse_request(bytes, limits, &mut quick, &mut quick_progress);
    assert_eq!(verdict, parse_request_slow(bytes, limits, &mut slow, &mut slow_progress));
    assert_eq!(format!("{quick_progress:?}"), format!("{slow_progress:?}"));
    if matches!(verdict, Ok(Parse::Complete(_))) {
        // As text: that shows every part, private ones and those to come too.
        assert_eq!(format!("{quick:?}"), format!("{slow:?}"));
    }
    quick.fill_plain(limits.window(bytes), limits).is_some()
}

/// A response head; the first byte says how the rest is split.
pub fn response(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else { return };
    let limits = HeadLimits::DEFAULT;
    let method = if size & 0x80 == 0 { Method::GET } else { Method::HEAD };
    let (mut whole, mut pieces) = (ResponseHead::new(), ResponseHead::new());
    let is_complete = same_verdict(bytes, size, |buf, is_whole, progress| {
        parse_response(buf, &limits, &method, if is_whole { &mut whole } else { &mut pieces }, progress)
    });
    if !is_complete {
        return;
    }
    assert_eq!((whole.status, whole.reason()), (pieces.status, pieces.reason()));
    assert_eq!((whole.framing, whole.keep_alive), (pieces.framing, pieces.keep_alive));
    assert!(whole.fields.iter().eq(pieces.fields.iter()));
}

/// A chunked body; the first byte says how the rest is split. What comes out is written and read again.
pub fn chunked(data: &[u8]) {
    let Some((&size, bytes)) = data.split_first() else { return };
    let whole = decode(bytes, bytes.len().max(1));
    let pieces = decode(bytes, usize::from(size & 0x1f) + 1);
    match (&whole, &pieces) {
        // A trailer line that isn't whole may be refused later in pieces than at once, never the other way round.
        (Err(_), Ok(None)) => {}
        _ => assert_eq!(whole.is_err(), pieces.is_err()),
    }
    let (Ok(Some(whole)), Ok(Some(pieces))) = (whole, pieces) else { return };
    assert_eq!(whole, pieces);
    let mut again = Vec::new();
    whole.0.chunks(100).for_each(|chunk| encode_chunk(&mut again, chunk));
    encode_last_chunk(&mut again, None);
    assert_eq!(decode(&again, 7), Ok(Some((whole.0, again.len()))));
}

/// Parses at once and in pieces. A fault may show later in pieces, or another fault first; nothing else may differ. Is it
/// whole?
fn same_verdict(
    bytes: &[u8],
    size: u8,
    mut parse: impl FnMut(&[u8], bool, &mut Progress) -> Result<Parse, Reject>,
) -> bool {
    let whole = parse(bytes, true, &mut Progress::default());
    let (mut progress, mut end, mut pieces) = (Progress::default(), 0, Ok(Parse::Partial));
    while end < bytes.len() && pieces == Ok(Parse::Partial) {
        end = bytes.len().min(end + usize::from(size & 0x1f) + 1);
        pieces = parse(&bytes[..end], false, &mut progress);
    }
    match (whole, pieces) {
        (Err(_), Err(_) | Ok(Parse::Partial)) => {}
        _ => assert_eq!(whole, pieces),
    }
    matches!(whole, Ok(Parse::Complete(_)))
}

/// The data and the bytes used, if the body is over.
fn decode(bytes: &[u8], piece: usize) -> Result<Option<(Vec<u8>, usize)>, Reject> {
    let (mut decoder, mut data, mut total) = (ChunkedDecoder::new(), Vec::new(), 0);
    for mut rest in bytes.chunks(piece) {
        loop {
            let (used, event) = decoder.decode(rest)?;
            total += used;
            match event {
                ChunkEvent::Data(range) => data.extend_from_slice(&rest[range]),
                ChunkEvent::NeedMore => break,
                ChunkEvent::End => return Ok(Some((data, total))),
            }
            rest = &rest[used..];
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    #[test]
    fn entry_points_run() {
        super::request(b"\x01GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n");
        super::response(b"\x02HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        super::chunked(b"\x033\r\nabc\r\n0\r\nX: y\r\n\r\n");
    }
}
