//! A request's body on its way in: unframed, counted against its limit, handed to the handler as it asks.

use std::task::Waker;

use bytes::Bytes;
use millstream_base::{Error, Kind, Origin};

use crate::codec::{ChunkEvent, ChunkedDecoder, Framing, Reject};
use crate::message::{Feeder, Incoming, incoming};

/// A body that is being read.
pub(crate) struct Intake {
    decoder: Decoder,
    feeder: Feeder,
    /// Bytes the body may still have.
    allowed: u64,
    awaits_continue: bool,
    is_done: bool,
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
            _ => (Decoder::Chunked(Box::new(ChunkedDecoder::new())), None),
        };
        let (feeder, incoming) = incoming(length);
        (Self { decoder, feeder, allowed, awaits_continue, is_done: false }, incoming)
    }

    /// Is the body read to its end?
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Must `100 Continue` be sent before more is read? Asked once.
    pub(crate) fn take_continue(&mut self) -> bool {
        std::mem::take(&mut self.awaits_continue)
    }

    /// Does the client hold the body back until it is told to go on?
    pub(crate) fn awaits_continue(&self) -> bool {
        self.awaits_continue
    }

    /// Does the handler want more? If not, `waker` is called when it does, or when it has dropped the body.
    pub(crate) fn wants_more(&self, waker: &Waker) -> bool {
        !self.is_done && self.feeder.wants_more(waker)
    }

    /// Is a rest of this body short enough to read and drop?
    pub(crate) fn can_drain(&self) -> bool {
        match &self.decoder {
            _ if self.awaits_continue => false,
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
        taken.inspect_err(|reject| self.feeder.fail(Error::from(*reject)))
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
        let mut used = 0;
        while !self.is_done && used < bytes.len() {
            let Decoder::Chunked(decoder) = &mut self.decoder else { break };
            let (count, event) = decoder.decode(&bytes[used..])?;
            match event {
                ChunkEvent::NeedMore => {}
                ChunkEvent::Data(range) => self.feed(&bytes[used..][range])?,
                ChunkEvent::End => {
                    let trailers = decoder.take_trailers();
                    self.finish(trailers);
                }
            }
            used += count;
        }
        Ok(used)
    }

    fn feed(&mut self, data: &[u8]) -> Result<(), Reject> {
        let too_long = Reject::new(413, BODY_LIMIT);
        self.allowed = self.allowed.checked_sub(data.len() as u64).ok_or(too_long)?;
        if !data.is_empty() && !self.feeder.is_reader_gone() {
            self.feeder.push(Bytes::copy_from_slice(data));
        }
        Ok(())
    }

    fn finish(&mut self, trailers: Option<http::HeaderMap>) {
        self.is_done = true;
        self.feeder.finish(trailers);
    }

    /// The client has gone: the handler is told.
    pub(crate) fn on_end(&self) {
        self.feeder.fail(Error::new(Kind::Closed, Origin::Peer, "the client left within its request's body"));
    }

    /// The client was silent for too long: the handler is told.
    pub(crate) fn on_timeout(&self) {
        self.feeder.fail(Error::new(
            Kind::Timeout,
            Origin::Peer,
            "the request's body did not arrive in time",
        ));
    }
}

/// What a body announced as longer than allowed is answered with.
pub(crate) fn check_length(framing: Framing, allowed: u64) -> Result<(), Reject> {
    match framing {
        Framing::Length(length) if length > allowed => Err(Reject::new(413, BODY_LIMIT)),
        _ => Ok(()),
    }
}

const BODY_LIMIT: &str = "body over its limit";
