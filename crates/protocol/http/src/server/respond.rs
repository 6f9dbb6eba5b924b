//! A response as bytes: status, fields, what frames the body, and the first of the body.

use std::time::Instant;

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, SERVER, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::exchange::Exchange;
use super::output::Output;
use super::{Response, scratch};
use crate::Body;
use crate::codec::{Version, chunked, encode};

/// What the body still needs when the head is out.
pub(crate) enum Rest {
    /// Nothing: the response is whole.
    Whole,
    /// The body is a stream, framed so.
    Stream(Body, Frame),
}

/// How a streamed body ends on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// After so many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection: HTTP/1.0 knows no chunks.
    Close,
}

/// What the head must say beside the response's own fields.
pub(crate) struct HeadContext<'a> {
    pub(crate) exchange: &'a Exchange,
    pub(crate) keeps_alive: bool,
    /// `timeout=60`, announced while the connection is kept.
    pub(crate) idle_seconds: u64,
    pub(crate) now: Instant,
    pub(crate) server: Option<&'a HeaderValue>,
}

/// How this body will be framed, and whether that leaves the connection open.
pub(crate) fn frame_of(body: &Body, exchange: &Exchange) -> Frame {
    match (body.len(), exchange.version) {
        (Some(length), _) => Frame::Length(length),
        (None, Version::Http11) => Frame::Chunked,
        (None, Version::Http10) => Frame::Close,
    }
}

/// Appends head and, when it is there already, body.
pub(crate) fn encode_response(out: &mut Output, response: Response, context: &HeadContext<'_>) -> Rest {
    let Response { status, mut headers, body, .. } = response;
    let exchange = context.exchange;
    let frame = frame_of(&body, exchange);
    let tail = out.tail();
    encode::encode_status_line(tail, Version::Http11, status);
    for (name, value) in headers.iter() {
        if !is_ours(name) {
            encode::encode_field(tail, name, value);
        }
    }
    if !headers.contains(&DATE) {
        scratch::write_date(tail, context.now);
    }
    if let Some(server) = context.server.filter(|_| !headers.contains(&SERVER)) {
        encode::encode_field(tail, &SERVER, server);
    }
    encode_frame(tail, status, frame, &mut headers, exchange);
    encode_connection(tail, status, &headers, context);
    tail.extend_from_slice(b"\r\n");
    if !exchange.allows_body(status) {
        return Rest::Whole;
    }
    match body.try_into_full() {
        Ok(bytes) => {
            out.push(bytes);
            Rest::Whole
        }
        Err(body) => Rest::Stream(body, frame),
    }
}

/// Fields that frame the message: the server writes them, whatever a handler set.
#[inline]
fn is_ours(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH
        || *name == TRANSFER_ENCODING
        || *name == CONNECTION
        || name.as_str() == "keep-alive"
        || *name == UPGRADE
        || *name == TE
}

fn encode_frame(
    tail: &mut Vec<u8>,
    status: StatusCode,
    frame: Frame,
    headers: &mut crate::Headers,
    exchange: &Exchange,
) {
    if !exchange.allows_length(status) {
        return;
    }
    // To HEAD, and with 304, a handler may say how long the body would be.
    let is_bodiless = exchange.is_head || status == StatusCode::NOT_MODIFIED;
    if is_bodiless && let Some(length) = headers.remove(&CONTENT_LENGTH).as_ref().and_then(parse_length) {
        return encode::encode_content_length(tail, length);
    }
    match frame {
        Frame::Length(0) if status == StatusCode::NOT_MODIFIED => {}
        Frame::Length(length) => encode::encode_content_length(tail, length),
        Frame::Chunked => tail.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Frame::Close => {}
    }
}

fn parse_length(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}

#[inline]
fn encode_connection(
    tail: &mut Vec<u8>,
    status: StatusCode,
    headers: &crate::Headers,
    context: &HeadContext<'_>,
) {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        tail.extend_from_slice(b"Connection: upgrade\r\n");
        if let Some(protocol) = headers.get(&UPGRADE) {
            encode::encode_field(tail, &UPGRADE, protocol);
        }
        return;
    }
    if status.is_informational() || (context.exchange.is_connect && status.is_success()) {
        return;
    }
    if !context.keeps_alive {
        tail.extend_from_slice(b"Connection: close\r\n");
        return;
    }
    tail.extend_from_slice(b"Connection: keep-alive\r\nKeep-Alive: timeout=");
    tail.extend_from_slice(itoa::Buffer::new().format(context.idle_seconds).as_bytes());
    tail.extend_from_slice(b"\r\n");
}

/// Appends a piece of a streamed body. Gives whether it broke its own announcement, which must end the connection.
pub(crate) fn encode_piece(
    out: &mut Output,
    frame: &mut Frame,
    data: bytes::Bytes,
) -> Result<(), &'static str> {
    match frame {
        _ if data.is_empty() => {}
        Frame::Length(left) => {
            *left = left.checked_sub(data.len() as u64).ok_or("the body is longer than it said")?;
            out.push(data);
        }
        Frame::Chunked => {
            chunked::encode_chunk_head(out.tail(), data.len() as u64);
            out.push(data);
            out.tail().extend_from_slice(b"\r\n");
        }
        Frame::Close => out.push(data),
    }
    Ok(())
}

/// Appends what ends a streamed body.
pub(crate) fn encode_end(
    out: &mut Output,
    frame: Frame,
    trailers: Option<&HeaderMap>,
) -> Result<(), &'static str> {
    match frame {
        Frame::Length(0) | Frame::Close => Ok(()),
        Frame::Length(_) => Err("the body is shorter than it said"),
        Frame::Chunked => {
            chunked::encode_last_chunk(out.tail(), trailers);
            Ok(())
        }
    }
}

/// The whole answer to a request that can't be served: it closes the connection.
pub(crate) fn reject_response(status: u16, reason: &'static str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    Response::text(format!("{reason}\n")).with_status(status).with_close()
}
