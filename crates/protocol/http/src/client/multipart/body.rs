//! Several bodies in a row as one.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use millstream_base::{Error, Result};

use crate::Body;

/// A piece of a body.
#[derive(Debug)]
pub(super) enum Segment {
    Bytes(Bytes),
    Stream(Body),
}

impl Segment {
    pub(super) fn new(body: Body) -> Self {
        match body.try_into_full() {
            Ok(bytes) => Self::Bytes(bytes),
            Err(body) => Self::Stream(body),
        }
    }

    fn len(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Stream(body) => body.len(),
        }
    }
}

/// Several bodies in a row as one.
pub(super) struct Joined(VecDeque<Segment>);

/// Bytes up to so many are copied to those beside them, larger ones are sent as they lie there. As large as a body that
/// is sent along with its head, which must be one piece.
const SMALL_BYTES: usize = 16 * 1024;

impl Joined {
    /// Small bytes beside each other become one piece.
    pub(super) fn new(segments: Vec<Segment>) -> Self {
        let mut joined = VecDeque::new();
        let mut small = BytesMut::new();
        for segment in segments {
            match segment {
                Segment::Bytes(bytes) if bytes.len() <= SMALL_BYTES => small.extend_from_slice(&bytes),
                large => joined.extend([Segment::Bytes(small.split().freeze()), large]),
            }
        }
        joined.push_back(Segment::Bytes(small.freeze()));
        Self(joined)
    }

    /// A body that can be sent twice, unless one of them is a stream.
    pub(super) fn into_body(self) -> Body {
        let bytes = |segment: &Segment| match segment {
            Segment::Bytes(bytes) => Some(bytes.clone()),
            Segment::Stream(_) => None,
        };
        match self.0.iter().map(bytes).collect::<Option<Vec<_>>>() {
            Some(pieces) => Body::row(pieces),
            None => Body::stream(self),
        }
    }
}

impl http_body::Body for Joined {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        loop {
            match self.0.front_mut() {
                None => return Poll::Ready(None),
                Some(Segment::Bytes(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    self.0.pop_front();
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(bytes))));
                    }
                }
                Some(Segment::Stream(body)) => match ready!(Pin::new(body).poll_frame(cx)) {
                    // A part has no trailers.
                    Some(Ok(frame)) if frame.is_trailers() => {}
                    Some(frame) => return Poll::Ready(Some(frame)),
                    None => {
                        self.0.pop_front();
                    }
                },
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.0.iter().map(Segment::len).sum::<Option<u64>>();
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
