//! 206: one part of a file, or several as `multipart/byteranges` (RFC 9110 §14.6).

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderValue};
use rustix::fd::OwnedFd;

use super::body::{FileBody, Part};
use super::source::Source;
use crate::{Body, Response};

/// 206 with these parts of a file.
pub(crate) fn partial(
    file: OwnedFd,
    content_type: &'static str,
    length: u64,
    parts: &[Range<u64>],
) -> Response {
    let source = Source::new(file);
    let response = Response::new(StatusCode::PARTIAL_CONTENT);
    if let [part] = parts {
        let body = FileBody::new(source, [in_file(part)]);
        return response
            .with_header(CONTENT_TYPE, HeaderValue::from_static(content_type))
            .with_header(CONTENT_RANGE, ascii(content_range(part, length)))
            .with_body(Body::stream(body));
    }
    let boundary = boundary();
    let body = FileBody::new(source, multipart(parts, &boundary, content_type, length));
    response
        .with_header(CONTENT_TYPE, ascii(format!("multipart/byteranges; boundary={boundary}")))
        .with_body(Body::stream(body))
}

fn multipart(parts: &[Range<u64>], boundary: &str, content_type: &str, length: u64) -> Vec<Part> {
    let mut body = Vec::with_capacity(parts.len() * 2 + 1);
    for part in parts {
        let start = if body.is_empty() { "" } else { "\r\n" };
        let range = content_range(part, length);
        let head =
            format!("{start}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {range}\r\n\r\n");
        body.push(Part::Text(Bytes::from(head)));
        body.push(in_file(part));
    }
    body.push(Part::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    body
}

fn in_file(part: &Range<u64>) -> Part {
    Part::Range { start: part.start, length: part.end - part.start }
}

fn content_range(part: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", part.start, part.end - 1)
}

/// 128 random bits, so that no file can hold it on purpose.
fn boundary() -> String {
    let random = || RandomState::new().hash_one(0u8);
    format!("{:016x}{:016x}", random(), random())
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("made of ASCII here")
}
