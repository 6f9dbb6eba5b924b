//! A compressed reply's body, undone piece by piece.
//!
//! Never more than a piece is made ahead of who reads, and a body that grows out of all proportion is an error: what
//! reads it to its end must not be the victim of a few kilobytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body as _, Frame};
use millstream_base::{Error, Kind, Origin, Phase, Result, Seen};

use super::head::ReplyHead;
use super::inflate::Inflater;
use crate::Body;

/// The codings this build undoes, as a whole field: the cheapest to undo per byte saved first.
pub(crate) const ACCEPT_ENCODING: &[u8] = match (cfg!(feature = "zstd"), cfg!(feature = "brotli")) {
    (true, true) => b"Accept-Encoding: zstd, br, gzip\r\n",
    (true, false) => b"Accept-Encoding: zstd, gzip\r\n",
    (false, true) => b"Accept-Encoding: br, gzip\r\n",
    (false, false) => b"Accept-Encoding: gzip\r\n",
};

/// A body larger than this and `most_ratio` times what came over the wire is a bomb.
const HARMLESS_BYTES: u64 = 16 * 1024 * 1024;
/// One piece of output.
const PIECE_BYTES: usize = 32 * 1024;

/// Undoes the reply's coding, if it has one that we know; hides the fields that speak of the coded form.
#[inline]
pub(crate) fn decode(head: &mut ReplyHead, body: Body, most_ratio: u32) -> Body {
    if body.is_empty() {
        return body;
    }
    let Some(inflater) = head.fields.get("content-encoding").and_then(Inflater::new) else { return body };
    if head.fields.get_all("content-encoding").count() > 1 {
        return body;
    }
    for name in ["content-encoding", "content-length"] {
        head.fields.remove(name);
    }
    Body::stream(DecodedBody {
        coded: body,
        input: Bytes::new(),
        output: BytesMut::new(),
        inflater,
        read: 0,
        written: 0,
        most_ratio: most_ratio.max(1),
        state: State::Reading,
    })
}

struct DecodedBody {
    coded: Body,
    /// Read and not decoded yet.
    input: Bytes,
    output: BytesMut,
    inflater: Inflater,
    read: u64,
    written: u64,
    most_ratio: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More may come over the wire.
    Reading,
    /// All has come; more may be in the decoder.
    Ended,
    /// Nothing more comes.
    Done,
}

impl DecodedBody {
    /// The next piece of what has come; `None` when more must come first.
    fn step(&mut self) -> Result<Option<Bytes>> {
        loop {
            self.output.resize(PIECE_BYTES, 0);
            let step = self.inflater.step(&self.input, &mut self.output)?;
            self.input.advance(step.read);
            (self.read, self.written) = (self.read + step.read as u64, self.written + step.written as u64);
            if step.written > 0 {
                self.check_growth()?;
                return Ok(Some(self.output.split_to(step.written).freeze()));
            }
            if step.read == 0 || self.input.is_empty() {
                return self.check_stuck().map(|()| None);
            }
        }
    }

    fn check_growth(&self) -> Result<()> {
        let most = self.read.saturating_mul(self.most_ratio.into()).max(HARMLESS_BYTES);
        if self.written <= most {
            return Ok(());
        }
        let message = format!("a body of {} compressed bytes grows over {} bytes", self.read, self.written);
        Err(Error::new(Kind::Limit, Origin::Peer, message))
    }

    /// A decoder that takes nothing and gives nothing would be asked for ever.
    fn check_stuck(&self) -> Result<()> {
        if self.input.is_empty() {
            Ok(())
        } else {
            Err(Error::protocol("malformed body: its coding has ended"))
        }
    }

    /// All has come: is it whole?
    fn check_whole(&self) -> Result<()> {
        if self.inflater.is_complete() || self.read == 0 {
            return Ok(());
        }
        Err(Error::new(Kind::Closed, Origin::Peer, "the compressed body is truncated"))
    }

    fn fail(&mut self, error: Error) -> Error {
        self.state = State::Done;
        // Closes the connection, if it was not read to its end.
        self.coded = Body::empty();
        error.with_phase(Phase::Read).with_seen(Seen::Yes)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>>> {
        loop {
            if self.state == State::Done {
                return Poll::Ready(Ok(None));
            }
            if let Some(piece) = self.step()? {
                return Poll::Ready(Ok(Some(Frame::data(piece))));
            }
            if self.state == State::Ended {
                self.check_whole()?;
                self.state = State::Done;
                continue;
            }
            match ready!(Pin::new(&mut self.coded).poll_frame(cx)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.input = data,
                Some(Err(frame)) => {
                    self.check_whole()?;
                    self.state = State::Done;
                    return Poll::Ready(Ok(Some(Frame::trailers(frame.into_trailers().unwrap_or_default()))));
                }
                None => self.state = State::Ended,
            }
        }
    }
}

impl http_body::Body for DecodedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let next = ready!(self.poll_next(cx));
        Poll::Ready(next.map_err(|error| self.fail(error)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Done
    }
}
