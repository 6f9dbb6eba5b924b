//! The sending half of an exchange: a head, then a body as its source gives it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body as _;
use millstream_base::{Error, Kind, Origin, Result, Seen};
use millstream_transport::Conn;
use tokio::io::AsyncWrite;

use crate::Body;
use crate::codec::chunked;
use crate::server::scratch;

/// What is to be sent behind the head.
pub(crate) enum Upload {
    /// Nothing, or nothing more.
    None,
    /// A body.
    Body(Streamed),
}

/// A body on its way out.
pub(crate) struct Streamed {
    pub(crate) body: Body,
    pub(crate) is_chunked: bool,
    /// Held back until 100, or until the server has been silent for long enough.
    pub(crate) waits: bool,
    /// Bytes that the head announced and that have not been given yet.
    pub(crate) left: Option<u64>,
}

/// Why it could not be sent.
pub(crate) enum Unsent {
    /// The body's source failed, or gave another length than it had said.
    Source(Error),
    /// The connection failed. The reply that explains it may have arrived.
    Socket(io::Error),
}

/// What sending waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// The peer: to take bytes.
    Peer,
    /// The body's source: to give bytes.
    Source,
    /// The peer: to say that it wants the body.
    Continue,
}

/// The sending half of an exchange.
pub(crate) struct Outgoing {
    /// Bytes to send, of which so many are sent.
    output: Vec<u8>,
    sent: usize,
    /// Bytes ever given to the kernel.
    written: u64,
    upload: Upload,
    /// The rest of the body's last piece: a large one is not copied whole.
    piece: Bytes,
    is_body_begun: bool,
    is_done: bool,
    stall: Stall,
}

/// The buffer is sent before it is filled further.
const OUTPUT_BYTES: usize = 64 * 1024;

impl Outgoing {
    /// To send `output`, then `upload`.
    pub(crate) fn new(output: Vec<u8>, upload: Upload) -> Self {
        let (is_body_begun, is_done, stall) = (false, false, Stall::Peer);
        Self { output, sent: 0, written: 0, upload, piece: Bytes::new(), is_body_begun, is_done, stall }
    }

    /// Is everything with the kernel?
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Has a piece of the body been taken from its source?
    pub(crate) fn is_body_begun(&self) -> bool {
        self.is_body_begun
    }

    /// What it waited for when it was last polled.
    pub(crate) fn stall(&self) -> Stall {
        self.stall
    }

    /// Bytes that the kernel took.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// May the peer have seen something?
    pub(crate) fn seen(&self) -> Seen {
        if self.written == 0 { Seen::No } else { Seen::Maybe }
    }

    /// The body need not be held back any longer.
    pub(crate) fn stop_waiting(&mut self) {
        if let Upload::Body(body) = &mut self.upload {
            body.waits = false;
        }
    }

    /// The body, unless a piece of it is gone.
    pub(crate) fn take_untouched_body(&mut self) -> Option<Body> {
        match std::mem::replace(&mut self.upload, Upload::None) {
            Upload::Body(streamed) if !self.is_body_begun => Some(streamed.body),
            _ => None,
        }
    }

    /// Sends what is to be sent. Ready when all of it is with the kernel.
    #[inline]
    pub(crate) fn poll(&mut self, conn: &mut Conn, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        if self.is_done {
            return Poll::Ready(Ok(()));
        }
        loop {
            self.stall = Stall::Peer;
            ready!(self.poll_write(conn, cx)).map_err(Unsent::Socket)?;
            match &mut self.upload {
                Upload::None => break,
                Upload::Body(body) if body.waits => self.stall = Stall::Continue,
                Upload::Body(_) => match self.poll_piece(cx) {
                    Poll::Ready(result) => {
                        result.map_err(Unsent::Source)?;
                        continue;
                    }
                    Poll::Pending => self.stall = Stall::Source,
                },
            }
            // What was written may lie in TLS's buffer while we wait for what comes behind it.
            ready!(Pin::new(&mut *conn).poll_flush(cx)).map_err(Unsent::Socket)?;
            return Poll::Pending;
        }
        ready!(Pin::new(conn).poll_flush(cx)).map_err(Unsent::Socket)?;
        self.is_done = true;
        scratch::put_output(std::mem::take(&mut self.output));
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn poll_write(&mut self, conn: &mut Conn, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.output.len() {
            match ready!(Pin::new(&mut *conn).poll_write(cx, &self.output[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => {
                    self.sent += count;
                    self.written += count as u64;
                }
            }
        }
        self.output.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    /// Gets more of the body into the output buffer.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Upload::Body(streamed) = &mut self.upload else { return Poll::Ready(Ok(())) };
        self.is_body_begun = true;
        while self.output.len() < OUTPUT_BYTES {
            if !self.piece.is_empty() {
                let room = OUTPUT_BYTES - self.output.len();
                let data = self.piece.split_to(self.piece.len().min(room));
                streamed.append(&mut self.output, &data);
                continue;
            }
            let frame = match Pin::new(&mut streamed.body).poll_frame(cx) {
                Poll::Pending if self.output.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(())),
                Poll::Ready(frame) => frame.transpose().map_err(failed)?,
            };
            let trailers = match frame.map(http_body::Frame::into_data) {
                Some(Ok(data)) => {
                    streamed.count(&data)?;
                    self.piece = data;
                    continue;
                }
                Some(Err(frame)) => frame.into_trailers().ok(),
                None => None,
            };
            streamed.end(&mut self.output, trailers.as_ref())?;
            self.upload = Upload::None;
            break;
        }
        Poll::Ready(Ok(()))
    }
}

impl Streamed {
    /// Counts a piece before anything of it is sent: cut where the length ends, the body would look whole.
    fn count(&mut self, piece: &[u8]) -> Result<()> {
        if let Some(left) = &mut self.left {
            let rest = left.checked_sub(piece.len() as u64);
            *left = rest.ok_or_else(|| wrong_length("the body is longer than it said"))?;
        }
        Ok(())
    }

    fn append(&self, out: &mut Vec<u8>, data: &[u8]) {
        if self.is_chunked {
            chunked::encode_chunk(out, data);
        } else {
            out.extend_from_slice(data);
        }
    }

    fn end(&self, out: &mut Vec<u8>, trailers: Option<&HeaderMap>) -> Result<()> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(wrong_length("the body is shorter than it said"));
        }
        if self.is_chunked {
            chunked::encode_last_chunk(out, trailers);
        }
        Ok(())
    }
}

fn wrong_length(message: &'static str) -> Error {
    Error::invalid(message).with_seen(Seen::Maybe)
}

/// The source's own kind would read as if this connection had failed.
fn failed(source: Error) -> Error {
    Error::new(Kind::Io, Origin::Caller, "the request's body failed").with_source(source)
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if !self.is_done {
            scratch::put_output(std::mem::take(&mut self.output));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn large_body_is_copied_a_bufferful_at_a_time() {
        for is_chunked in [false, true] {
            let body = Body::from(vec![b'x'; 10 * OUTPUT_BYTES + 1]);
            let left = (!is_chunked).then(|| body.len().expect("known"));
            let streamed = Streamed { body, is_chunked, waits: false, left };
            let mut outgoing = Outgoing::new(b"head".to_vec(), Upload::Body(streamed));
            let mut content = 0;
            while matches!(outgoing.upload, Upload::Body(_)) {
                let polled = outgoing.poll_piece(&mut Context::from_waker(Waker::noop()));
                assert!(matches!(polled, Poll::Ready(Ok(()))));
                assert!(outgoing.output.len() < OUTPUT_BYTES + 100, "{} bytes", outgoing.output.len());
                content += outgoing.output.iter().filter(|byte| **byte == b'x').count();
                outgoing.output.clear();
            }
            assert_eq!(content, 10 * OUTPUT_BYTES + 1);
        }
    }

    #[test]
    fn nothing_is_sent_of_a_piece_that_is_too_long() {
        let body = Body::from(vec![b'x'; 2 * OUTPUT_BYTES + 1]);
        let left = Some(2 * OUTPUT_BYTES as u64);
        let streamed = Streamed { body, is_chunked: false, waits: false, left };
        let mut outgoing = Outgoing::new(Vec::new(), Upload::Body(streamed));
        let polled = outgoing.poll_piece(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(_))));
        assert!(outgoing.output.is_empty());
    }
}
