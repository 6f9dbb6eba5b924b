//! One request and its reply's head on one connection.
//!
//! The request goes out while the reply is watched for: a server that answers early (413, a redirect) is heard even if it
//! reads no more, and then nothing more of the body is sent.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http_body::Body as _;
use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
use millstream_client::{Failed, Lease, now, turn_now};
use millstream_transport::{Cause, ConnState};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::ReplyHead;
use super::reply_body::ReplyBody;
use super::wire::{Http1, UpgradedConn, Upload, WireReply, WireRequest, malformed};
use crate::Body;
use crate::codec::{Framing, Parse, Progress, parse_response};
use crate::server::scratch;

/// One request and its reply's head on one connection.
pub(crate) struct Exchange<'a> {
    protocol: &'a Http1,
    lease: Lease<Http1>,
    method: Method,
    /// Bytes to send, of which so many are sent.
    output: Vec<u8>,
    sent: usize,
    /// Bytes ever given to the kernel.
    written: u64,
    upload: Upload,
    is_body_begun: bool,
    /// Bytes of the reply that were read and not used.
    input: Vec<u8>,
    head: ReplyHead,
    progress: Progress,
    deadline: Deadline,
    phase: Phase,
    limit: Duration,
    interims: u32,
}

/// Interim replies (1xx) to one request at most: more is a flood. A guess; servers send one or two.
const MOST_INTERIMS: u32 = 32;
/// The upload's buffer is sent before it is filled further.
const OUTPUT_BYTES: usize = 64 * 1024;

impl<'a> Exchange<'a> {
    /// Sends the request and gives the reply.
    pub(crate) async fn run(
        protocol: &'a Http1,
        lease: Lease<Http1>,
        mut request: WireRequest,
        deadline: Deadline,
    ) -> Result<WireReply, Failed<WireRequest>> {
        let mut output = scratch::take_output();
        let upload = match request.encode(&mut output) {
            Ok(upload) => upload,
            Err(error) => {
                lease.release(now());
                return Err(Failed::new(error));
            }
        };
        let mut exchange = Self {
            protocol,
            lease,
            method: request.method.clone(),
            output,
            sent: 0,
            written: 0,
            upload,
            is_body_begun: false,
            input: Vec::new(),
            head: ReplyHead::take(),
            progress: Progress::default(),
            deadline,
            phase: Phase::Write,
            limit: protocol.first_byte_timeout,
            interims: 0,
        };
        exchange.begin();
        let outcome = poll_fn(|cx| exchange.poll(cx)).await;
        match outcome {
            Ok(()) => Ok(exchange.into_reply()),
            Err(error) => Err(exchange.into_failed(error, request)),
        }
    }

    fn begin(&mut self) {
        let moment = turn_now();
        let life = self.lease.conn_mut().life();
        life.set_state(ConnState::Busy, moment);
        life.count_message();
        self.arm(moment);
    }

    fn arm(&self, moment: Instant) {
        self.lease.arm(moment, self.limit, self.deadline);
    }

    /// Ready when the reply's head is whole.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        // A failed write is not the last word: the reply that explains it may lie in the socket.
        let write_error = match self.poll_upload(cx) {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        match self.poll_head(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(write_error.unwrap_or(error))),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Pending => {
                if let Some(error) = write_error {
                    return Poll::Ready(Err(error));
                }
                self.lease.timer().poll_expired(cx).map(|()| Err(self.late()))
            }
        }
    }

    fn late(&self) -> Error {
        let is_deadline = self.deadline.is_past(now());
        let what = if is_deadline { "the call's deadline" } else { "its limit" };
        let seen = if self.written == 0 { Seen::No } else { Seen::Maybe };
        Error::new(Kind::Timeout, Origin::Peer, format!("timed out ({what})"))
            .with_phase(self.phase)
            .with_seen(seen)
    }

    /// Sends what is to be sent. Ready when all of it is with the kernel.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            while self.sent < self.output.len() {
                let conn = Pin::new(self.lease.conn_mut());
                match conn.poll_write(cx, &self.output[self.sent..]) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(self.write_error(std::io::ErrorKind::WriteZero.into())));
                    }
                    Poll::Ready(Ok(count)) => {
                        self.sent += count;
                        self.written += count as u64;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(self.write_error(error))),
                }
            }
            self.output.clear();
            self.sent = 0;
            if matches!(self.upload, Upload::None) {
                if self.phase == Phase::Write {
                    self.on_sent();
                }
                return Pin::new(self.lease.conn_mut()).poll_flush(cx).map_err(Error::io);
            }
            std::task::ready!(self.poll_piece(cx))?;
        }
    }

    /// The whole request is with the kernel: the wait for the first byte begins.
    fn on_sent(&mut self) {
        self.phase = Phase::FirstByte;
        if self.is_body_begun {
            self.arm(turn_now());
        }
    }

    fn write_error(&self, error: std::io::Error) -> Error {
        let seen = if self.written == 0 { Seen::No } else { Seen::Maybe };
        Error::io(error).with_phase(Phase::Write).with_seen(seen)
    }

    /// Gets more of the body into the output buffer.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Upload::Body { body, is_chunked, waits, left } = &mut self.upload else {
            return Poll::Ready(Ok(()));
        };
        if *waits {
            // Until 100, a final reply, or the limit: `on_interim` and `poll_wait` end it.
            return self.poll_wait(cx);
        }
        self.is_body_begun = true;
        let is_chunked = *is_chunked;
        while self.output.len() < OUTPUT_BYTES {
            let frame = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending if self.output.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(())),
                Poll::Ready(frame) => frame,
            };
            let trailers = match frame {
                Some(Err(error)) => return Poll::Ready(Err(error.with_seen(Seen::Maybe))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(left) = left {
                            let rest = left.checked_sub(data.len() as u64);
                            *left = rest.ok_or_else(|| Error::invalid("the body is longer than it said"))?;
                        }
                        Upload::encode_piece(&mut self.output, is_chunked, &data);
                        continue;
                    }
                    Err(frame) => frame.into_trailers().ok(),
                },
                None => None,
            };
            if left.is_some_and(|left| left > 0) {
                return Poll::Ready(Err(Error::invalid("the body is shorter than it said")));
            }
            Upload::encode_end(&mut self.output, is_chunked, trailers.as_ref());
            self.upload = Upload::None;
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Ok(()))
    }

    /// `Expect: 100-continue`: the body is held back until the timer says that the server is silent.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.phase == Phase::Write {
            self.phase = Phase::FirstByte;
            self.lease.arm(now(), self.protocol.continue_timeout, self.deadline);
        }
        let is_silent = self.lease.timer().poll_expired(cx).is_ready() && !self.deadline.is_past(now());
        if !is_silent {
            return Poll::Pending;
        }
        self.stop_waiting();
        Poll::Ready(Ok(()))
    }

    fn stop_waiting(&mut self) {
        if let Upload::Body { waits, .. } = &mut self.upload {
            *waits = false;
            self.phase = Phase::Write;
            self.arm(now());
        }
    }

    /// Reads until the final reply's head is whole.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            let mut buffer = scratch::take_input();
            let mut buf = ReadBuf::new(&mut buffer);
            let read = Pin::new(self.lease.conn_mut()).poll_read(cx, &mut buf);
            let parsed = match read {
                Poll::Pending => None,
                Poll::Ready(Ok(())) if buf.filled().is_empty() => Some(Err(self.ended())),
                Poll::Ready(Ok(())) => Some(self.take_bytes(buf.filled(), cx)),
                Poll::Ready(Err(error)) => Some(Err(self.read_error(error))),
            };
            scratch::put_input(buffer);
            match parsed {
                None => return Poll::Pending,
                Some(Ok(false)) => {}
                Some(Ok(true)) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn seen(&self) -> Seen {
        match (self.phase, self.written) {
            (Phase::Read, _) => Seen::Yes,
            (_, 0) => Seen::No,
            _ => Seen::Maybe,
        }
    }

    #[cold]
    fn ended(&self) -> Error {
        let what = if self.phase == Phase::Read {
            "closed within the reply's head"
        } else {
            "closed without a reply"
        };
        Error::new(Kind::Closed, Origin::Peer, what).with_phase(self.phase).with_seen(self.seen())
    }

    #[cold]
    fn read_error(&self, error: std::io::Error) -> Error {
        Error::io(error).with_phase(self.phase).with_seen(self.seen())
    }

    /// Looks at what came; says whether the final head is whole.
    fn take_bytes(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Result<bool> {
        self.phase = Phase::Read;
        if self.input.is_empty() {
            let (used, is_whole) = self.parse(bytes)?;
            self.input.extend_from_slice(&bytes[used..]);
            return Ok(is_whole);
        }
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let (used, is_whole) = self.parse(&input)?;
        self.input = input;
        self.input.drain(..used);
        if matches!(self.upload, Upload::Body { .. }) {
            // An interim reply may have set the upload free.
            cx.waker().wake_by_ref();
        }
        Ok(is_whole)
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<(usize, bool)> {
        let mut used = 0;
        loop {
            let head = &mut *self.head;
            let parsed =
                parse_response(&bytes[used..], &self.protocol.head, &self.method, head, &mut self.progress);
            match parsed.map_err(malformed)? {
                Parse::Partial => return Ok((used, false)),
                Parse::Complete(count) => used += count,
            }
            if !self.head.is_interim() {
                return Ok((used, true));
            }
            self.on_interim()?;
            if used == bytes.len() {
                return Ok((used, false));
            }
        }
    }

    #[cold]
    fn on_interim(&mut self) -> Result<()> {
        self.interims += 1;
        if self.interims > MOST_INTERIMS {
            return Err(Error::protocol("too many interim replies").with_seen(Seen::Yes));
        }
        if self.head.status == http::StatusCode::CONTINUE {
            self.stop_waiting();
        }
        Ok(())
    }

    /// The reply, with its body; the connection goes back at once when the body is there already.
    fn into_reply(mut self) -> WireReply {
        let is_reused = self.lease.is_reused();
        let head = std::mem::replace(&mut self.head, ReplyHead::take());
        let input = std::mem::take(&mut self.input);
        scratch::put_output(std::mem::take(&mut self.output));
        let is_request_whole = matches!(self.upload, Upload::None) && self.sent == 0;
        let Self { protocol, lease, .. } = self;
        if head.upgrade {
            let upgraded = Some(UpgradedConn { lease, early: input.into() });
            return WireReply { head, body: Body::empty(), upgraded, is_reused };
        }
        let keeps_alive = head.keep_alive && is_request_whole;
        let keep = head.keep_alive_timeout.map_or(Duration::MAX, idle_span);
        let body = match whole_body(head.framing, &input) {
            Some(bytes) => {
                end_exchange(lease, keeps_alive, keep);
                bytes
            }
            None => Body::stream(ReplyBody::new(
                lease,
                head.framing,
                input,
                keeps_alive,
                keep,
                protocol.read_timeout,
            )),
        };
        WireReply { head, body, upgraded: None, is_reused }
    }

    fn into_failed(mut self, error: Error, mut request: WireRequest) -> Failed<WireRequest> {
        scratch::put_output(std::mem::take(&mut self.output));
        let cause = match error.kind() {
            Kind::Timeout => Cause::TimeoutRead,
            Kind::Protocol | Kind::Limit => Cause::ProtocolError,
            Kind::Closed | Kind::Reset if self.lease.is_reused() && self.phase != Phase::Read => {
                Cause::StaleOnCheckout
            }
            Kind::Closed | Kind::Reset => Cause::ResetInRequest,
            _ => Cause::Cancelled,
        };
        let is_body_begun = self.is_body_begun;
        if let Upload::Body { body, .. } = std::mem::replace(&mut self.upload, Upload::None)
            && !is_body_begun
        {
            // The stream was not touched: it goes back with the request.
            request.body = body;
        }
        let is_whole = !is_body_begun || request.body.try_clone().is_some_and(|body| !body.is_empty());
        self.lease.close(cause);
        if is_whole { Failed::with_request(error, request) } else { Failed::new(error) }
    }
}

/// A server's announced idle time, less what a request needs to get there: the keep-alive race is lost by whoever uses
/// the last second.
fn idle_span(announced: Duration) -> Duration {
    let margin = (announced / 20).clamp(Duration::from_millis(50), Duration::from_secs(1));
    announced.saturating_sub(margin)
}

/// The body, when all of it came with the head.
#[inline]
fn whole_body(framing: Framing, input: &[u8]) -> Option<Body> {
    match framing {
        Framing::None | Framing::Length(0) if input.is_empty() => Some(Body::empty()),
        Framing::Length(length) if length == input.len() as u64 && length > 0 => {
            Some(Body::from(Bytes::copy_from_slice(input)))
        }
        _ => None,
    }
}

/// The exchange is over: the connection goes back, or ends.
#[inline]
pub(crate) fn end_exchange(lease: Lease<Http1>, keeps_alive: bool, keep: Duration) {
    if keeps_alive && keep > Duration::ZERO {
        lease.release_for(turn_now(), keep);
    } else {
        lease.close(Cause::PeerCloseHeader);
    }
}
