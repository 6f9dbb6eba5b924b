//! Chunked bytes to data and trailers, at any split, without a copy of the data.

use std::ops::Range;

use http::HeaderMap;

use super::ChunkLimits;
use super::trailers::Trailers;
use crate::codec::framing::is_token_byte;
use crate::codec::progress::BARE_LF;
use crate::codec::reject::Reject;

/// Reads one chunked body.
///
/// # Examples
///
/// ```
/// use millstream_http::codec::{ChunkEvent, ChunkedDecoder};
///
/// let (mut decoder, mut rest, mut body) = (ChunkedDecoder::new(), &b"3\r\nabc\r\n0\r\n\r\nnext"[..], Vec::new());
/// loop {
///     let (used, event) = decoder.decode(rest).unwrap();
///     match event {
///         ChunkEvent::Data(range) => body.extend_from_slice(&rest[range]),
///         ChunkEvent::NeedMore => unreachable!("the body is whole"),
///         ChunkEvent::End => {
///             assert_eq!((&body[..], &rest[used..]), (&b"abc"[..], &b"next"[..]));
///             break;
///         }
///     }
///     rest = &rest[used..];
/// }
/// ```
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Hexadecimal digits of the size seen so far.
    digits: u8,
    /// The size being read, then how much of the chunk is to come.
    remaining: u64,
    /// Bytes that extensions may still take; data adds to it.
    allowance: u32,
    limits: ChunkLimits,
    trailers: Option<Box<Trailers>>,
}

/// What [`ChunkedDecoder::decode`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkEvent {
    /// All bytes are used and the body isn't over.
    NeedMore,
    /// Data of the body: this range of the buffer, never empty.
    Data(Range<usize>),
    /// The body is over; the unused bytes belong to the next message.
    End,
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A digit of the size, or, after the first, what ends it.
    Size,
    /// The name of an extension, or a blank before it.
    ExtensionName,
    /// More of an extension, or the CR.
    Extension,
    /// The LF of the size line.
    SizeLf,
    /// Data.
    Data,
    /// The CR behind the data.
    DataCr,
    /// The LF behind the data.
    DataLf,
    /// After the last chunk: the CR of the empty line, or a trailer.
    TrailerStart,
    /// The LF of the empty line, when there is no trailer.
    LastLf,
    /// Trailer lines.
    Trailer,
    /// Over.
    End,
    /// Refused for this reason, for ever.
    Failed(Reject),
}

impl ChunkedDecoder {
    /// A decoder at the beginning of a body, with [`ChunkLimits::DEFAULT`].
    pub fn new() -> Self {
        Self::with_limits(ChunkLimits::DEFAULT)
    }

    /// A decoder at the beginning of a body.
    pub fn with_limits(limits: ChunkLimits) -> Self {
        let allowance = limits.extension_bytes;
        Self { state: State::Size, digits: 0, remaining: 0, allowance, limits, trailers: None }
    }

    /// Reads from the front of `buf`; says how many bytes are done with, and what was found.
    ///
    /// The bytes of a [`ChunkEvent::Data`] are done with once the caller has taken them. Call again with what is behind
    /// the used bytes until [`ChunkEvent::NeedMore`] or [`ChunkEvent::End`].
    ///
    /// # Errors
    ///
    /// A [`Reject`] with 400, or 431 for trailers over the limit; the same one from then on.
    #[inline]
    pub fn decode(&mut self, buf: &[u8]) -> Result<(usize, ChunkEvent), Reject> {
        let mut used = 0;
        while used < buf.len() && !matches!(self.state, State::End) {
            if self.state == State::Data {
                return Ok(self.take_data(used, buf.len()));
            }
            used += match self.step(&buf[used..]) {
                Ok(taken) => taken,
                Err(reject) => {
                    self.state = State::Failed(reject);
                    return Err(reject);
                }
            };
        }
        let event = if self.state == State::End { ChunkEvent::End } else { ChunkEvent::NeedMore };
        Ok((used, event))
    }

    /// Is the body over?
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// The trailers, once the body is over and if there were any. Fields that may not stand there are left out.
    pub fn take_trailers(&mut self) -> Option<HeaderMap> {
        if !self.is_end() {
            return None;
        }
        self.trailers.take().map(|trailers| trailers.into_map()).filter(|map| !map.is_empty())
    }

    fn take_data(&mut self, from: usize, buf_len: usize) -> (usize, ChunkEvent) {
        let taken = self.remaining.min((buf_len - from) as u64);
        self.remaining -= taken;
        self.allowance = self
            .allowance
            .saturating_add(taken.min(u64::from(u32::MAX)) as u32)
            .min(self.limits.extension_bytes);
        if self.remaining == 0 {
            self.state = State::DataCr;
        }
        let end = from + taken as usize;
        (end, ChunkEvent::Data(from..end))
    }

    /// One byte, or some trailer bytes. `buf` isn't empty.
    #[inline]
    fn step(&mut self, buf: &[u8]) -> Result<usize, Reject> {
        let byte = buf[0];
        self.state = match self.state {
            State::Size => self.on_size(byte)?,
            State::ExtensionName => self.on_extension_name(byte)?,
            State::Extension => self.on_extension(byte)?,
            State::SizeLf => {
                expect(byte, b'\n')?;
                if self.remaining == 0 { State::TrailerStart } else { State::Data }
            }
            State::DataCr => expect(byte, b'\r').map(|()| State::DataLf)?,
            State::DataLf => {
                expect(byte, b'\n')?;
                self.digits = 0;
                State::Size
            }
            State::TrailerStart if byte == b'\r' => State::LastLf,
            State::LastLf => expect(byte, b'\n').map(|()| State::End)?,
            State::TrailerStart | State::Trailer => return self.on_trailer(buf),
            State::Failed(reject) => return Err(reject),
            state @ (State::Data | State::End) => state,
        };
        Ok(1)
    }

    #[inline]
    fn on_size(&mut self, byte: u8) -> Result<State, Reject> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(State::SizeLf),
            b';' if self.digits > 0 => return Ok(State::ExtensionName),
            b'\n' => return Err(BARE_LF),
            _ => return Err(Reject::bad("malformed chunk size")),
        };
        if self.digits == MAX_SIZE_DIGITS || self.remaining >> 59 != 0 {
            return Err(Reject::bad("chunk size too large"));
        }
        self.digits += 1;
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn on_extension_name(&mut self, byte: u8) -> Result<State, Reject> {
        self.spend()?;
        match byte {
            b' ' | b'\t' => Ok(State::ExtensionName),
            _ if is_token_byte(byte) => Ok(State::Extension),
            _ => Err(Reject::bad("malformed chunk extension")),
        }
    }

    fn on_extension(&mut self, byte: u8) -> Result<State, Reject> {
        self.spend()?;
        match byte {
            b'\r' => Ok(State::SizeLf),
            b'\n' => Err(BARE_LF),
            b'\t' | b' '..=0x7e | 0x80.. => Ok(State::Extension),
            _ => Err(Reject::bad("malformed chunk extension")),
        }
    }

    fn spend(&mut self) -> Result<(), Reject> {
        self.allowance = self.allowance.checked_sub(1).ok_or(Reject::bad("chunk extensions too long"))?;
        Ok(())
    }

    fn on_trailer(&mut self, buf: &[u8]) -> Result<usize, Reject> {
        let trailers = self.trailers.get_or_insert_default();
        let (used, is_end) = trailers.read(buf, &self.limits)?;
        self.state = if is_end { State::End } else { State::Trailer };
        Ok(used)
    }
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn expect(byte: u8, wanted: u8) -> Result<(), Reject> {
    match byte {
        _ if byte == wanted => Ok(()),
        b'\n' => Err(BARE_LF),
        _ => Err(Reject::bad("malformed chunk end")),
    }
}

/// 16 digits are 64 bits, and leading zeros need no more room than that.
const MAX_SIZE_DIGITS: u8 = 16;
