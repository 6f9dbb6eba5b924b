//! A reply's body, read from its connection as somebody asks for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
use millstream_client::{Lease, Worker, now};
use millstream_transport::Cause;
use tokio::io::AsyncReadExt;

use super::drain::{Worth, drain};
use super::exchange::{Ends, end_exchange};
use super::outgoing::{Outgoing, Stall};
use super::wire::Http1;
use crate::codec::{ChunkEvent, ChunkedDecoder, Framing};

/// A reply's body: it holds the connection until the last byte, then gives it back. Dropped earlier, the rest is read and thrown
/// away where that is worth it ([`drain`](super::drain)); else the connection is closed.
pub(crate) struct ReplyBody {
    lease: Option<Lease<Http1>>,
    input: BytesMut,
    decoder: Decoder,
    /// Why the connection is not kept, whatever becomes of the rest of the request.
    farewell: Option<Cause>,
    keep: Duration,
    /// The request's rest, sent while the reply is read.
    outgoing: Option<Box<Outgoing>>,
    read_timeout: Duration,
    whole_by: Option<Deadline>,
    is_armed: bool,
    /// Nobody reads it any more but for the sake of the connection.
    is_unwanted: bool,
}

/// What is left of an exchange when its reply's head is here.
pub(crate) struct Rest {
    pub(crate) lease: Lease<Http1>,
    /// Why the connection is not kept, whatever becomes of the rest of the request.
    pub(crate) farewell: Option<Cause>,
    pub(crate) keep: Duration,
    pub(crate) outgoing: Option<Box<Outgoing>>,
    pub(crate) read_timeout: Duration,
    /// The call's own deadline, if it covers the body.
    pub(crate) whole_by: Option<Deadline>,
}

enum Decoder {
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    UntilClose,
    Done,
}

/// One read of the socket.
const READ_BYTES: usize = 64 * 1024;

impl ReplyBody {
    pub(crate) fn new(rest: Rest, framing: Framing, input: Vec<u8>) -> Self {
        let decoder = match framing {
            Framing::None => Decoder::Length(0),
            Framing::Length(length) => Decoder::Length(length),
            Framing::Chunked => Decoder::Chunked(Box::default()),
            Framing::UntilClose => Decoder::UntilClose,
        };
        // Bytes made of a Vec are unique: this copies nothing.
        let input = Bytes::from(input).try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
        let Rest { lease, farewell, keep, outgoing, read_timeout, whole_by } = rest;
        let mut body = Self {
            lease: Some(lease),
            input,
            decoder,
            farewell,
            keep,
            outgoing,
            read_timeout,
            whole_by,
            is_armed: false,
            is_unwanted: false,
        };
        if matches!(body.decoder, Decoder::Length(0)) {
            body.finish();
        }
        body
    }

    /// Whose reactor its connection belongs to.
    pub(crate) fn worker(&self) -> Option<Worker> {
        self.lease.as_ref().map(|lease| lease.worker().clone())
    }

    /// It must be whole by then.
    pub(crate) fn end_by(&mut self, deadline: Deadline) {
        self.whole_by = Some(deadline);
    }

    /// What its rest is worth, if the connection could serve another request behind it.
    fn worth(&self) -> Option<Worth> {
        let is_kept = self.farewell.is_none() && self.keep > Duration::ZERO && self.outgoing.is_none();
        let rest = match self.decoder {
            Decoder::Length(left) => Some(left),
            Decoder::Chunked(_) => None,
            Decoder::UntilClose | Decoder::Done => return None,
        };
        let lease = self.lease.as_ref().filter(|_| is_kept && !self.is_unwanted)?;
        Some(Worth::of(lease.conn())).filter(|worth| worth.covers(rest))
    }

    /// What is left of it, for nobody.
    fn unwanted(&mut self) -> Self {
        Self {
            lease: self.lease.take(),
            input: std::mem::take(&mut self.input),
            decoder: std::mem::replace(&mut self.decoder, Decoder::Done),
            farewell: None,
            keep: self.keep,
            outgoing: None,
            read_timeout: self.read_timeout,
            whole_by: None,
            is_armed: false,
            is_unwanted: true,
        }
    }

    /// The body is whole.
    fn finish(&mut self) {
        self.decoder = Decoder::Done;
        let Some(lease) = self.lease.take() else { return };
        if self.input.is_empty() {
            end_exchange(lease, Ends::of(self.outgoing.is_none(), self.farewell), self.keep);
        } else {
            // Bytes behind the reply belong to nobody: nothing that comes after can be trusted.
            lease.close(Cause::ParseDesync);
        }
    }

    fn fail(&mut self, error: Error, cause: Cause) -> Error {
        self.decoder = Decoder::Done;
        if let Some(lease) = self.lease.take() {
            lease.close(if self.is_unwanted { Cause::BodyNotDrained } else { cause });
        }
        error.with_phase(Phase::Read).with_seen(Seen::Yes)
    }

    /// Takes a piece from what was read; `None` when more must be read.
    fn take_piece(&mut self) -> Result<Option<Frame<Bytes>>> {
        match &mut self.decoder {
            Decoder::Done => Ok(None),
            Decoder::UntilClose if self.input.is_empty() => Ok(None),
            Decoder::UntilClose => Ok(Some(Frame::data(self.input.split().freeze()))),
            Decoder::Length(_) if self.input.is_empty() => Ok(None),
            Decoder::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(self.input.len());
                *left -= count as u64;
                let is_end = *left == 0;
                let data = self.input.split_to(count).freeze();
                if is_end {
                    self.finish();
                }
                Ok(Some(Frame::data(data)))
            }
            Decoder::Chunked(_) => self.take_chunk(),
        }
    }

    fn take_chunk(&mut self) -> Result<Option<Frame<Bytes>>> {
        let Decoder::Chunked(decoder) = &mut self.decoder else { return Ok(None) };
        let (used, event) = match decoder.decode(&self.input) {
            Ok(decoded) => decoded,
            Err(reject) => {
                let error = Error::protocol(format!("malformed body: {}", reject.reason));
                return Err(self.fail(error, Cause::ProtocolError));
            }
        };
        match event {
            ChunkEvent::NeedMore => {
                self.input.advance(used);
                Ok(None)
            }
            ChunkEvent::Data(range) => {
                let mut piece = self.input.split_to(used);
                piece.truncate(range.end);
                piece.advance(range.start);
                Ok(Some(Frame::data(piece.freeze())))
            }
            ChunkEvent::End => {
                let trailers = decoder.take_trailers();
                self.input.advance(used);
                self.finish();
                Ok(trailers.map(Frame::trailers))
            }
        }
    }

    /// Reads more; `Ready(false)` when the peer has ended.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool>> {
        // Bytes that never stop coming are no excuse; of what nobody wants so many are counted instead.
        if !self.is_unwanted && self.whole_by.is_some_and(|deadline| deadline.is_past(now())) {
            return Poll::Ready(Err(self.fail_late()));
        }
        self.poll_send(cx);
        let Some(lease) = &mut self.lease else { return Poll::Ready(Ok(false)) };
        self.input.reserve(READ_BYTES);
        let read = std::pin::pin!(lease.conn_mut().read_buf(&mut self.input)).poll(cx);
        match read {
            Poll::Ready(Ok(count)) => {
                self.is_armed = false;
                Poll::Ready(Ok(count > 0))
            }
            Poll::Ready(Err(error)) => {
                let error = lease.sort(error);
                let cause = Cause::of_failure(&error);
                Poll::Ready(Err(self.fail(error, cause)))
            }
            Poll::Pending => self.poll_late(cx).map(Err),
        }
    }

    /// Sends more of the request. A server that takes no more of it may have its reasons: the reply goes on.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        let (Some(lease), Some(outgoing)) = (&mut self.lease, &mut self.outgoing) else { return };
        let before = outgoing.written();
        match outgoing.poll(lease.conn_mut(), cx) {
            Poll::Pending => {
                if outgoing.stall() == Stall::Source || outgoing.written() != before {
                    // Whom we keep waiting is not late.
                    self.is_armed = false;
                    lease.timer().disarm();
                }
                return;
            }
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => {
                self.farewell.get_or_insert(Cause::PeerCloseHeader);
            }
        }
        self.outgoing = None;
    }

    /// Ready when the peer has been silent for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(lease) = &self.lease else { return Poll::Pending };
        let waits_for_us = self.outgoing.as_ref().is_some_and(|outgoing| outgoing.stall() == Stall::Source);
        if !self.is_armed || waits_for_us {
            let silence = (!waits_for_us).then(|| Deadline::after(now(), self.read_timeout));
            let Some(deadline) = silence.into_iter().chain(self.whole_by).reduce(Deadline::earlier) else {
                return Poll::Pending;
            };
            lease.timer().arm(deadline.moment());
            self.is_armed = true;
        }
        ready!(lease.timer().poll_expired(cx));
        Poll::Ready(self.fail_late())
    }

    #[cold]
    fn fail_late(&mut self) -> Error {
        if self.whole_by.is_some_and(|deadline| deadline.is_past(now())) {
            let error = Error::new(Kind::Timeout, Origin::Peer, "timed out (the call's deadline)");
            return self.fail(error, Cause::Cancelled);
        }
        self.fail(Error::timeout(Phase::Read, self.read_timeout), Cause::TimeoutRead)
    }

    /// The peer has ended: whole or cut off?
    fn on_end(&mut self) -> Result<()> {
        if matches!(self.decoder, Decoder::UntilClose) {
            self.farewell.get_or_insert(Cause::PeerCloseHeader);
            self.finish();
            return Ok(());
        }
        let missing = match &self.decoder {
            Decoder::Length(left) => format!("the body is truncated: {left} bytes are missing"),
            _ => "the body is truncated: its last chunk is missing".to_owned(),
        };
        Err(self.fail(Error::new(Kind::Closed, Origin::Peer, missing), Cause::ClosedInRequest))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            match this.take_piece() {
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Ok(None) if matches!(this.decoder, Decoder::Done) => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(this.poll_more(cx)) {
                Ok(true) => {}
                Ok(false) => {
                    if let Err(error) = this.on_end() {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.decoder, Decoder::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Length(left) => SizeHint::with_exact(left),
            Decoder::Done => SizeHint::with_exact(0),
            Decoder::Chunked(_) | Decoder::UntilClose => SizeHint::default(),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        // A rest that was read with the last piece is dropped here, and the connection is kept.
        while self.lease.is_some() && !self.input.is_empty() {
            if !matches!(self.take_piece(), Ok(Some(_))) {
                break;
            }
        }
        match self.worth() {
            Some(worth) => drain(self.unwanted(), worth),
            None => self.lease.take().into_iter().for_each(|lease| lease.close(Cause::BodyNotDrained)),
        }
    }
}
