//! HTTP/1.0 and 1.1 as bytes and messages: no socket, no clock, no thread, no async.
//!
//! | step | module |
//! | --- | --- |
//! | bytes → request head | [`parse_request`] over [`Fields`] |
//! | bytes → response head | [`parse_response`] |
//! | how long is the body | [`Framing`], strict as RFC 9112 §6.3 allows |
//! | chunked body → data and trailers | [`ChunkedDecoder`] |
//! | heads, chunks and dates → bytes | [`encode`], [`chunked`], [`DateCache`] |
//!
//! Everything that a peer sends wrong comes out as one [`Reject`]: a status for a server to answer with, and a
//! reason. After a [`Reject`] the connection must be closed: where the next message begins is unknown.
//!
//! Where this codec is stricter than others on purpose: `docs/http-strictness.md`.

mod bytes;
pub mod chunked;
mod date;
pub mod encode;
mod fields;
mod framing;
#[doc(hidden)]
pub mod fuzz;
mod limits;
mod progress;
mod reject;
mod request;
mod response;
mod scan;
mod special;
mod target;

pub use chunked::{ChunkEvent, ChunkLimits, ChunkedDecoder};
pub use date::DateCache;
pub(crate) use fields::list_items;
pub use fields::{Fields, Iter};
pub use framing::Framing;
pub use limits::HeadLimits;
pub use progress::Progress;
pub use reject::Reject;
pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
pub use target::TargetForm;

/// The protocol version of a message. Others are rejected by the parsers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: closes after each message unless both sides say otherwise; never chunked.
    Http10,
    /// HTTP/1.1: stays open unless one side says otherwise.
    #[default]
    Http11,
}

impl Version {
    /// The version with this minor number, as httparse gives it: 0 or 1.
    #[inline]
    fn of(minor: Option<u8>) -> Self {
        if minor == Some(0) { Version::Http10 } else { Version::Http11 }
    }
}

impl From<Version> for http::Version {
    fn from(version: Version) -> Self {
        match version {
            Version::Http10 => http::Version::HTTP_10,
            Version::Http11 => http::Version::HTTP_11,
        }
    }
}

/// What a parser made of the bytes it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parse {
    /// The head isn't whole: call again with the same bytes and more behind them.
    Partial,
    /// The head is whole and took this many bytes from the front of the buffer.
    Complete(usize),
}
