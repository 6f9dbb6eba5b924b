//! The heads of plain responses, each written once a second and copied from then on.
//!
//! Most responses of a service have the same head but for the length: status, a Content-Type that lives as long as the
//! program, Date, and what keeps the connection. To write it anew takes three times as many instructions as to copy it.

use std::cell::RefCell;

use http::{HeaderValue, StatusCode};

use super::output::COPY_BYTES;
use super::respond::{self, Frame, HeadContext};
use super::{Response, scratch};

/// Heads kept by a worker: a service has few that come again and again. 200 bytes each.
const KEPT: usize = 16;

/// What a plain head depends on, besides the second.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    /// Which server: its name and its idle timeout stand in the head.
    server: u64,
    /// The address of what lives as long as the program.
    media: usize,
    length: usize,
    status: u16,
}

#[derive(Default)]
struct Kept {
    key: Option<Key>,
    /// The second that its Date is of.
    second: u64,
    bytes: Vec<u8>,
}

thread_local! {
    static HEADS: RefCell<[Kept; KEPT]> = RefCell::default();
}

/// The body of a response that has nothing but it, a status that allows one, and perhaps a Content-Type.
#[inline]
pub(super) fn plain_body(response: &Response) -> Option<&[u8]> {
    let is_plain = response.status == StatusCode::OK
        && response.headers.others().is_empty()
        && response.upgrade.is_none()
        && !response.closes;
    response.body.as_full().filter(|bytes| is_plain && bytes.len() <= COPY_BYTES)
}

/// Appends a plain response, head and `body`, as [`respond::encode_response`] would. `server` names the server.
#[inline]
pub(super) fn encode(
    tail: &mut Vec<u8>,
    response: &Response,
    body: &[u8],
    context: &HeadContext<'_>,
    server: u64,
) {
    let media = response.headers.media().map_or(0, |media| std::ptr::from_ref::<HeaderValue>(media).addr());
    let key = Key { server, media, length: body.len(), status: response.status.as_u16() };
    let second = scratch::second_of(context.now);
    HEADS.with_borrow_mut(|heads| {
        let kept = &mut heads[(key.length ^ (media >> 4)) % KEPT];
        if kept.second != second || kept.key != Some(key) {
            kept.renew(response, context);
            (kept.key, kept.second) = (Some(key), second);
        }
        tail.reserve(kept.bytes.len() + body.len());
        tail.extend_from_slice(&kept.bytes);
    });
    tail.extend_from_slice(body);
}

impl Kept {
    #[cold]
    fn renew(&mut self, response: &Response, context: &HeadContext<'_>) {
        self.bytes.clear();
        let frame = Frame::Length(response.body.len().unwrap_or_default());
        let mut headers = response.headers.clone();
        respond::encode_head(&mut self.bytes, response.status, &mut headers, frame, context);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::exchange::Exchange;
    use super::super::output::Output;
    use super::*;

    fn both_ways(response: &Response, server: u64, idle_seconds: u64, now: Instant) -> [Vec<u8>; 2] {
        let exchange = Exchange { keeps_alive: true, ..Exchange::none(now) };
        let context = HeadContext { exchange: &exchange, keeps_alive: true, idle_seconds, now, server: None };
        let (mut plain, mut full) = (Vec::new(), Output::default());
        let body = plain_body(response).expect("it is plain");
        encode(&mut plain, response, body, &context, server);
        let mut copy = Response::new(response.status).with_body(body.to_vec());
        copy.headers = response.headers.clone();
        respond::encode_response(&mut full, &mut copy, &context);
        [plain, std::mem::take(full.tail())]
    }

    #[test]
    fn kept_head_is_the_one_that_would_be_written() {
        let start = Instant::now();
        for step in 0..200_u64 {
            let now = start + Duration::from_millis(step * 37);
            // More shapes than places, so that they push each other out; each also twice in a row.
            for length in [0, 1, 16, 17, 64, 64, 1000] {
                for response in [Response::text("x".repeat(length)), Response::bytes("y".repeat(length))] {
                    let [plain, full] = both_ways(&response, step % 3, 60 + step % 3, now);
                    assert_eq!(String::from_utf8(plain), String::from_utf8(full));
                }
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_told() {
        let plain = || Response::text("a");
        assert_eq!(plain_body(&plain()), Some(&b"a"[..]));
        assert!(plain_body(&plain().with_close()).is_none());
        assert!(plain_body(&plain().with_status(StatusCode::NO_CONTENT)).is_none());
        assert!(plain_body(&plain().with_status(StatusCode::NOT_MODIFIED)).is_none());
        assert!(
            plain_body(&plain().with_header(http::header::ETAG, HeaderValue::from_static("a"))).is_none()
        );
        assert!(plain_body(&Response::upgrade(async |_| {})).is_none());
        assert!(plain_body(&Response::text("a".repeat(COPY_BYTES))).is_some());
        assert!(plain_body(&Response::text("a".repeat(COPY_BYTES + 1))).is_none());
    }
}
