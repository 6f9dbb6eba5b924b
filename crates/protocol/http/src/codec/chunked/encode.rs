//! Data and trailers to chunked bytes.
//!
//! ```
//! use millstream_http::codec::chunked::{encode_chunk, encode_last_chunk};
//!
//! let mut out = Vec::new();
//! encode_chunk(&mut out, b"hello");
//! encode_last_chunk(&mut out, None);
//! assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n");
//! ```

use http::HeaderMap;

use super::trailers::may_trail;
use crate::codec::encode::encode_field;

/// What follows the data of each chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// Appends the line before the data of a chunk of this size. The data and [`CHUNK_END`] must follow.
///
/// Nothing is written for a size of 0, which would end the body: skip the chunk then.
#[inline]
pub fn encode_chunk_head(out: &mut Vec<u8>, size: u64) {
    if size == 0 {
        return;
    }
    let mut line = [0; 18];
    let mut at = line.len() - 2;
    line[at..].copy_from_slice(b"\r\n");
    let mut rest = size;
    while rest != 0 {
        at -= 1;
        line[at] = b"0123456789abcdef"[(rest & 0xf) as usize];
        rest >>= 4;
    }
    out.extend_from_slice(&line[at..]);
}

/// Appends a whole chunk; nothing if there is no data.
#[inline]
pub fn encode_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    encode_chunk_head(out, data.len() as u64);
    out.extend_from_slice(data);
    out.extend_from_slice(CHUNK_END);
}

/// Appends the end of the body, with trailers if there are any. Fields that may not stand there are left out.
pub fn encode_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if may_trail(name) {
            encode_field(out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
}
