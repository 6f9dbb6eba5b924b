//! A compressed reply's body, undone piece by piece.
//!
//! Never more than a piece is made ahead of who reads, and a body that grows out of all proportion is an error: what
//! reads it to its end must not be the victim of a few kilobytes.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame};
use millstream_base::{Error, Kind, Origin, Phase, Result, Seen};

use super::head::ReplyHead;
use super::inflate::Inflater;
use crate::Body;

/// The codings this build undoes, as a whole field: the cheapest to undo per byte saved first. deflate
/// stands last: it is gzip with less of a checksum, and of two kinds that are told apart only by looking.
pub(crate) const ACCEPT_ENCODING: &[u8] = match (cfg!(feature = "zstd"), cfg!(feature = "brotli")) {
    (true, true) => b"Accept-Encoding: zstd, br, gzip, deflate\r\n",
    (true, false) => b"Accept-Encoding: zstd, gzip, deflate\r\n",
    (false, true) => b"Accept-Encoding: br, gzip, deflate\r\n",
    (false, false) => b"Accept-Encoding: gzip, deflate\r\n",
};

/// A body larger than this and `most_ratio` times what came over the wire is a bomb.
const HARMLESS_BYTES: u64 = 16 * 1024 * 1024;
/// One piece of output.
const PIECE_BYTES: usize = 32 * 1024;

thread_local! {
    /// Room for one piece, used in turn by all bodies that this thread decodes: a body that waits holds none.
    static ROOM: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

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
    Body::stream(DecodedBody::new(inflater, body, most_ratio))
}

struct DecodedBody {
    coded: Body,
    /// Read and not decoded yet.
    input: Bytes,
    inflater: Inflater,
    /// May the decoder hold output of what it has read? Only then is it asked without input: zstd takes being asked in
    /// vain too often for an error.
    may_hold: bool,
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
    fn new(inflater: Inflater, coded: Body, most_ratio: u32) -> Self {
        Self {
            coded,
            input: Bytes::new(),
            inflater,
            may_hold: false,
            read: 0,
            written: 0,
            most_ratio: most_ratio.max(1),
            state: State::Reading,
        }
    }

    /// The next piece of what has come; `None` when more must come first.
    fn step(&mut self) -> Result<Option<Bytes>> {
        if self.input.is_empty() && !self.may_hold {
            return Ok(None);
        }
        let mut room = ROOM.take().unwrap_or_else(|| vec![0; PIECE_BYTES].into_boxed_slice());
        let piece = self.fill(&mut room);
        ROOM.set(Some(room));
        piece
    }

    /// The same, made in this room; a copy, so that a small piece that is kept holds no more than its bytes.
    fn fill(&mut self, room: &mut [u8]) -> Result<Option<Bytes>> {
        loop {
            let step = self.inflater.step(&self.input, room)?;
            self.input.advance(step.read);
            (self.read, self.written) = (self.read + step.read as u64, self.written + step.written as u64);
            // Room that was left says nothing: a decoder may stop at the end of its window.
            self.may_hold = step.written > 0;
            if step.written > 0 {
                self.check_growth()?;
                return Ok(Some(Bytes::copy_from_slice(&room[..step.written])));
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::compress::{Coding, Encoder};

    /// Codings of this build, by name.
    fn codings() -> impl Iterator<Item = (&'static str, Encoder)> {
        [Coding::Gzip, Coding::Brotli, Coding::Zstd]
            .into_iter()
            .filter_map(|coding| Some((coding.name(), Encoder::new(coding)?)))
    }

    fn decoded(coding: &str, coded: Body) -> Body {
        Body::stream(DecodedBody::new(Inflater::new(coding.as_bytes()).expect("known"), coded, 200))
    }

    /// What was flushed of this.
    fn flushed(encoder: &mut Encoder, plain: &[u8]) -> Vec<u8> {
        encoder.write(plain).expect("memory");
        encoder.flush().expect("memory");
        encoder.take()
    }

    #[tokio::test]
    async fn pause_polled_again_and_again_is_no_error() {
        for (coding, mut encoder) in codings() {
            let (sender, body) = Body::channel(4);
            let mut body = decoded(coding, body);
            let mut cx = Context::from_waker(Waker::noop());
            for piece in ["one", "two", "three"] {
                for turn in 0..40 {
                    let polled = Pin::new(&mut body).poll_frame(&mut cx);
                    assert!(polled.is_pending(), "{coding} at poll {turn} before {piece}: {polled:?}");
                }
                sender.send(flushed(&mut encoder, piece.as_bytes())).await.expect("read");
                assert_eq!(body.chunk().await.expect("more").expect(coding), piece);
                sender.send(Bytes::new()).await.expect("read");
            }
            sender.send(encoder.finish().expect("memory")).await.expect("read");
            drop(sender);
            assert!(body.chunk().await.is_none(), "{coding}");
        }
    }

    #[tokio::test]
    async fn all_that_the_decoder_holds_comes_before_more_is_read() {
        let plain = Bytes::from(vec![b'a'; 5 * PIECE_BYTES + 1]);
        for (coding, mut encoder) in codings() {
            let (sender, body) = Body::channel(4);
            let mut body = decoded(coding, body);
            sender.send(flushed(&mut encoder, &plain)).await.expect("read");
            let mut cx = Context::from_waker(Waker::noop());
            let mut whole = Vec::new();
            while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
                whole.extend_from_slice(&frame.expect(coding).into_data().expect("data"));
            }
            assert!(whole == plain, "{coding}: {} bytes", whole.len());
        }
    }

    #[tokio::test]
    async fn piece_that_is_kept_holds_no_more_than_its_bytes() {
        for (coding, mut encoder) in codings() {
            let (sender, body) = Body::channel(4);
            let mut body = decoded(coding, body);
            let mut kept = Vec::new();
            for _ in 0..3 {
                sender.send(flushed(&mut encoder, b"small")).await.expect("read");
                kept.push(body.chunk().await.expect("more").expect(coding));
            }
            drop(body);
            for piece in kept {
                assert_eq!(piece.try_into_mut().expect("shared with none").capacity(), 5, "{coding}");
            }
        }
    }
}
