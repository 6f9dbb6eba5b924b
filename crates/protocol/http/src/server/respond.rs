//! A response as bytes: status, fields, what frames the body, and the first of the body.

use std::time::Instant;

use http::header::{CONTENT_LENGTH, SERVER, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::exchange::Exchange;
use super::output::{COPY_BYTES, Output};
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
#[inline]
pub(crate) fn encode_response(out: &mut Output, response: &mut Response, context: &HeadContext<'_>) -> Rest {
    let Response { status, headers, body, .. } = response;
    if *status == StatusCode::RESET_CONTENT {
        // It says that there is nothing to show (RFC 9110 §15.3.6).
        *body = Body::empty();
    }
    let frame = frame_of(body, context.exchange);
    let tail = out.tail();
    tail.reserve(HEAD_BYTES);
    encode_head(tail, *status, headers, frame, context);
    if !context.exchange.allows_body(*status) {
        return Rest::Whole;
    }
    match body.as_full() {
        Some(bytes) if bytes.len() <= COPY_BYTES => tail.extend_from_slice(bytes),
        Some(_) => out.push(std::mem::take(body).try_into_full().unwrap_or_default()),
        None => return Rest::Stream(std::mem::take(body), frame),
    }
    Rest::Whole
}

/// Appends the head, to its empty line.
pub(super) fn encode_head(
    tail: &mut Vec<u8>,
    status: StatusCode,
    headers: &mut crate::Headers,
    frame: Frame,
    context: &HeadContext<'_>,
) {
    let exchange = context.exchange;
    encode::encode_status_line(tail, Version::Http11, status);
    let said = encode_fields(tail, headers);
    if let Some(server) = context.server.filter(|_| !said.server) {
        encode::encode_field(tail, &SERVER, server);
    }
    encode_frame(tail, status, frame, headers, exchange);
    let is_plain = context.keeps_alive && !said.date && status.as_u16() >= 200 && !exchange.is_connect;
    if is_plain {
        scratch::write_date_and_keep_alive(tail, context.now, context.idle_seconds);
    } else {
        if !said.date {
            scratch::write_date(tail, context.now);
        }
        encode_connection(tail, status, headers, context);
    }
    tail.extend_from_slice(b"\r\n");
}

/// Room for a usual head and a small body, so that the buffer grows once.
const HEAD_BYTES: usize = 512;

/// Which fields that the server would add a handler has set itself.
#[derive(Clone, Copy, Default)]
struct Said {
    date: bool,
    server: bool,
}

/// Appends a handler's fields but for those that frame the message: these the server writes, whatever was set.
#[inline]
fn encode_fields(tail: &mut Vec<u8>, headers: &crate::Headers) -> Said {
    let mut said = Said::default();
    if let Some(media) = headers.media() {
        tail.extend_from_slice(b"Content-Type: ");
        tail.extend_from_slice(media.as_bytes());
        tail.extend_from_slice(b"\r\n");
    }
    for (name, value) in headers.others() {
        // By length first: one compare tells most fields from all of these.
        match name.as_str() {
            "te" | "upgrade" | "connection" | "keep-alive" | "content-length" | "transfer-encoding" => {
                continue;
            }
            "date" => said.date = true,
            "server" => said.server = true,
            _ => {}
        }
        encode::encode_field(tail, name, value);
    }
    said
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

/// What stands in for an interim status that a handler gave as its answer: the client would wait for the real one.
#[cold]
pub(crate) fn interim_response(status: StatusCode) -> Response {
    tracing::error!(%status, "a handler answered with an interim status");
    Response::new(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The whole answer to a request that can't be served: it closes the connection.
pub(crate) fn reject_response(status: u16, reason: &'static str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    Response::text(format!("{reason}\n")).with_status(status).with_close()
}
