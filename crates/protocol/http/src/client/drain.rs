//! The rest of a reply that nobody wants: read and thrown away where that costs less than a new connection.
//!
//! HTTP/1.1 can't skip it: a connection serves another request only when the reply before it was read to its end (RFC 9112
//! section 9.3). Closing costs a handshake, and a local port while TIME_WAIT lasts; so the scarcer ports are, the more is read.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use millstream_base::Deadline;
use millstream_client::transport::Conn;
use millstream_client::{now, spawn_local};

use super::reply_body::ReplyBody;

/// As much is read for the sake of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Worth {
    bytes: u64,
    time: Duration,
}

/// What Go reads of a body that was closed early (net/http, golang/go#77370).
const BYTES: u64 = 256 * 1024;
/// A connection is worth this many times the span that its handshakes took: the next one begins with a small window, too.
const HANDSHAKES: u32 = 4;
/// On a host of its own a handshake takes next to nothing, and the peer's work counts as well.
const LEAST_TIME: Duration = Duration::from_millis(10);
/// A redirect is held up no longer either.
pub(super) const MOST_TIME: Duration = Duration::from_millis(250);
/// From here on it does not get more, however scarce ports are.
const MOST_VALUE: u32 = 8;

impl Worth {
    /// What this connection is worth now.
    pub(crate) fn of(conn: &Conn) -> Self {
        let life = conn.life();
        let peer = life.peer().as_tcp();
        let level = life.table().ports().level(peer, std::time::Instant::now());
        // Calm 1, careful 2, tight 4, critical 8.
        Self::with(life.handshake_time(), 1 << (level as u32))
    }

    fn with(handshake: Duration, value: u32) -> Self {
        let value = value.min(MOST_VALUE);
        let time = (handshake * HANDSHAKES).max(LEAST_TIME) * value;
        Self { bytes: BYTES * u64::from(value), time: time.min(MOST_TIME) }
    }

    /// Is a rest of this length, if it is known, worth beginning with?
    pub(crate) fn covers(self, rest: Option<u64>) -> bool {
        rest.is_none_or(|rest| rest <= self.bytes)
    }
}

/// Reads `body` to its end on its connection's worker, as far as that is worth it; what is left then is closed with it.
pub(crate) fn drain(mut body: ReplyBody, worth: Worth) {
    let Some(worker) = body.worker() else { return };
    body.end_by(Deadline::after(now(), worth.time));
    // Where the engine has stopped the body is dropped, and its connection closed.
    let _ = worker.run(move || drop(spawn_local(read_out(body, worth.bytes))));
}

async fn read_out(mut body: ReplyBody, bytes: u64) {
    let mut left = bytes;
    while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let size = frame.data_ref().map_or(0, Bytes::len) as u64;
        match left.checked_sub(size) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worth_rises_with_the_handshake_and_the_want_of_ports_within_bounds() {
        let ms = Duration::from_millis;
        for (handshake, value, bytes, time) in [
            (ms(0), 1, 256, ms(10)),
            (ms(2), 1, 256, ms(10)),
            (ms(20), 1, 256, ms(80)),
            (ms(20), 2, 512, ms(160)),
            (ms(1000), 8, 2048, ms(250)),
            (ms(0), 64, 2048, ms(80)),
        ] {
            let worth = Worth::with(handshake, value);
            assert_eq!(worth, Worth { bytes: bytes * 1024, time }, "{handshake:?} x {value}");
            assert!(worth.covers(None) && worth.covers(Some(bytes * 1024)));
            assert!(!worth.covers(Some(bytes * 1024 + 1)));
        }
    }
}
