//! A body that is compressed as it is read: nothing is held back when the source pauses, and no poll works for long.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use millstream_base::{Error, Result};

use super::encoder::Encoder;
use crate::Body;

/// A compressed body.
pub(crate) struct CompressedBody {
    inner: Body,
    /// Gone when everything was read.
    encoder: Option<Encoder>,
    /// Read and not encoded yet.
    input: Bytes,
    /// Was something written since the last flush?
    is_dirty: bool,
    /// Bytes that may be encoded before others have their turn.
    budget: usize,
    trailers: Option<HeaderMap>,
}

impl CompressedBody {
    pub(crate) fn new(inner: Body, encoder: Encoder) -> Self {
        let (input, trailers) = (Bytes::new(), None);
        Self { inner, encoder: Some(encoder), input, is_dirty: false, budget: TURN_BYTES, trailers }
    }

    /// Encodes a bounded piece of the input.
    fn encode(&mut self) -> Result<()> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let piece = self.input.split_to(self.input.len().min(STEP_BYTES));
        self.budget = self.budget.saturating_sub(piece.len());
        self.is_dirty = true;
        encoder.write(&piece).map_err(Error::io)
    }

    /// What is ready, once it is worth a frame.
    fn take_ready(&mut self, least: usize) -> Option<Bytes> {
        let encoder = self.encoder.as_mut()?;
        (encoder.ready() >= least).then(|| Bytes::from(encoder.take()))
    }

    /// The source pauses: what was written must not wait for it.
    fn flush(&mut self) -> Result<Option<Bytes>> {
        self.budget = TURN_BYTES;
        if !std::mem::take(&mut self.is_dirty) {
            return Ok(None);
        }
        if let Some(encoder) = &mut self.encoder {
            encoder.flush().map_err(Error::io)?;
        }
        Ok(self.take_ready(1))
    }

    /// The last of the data.
    fn finish(&mut self) -> Result<Bytes> {
        let rest = self.encoder.take().map(Encoder::finish).transpose().map_err(Error::io)?;
        Ok(rest.unwrap_or_default().into())
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Result<Step> {
        if !self.input.is_empty() {
            if self.budget == 0 {
                self.budget = TURN_BYTES;
                cx.waker().wake_by_ref();
                return Ok(Step::Pending);
            }
            self.encode()?;
            return Ok(self.take_ready(FRAME_BYTES).map_or(Step::Again, Step::Data));
        }
        match http_body::Body::poll_frame(Pin::new(&mut self.inner), cx) {
            Poll::Pending => Ok(self.flush()?.map_or(Step::Pending, Step::Data)),
            Poll::Ready(None) => self.finish().map(Step::Data),
            Poll::Ready(Some(frame)) => match frame?.into_data() {
                Ok(data) => {
                    self.input = data;
                    Ok(Step::Again)
                }
                Err(frame) => {
                    self.trailers = frame.into_trailers().ok();
                    self.finish().map(Step::Data)
                }
            },
        }
    }
}

enum Step {
    Data(Bytes),
    Again,
    Pending,
}

impl http_body::Body for CompressedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        // Bounded: each turn takes from the budget, or from a source that is itself polled once a turn.
        while self.encoder.is_some() {
            match self.step(cx) {
                Ok(Step::Again) => {}
                Ok(Step::Pending) => return Poll::Pending,
                Ok(Step::Data(data)) if data.is_empty() => {}
                Ok(Step::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(error) => {
                    self.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.encoder.is_none() && self.trailers.is_none()
    }
}

/// Encoded in one call.
const STEP_BYTES: usize = 32 * 1024;
/// Encoded before others have their turn: 1 to 3 ms of work.
const TURN_BYTES: usize = 128 * 1024;
/// Gathered before it is sent on, while more is at hand.
const FRAME_BYTES: usize = 16 * 1024;
