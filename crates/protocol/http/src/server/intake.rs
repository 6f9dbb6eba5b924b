//! A request's body on its way in: unframed, counted against its limit, handed to the handler as it asks.

use std::task::Waker;

use bytes::{Bytes, BytesMut};
use millstream_base::{Error, Kind};

use crate::codec::{ChunkEvent, ChunkedDecoder, Framing, Reject};
use crate::message::{Blame, Feeder, Incoming, incoming};

/// A body that is being read.
pub(crate) struct Intake {
    decoder: Decoder,
    feeder: Feeder,
    /// Bytes the body may still have.
    allowed: u64,
    awaits_continue: bool,
    is_done: bool,
    /// It was malformed, or late, or is cut short: the handler knows, and nothing more is read.
    is_failed: bool,
    /// The handler waits for bytes that are not there: the read timeout runs.
    is_starved: bool,
}

enum Decoder {
    Length { left: u64 },
    Chunked(Box<ChunkedDecoder>),
}

/// A rest of at most this many bytes is read and dropped to keep the connection; a longer one closes it. What a
/// handshake costs in time moves about this much on a 1 Gbit/s path (Go's server uses the same number).
pub(crate) const DRAIN_BYTES: u64 = 256 * 1024;

impl Intake {
    /// The two ends of a body with this framing, which is not empty.
    pub(crate) fn new(framing: Framing, allowed: u64, awaits_continue: bool) -> (Self, Incoming) {
        let (decoder, length) = match framing {
            Framing::Length(left) => (Decoder::Length { left }, Some(left)),
            _ => (Decoder::Chunked(Box::default()), None),
        };
        let (feeder, incoming) = incoming(length);
        (
            Self {
                decoder,
                feeder,
                allowed,
                awaits_continue,
                is_done: false,
                is_failed: false,
                is_starved: false,
            },
            incoming,
        )
    }

    /// Is the body read to its end?
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Does the client hold the body back until it is told to go on?
    pub(crate) fn awaits_continue(&self) -> bool {
        self.awaits_continue
    }

    /// Must `100 Continue` be sent before more is read? Asked once.
    pub(crate) fn take_continue(&mut self) -> bool {
        std::mem::take(&mut self.awaits_continue)
    }

    /// Does the handler want more? If not, `waker` is called when it does, or when it has dropped the body.
    pub(crate) fn wants_more(&self, waker: &Waker) -> bool {
        !self.is_done && !self.is_failed && self.feeder.wants_more(waker)
    }

    /// Is a rest of this body short enough to read and drop?
    pub(crate) fn can_drain(&self) -> bool {
        match &self.decoder {
            _ if self.awaits_continue || self.is_failed => false,
            Decoder::Length { left } => *left <= DRAIN_BYTES,
            Decoder::Chunked(_) => true,
        }
    }

    /// Forgets who reads: what comes is dropped from here on, up to a limit.
    pub(crate) fn start_drain(&mut self) {
        self.allowed = self.allowed.min(DRAIN_BYTES);
    }

    /// Takes what belongs to the body from the front of `bytes`; gives how much that was.
    ///
    /// # Errors
    /// When it is malformed or too long; the handler has been told.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, Reject> {
        self.awaits_continue = false;
        let taken = match &self.decoder {
            Decoder::Length { .. } => self.take_length(bytes),
            Decoder::Chunked(_) => self.take_chunked(bytes),
        };
        taken.inspect_err(|reject| self.fail(Blame::error(Error::from(*reject).kind(), *reject)))
    }

    fn take_length(&mut self, bytes: &[u8]) -> Result<usize, Reject> {
        let Decoder::Length { left } = &mut self.decoder else { return Ok(0) };
        let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
        *left -= count as u64;
        let is_end = *left == 0;
        self.feed(&bytes[..count])?;
        if is_end {
            self.finish(None);
        }
        Ok(count)
    }

    fn take_chunked(&mut self, bytes: &[u8]) -> Result<usize, Reject> {
        let Decoder::Chunked(decoder) = &mut self.decoder else { return Ok(0) };
        let wants_data = !self.feeder.is_reader_gone();
        // What came in one read becomes one piece: a piece costs far more memory than a small chunk.
        let mut data = BytesMut::new();
        let mut used = 0;
        let taken = loop {
            if used == bytes.len() {
                break Ok(None);
            }
            match decoder.decode(&bytes[used..]) {
                Ok((count, event)) => {
                    if let ChunkEvent::Data(range) = &event {
                        let Some(allowed) = self.allowed.checked_sub(range.len() as u64) else {
                            break Err(TOO_LONG);
                        };
                        self.allowed = allowed;
                        if wants_data {
                            data.extend_from_slice(&bytes[used..][range.clone()]);
                        }
                    }
                    used += count;
                    if event == ChunkEvent::End {
                        break Ok(Some(decoder.take_trailers()));
                    }
                }
                Err(reject) => break Err(reject),
            }
        };
        if !data.is_empty() {
            self.feeder.push(data.freeze());
        }
        if let Some(trailers) = taken? {
            self.finish(trailers);
        }
        Ok(used)
    }

    fn feed(&mut self, data: &[u8]) -> Result<(), Reject> {
        self.allowed = self.allowed.checked_sub(data.len() as u64).ok_or(TOO_LONG)?;
        if !data.is_empty() && !self.feeder.is_reader_gone() {
            self.feeder.push(Bytes::copy_from_slice(data));
        }
        Ok(())
    }

    fn finish(&mut self, trailers: Option<http::HeaderMap>) {
        self.is_done = true;
        self.feeder.finish(trailers);
    }

    fn fail(&mut self, error: Error) {
        self.is_failed = true;
        self.feeder.fail(error);
    }

    /// Does the read timeout run? Says so until told otherwise.
    pub(crate) fn is_starved(&self) -> bool {
        self.is_starved
    }

    /// Notes whether the handler waits in vain; gives whether that is news.
    pub(crate) fn set_starved(&mut self, is_starved: bool) -> bool {
        std::mem::replace(&mut self.is_starved, is_starved) != is_starved
    }

    /// The client has gone: the handler is told.
    pub(crate) fn on_end(&mut self) {
        let left = Reject::bad("the client left within its request's body");
        self.fail(Blame::error(Kind::Closed, left));
    }

    /// The client was silent for too long: the handler is told.
    pub(crate) fn on_timeout(&mut self) {
        let late = Reject::new(408, "the request's body did not arrive in time");
        self.fail(Blame::error(Kind::Timeout, late));
    }
}

/// What a body announced as longer than allowed is answered with.
pub(crate) fn check_length(framing: Framing, allowed: u64) -> Result<(), Reject> {
    match framing {
        Framing::Length(length) if length > allowed => Err(TOO_LONG),
        _ => Ok(()),
    }
}

const TOO_LONG: Reject = Reject::new(413, "body over its limit");
