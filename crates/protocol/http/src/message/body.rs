//! A message's body: nothing, bytes, or a stream with back-pressure.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use millstream_base::{BoxError, Error, Kind, Limit, Origin, Result};
use tokio::sync::mpsc;

use super::Incoming;

/// A message's body: nothing, bytes, or a stream with back-pressure. It implements [`http_body::Body`].
///
/// A streamed body is read only as fast as somebody asks for it, on both sides. Dropping a body that is not read to its
/// end is allowed: the connection drains a short rest, else it is closed.
///
/// ```
/// use millstream_http::Body;
/// let body = Body::from("hello");
/// assert_eq!(body.len(), Some(5));
/// ```
pub struct Body(Inner);

enum Inner {
    Empty,
    Full(Bytes),
    /// Several in a row, none of them empty.
    Row(VecDeque<Bytes>),
    Incoming(Incoming),
    Stream(Pin<Box<dyn HttpBody<Data = Bytes, Error = Error> + Send>>),
}

impl Body {
    /// No body.
    pub const fn empty() -> Self {
        Self(Inner::Empty)
    }

    /// Wraps any [`http_body::Body`].
    pub fn wrap<B>(body: B) -> Self
    where
        B: HttpBody + Send + 'static,
        B::Data: Into<Bytes>,
        B::Error: Into<BoxError>,
    {
        Self(Inner::Stream(Box::pin(Wrapped { body })))
    }

    /// A body and the end to write it from; at most `capacity` pieces lie between them.
    pub fn channel(capacity: usize) -> (BodySender, Self) {
        let (give, take) = mpsc::channel(capacity.max(1));
        (BodySender(give), Self(Inner::Stream(Box::pin(Channel { take }))))
    }

    /// A body from a function that is called for piece after piece until it gives `None`.
    ///
    /// Dropping the body drops the future of the piece that is being made.
    pub fn from_fn<F, Fut>(next: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Option<Result<Bytes>>> + Send + 'static,
    {
        Self(Inner::Stream(Box::pin(Pieces { next, piece: None })))
    }

    pub(crate) fn incoming(incoming: Incoming) -> Self {
        Self(Inner::Incoming(incoming))
    }

    /// These in a row, uncopied.
    pub(crate) fn row(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let mut pieces: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        match pieces.len() {
            0 | 1 => pieces.pop_front().map_or_else(Self::empty, Self::from),
            _ => Self(Inner::Row(pieces)),
        }
    }

    pub(crate) fn stream(body: impl HttpBody<Data = Bytes, Error = Error> + Send + 'static) -> Self {
        Self(Inner::Stream(Box::pin(body)))
    }

    /// The exact length in bytes, where it is known.
    pub fn len(&self) -> Option<u64> {
        match &self.0 {
            Inner::Empty => Some(0),
            Inner::Full(bytes) => Some(bytes.len() as u64),
            Inner::Row(pieces) => Some(pieces.iter().map(|piece| piece.len() as u64).sum()),
            Inner::Incoming(incoming) => incoming.remaining(),
            Inner::Stream(stream) => stream.size_hint().exact(),
        }
    }

    /// Is it known to be empty?
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// Is it the empty body itself, which holds nothing?
    #[inline]
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self.0, Inner::Empty)
    }

    /// The bytes, when they are all there already, and in one piece.
    #[inline]
    pub(crate) fn as_full(&self) -> Option<&[u8]> {
        match &self.0 {
            Inner::Empty => Some(&[]),
            Inner::Full(bytes) => Some(bytes),
            Inner::Row(_) | Inner::Incoming(_) | Inner::Stream(_) => None,
        }
    }

    /// The bytes, when they are all there already, and in one piece.
    pub(crate) fn try_into_full(self) -> Result<Bytes, Self> {
        match self.0 {
            Inner::Empty => Ok(Bytes::new()),
            Inner::Full(bytes) => Ok(bytes),
            other => Err(Self(other)),
        }
    }

    /// A copy, when the body is not a stream: what a retry needs.
    pub(crate) fn try_clone(&self) -> Option<Self> {
        match &self.0 {
            Inner::Empty => Some(Self::empty()),
            Inner::Full(bytes) => Some(Self(Inner::Full(bytes.clone()))),
            Inner::Row(pieces) => Some(Self(Inner::Row(pieces.clone()))),
            Inner::Incoming(_) | Inner::Stream(_) => None,
        }
    }

    /// The next piece of data; `None` at the end. Trailers are passed over.
    ///
    /// Cancel safe: a piece is either given or still there.
    ///
    /// # Errors
    /// What stopped the stream.
    pub async fn chunk(&mut self) -> Option<Result<Bytes>> {
        loop {
            match self.frame().await? {
                Ok(frame) => {
                    if let Ok(data) = frame.into_data() {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The next piece of data, or the trailers; `None` at the end.
    ///
    /// Cancel safe: a frame is either given or still there.
    ///
    /// # Errors
    /// What stopped the stream.
    pub async fn frame(&mut self) -> Option<Result<Frame<Bytes>>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await
    }

    /// The whole body, of at most `limit` bytes. Dropping the future loses what was read.
    ///
    /// # Errors
    /// [`Kind::Limit`] when it is longer, else what stopped the stream.
    pub async fn collect(self, limit: usize) -> Result<Bytes> {
        self.collect_with_trailers(limit).await.map(|(bytes, _)| bytes)
    }

    /// The whole body, of at most `limit` bytes, and its trailers. Dropping the future loses what was read.
    ///
    /// # Errors
    /// [`Kind::Limit`] when it is longer, else what stopped the stream.
    pub async fn collect_with_trailers(mut self, limit: usize) -> Result<(Bytes, Option<HeaderMap>)> {
        let limit = Limit::new("body", limit, "bytes");
        let announced = self.len().unwrap_or(0);
        limit.check(usize::try_from(announced).unwrap_or(usize::MAX))?;
        if let Inner::Full(bytes) = self.0 {
            return Ok((bytes, None));
        }
        let mut whole = BytesMut::new();
        let mut first = None;
        let mut trailers = None;
        while let Some(frame) = self.frame().await {
            match frame?.into_data() {
                Ok(data) => {
                    limit.check(whole.len() + first.as_ref().map_or(0, Bytes::len) + data.len())?;
                    join(&mut first, &mut whole, data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        Ok((first.unwrap_or_else(|| whole.freeze()), trailers))
    }
}

/// Appends `data`; a body that is a single piece is never copied.
fn join(first: &mut Option<Bytes>, whole: &mut BytesMut, data: Bytes) {
    if whole.is_empty() && first.is_none() {
        *first = Some(data);
        return;
    }
    if let Some(first) = first.take() {
        whole.extend_from_slice(&first);
    }
    whole.extend_from_slice(&data);
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Inner::Empty => Poll::Ready(None),
            Inner::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Inner::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Inner::Row(pieces) => Poll::Ready(pieces.pop_front().map(|piece| Ok(Frame::data(piece)))),
            Inner::Incoming(incoming) => incoming.poll_frame(cx),
            Inner::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Empty => true,
            Inner::Full(bytes) => bytes.is_empty(),
            Inner::Row(pieces) => pieces.is_empty(),
            Inner::Incoming(incoming) => incoming.is_end(),
            Inner::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Stream(stream) => stream.size_hint(),
            _ => self.len().map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

/// The end of [`Body::channel`] that writes.
pub struct BodySender(mpsc::Sender<Result<Frame<Bytes>>>);

impl BodySender {
    /// Sends a piece; waits while the channel is full. Dropping the future sends nothing.
    ///
    /// # Errors
    /// [`Kind::Closed`] when nobody reads any more.
    pub async fn send(&self, data: impl Into<Bytes>) -> Result<()> {
        self.0.send(Ok(Frame::data(data.into()))).await.map_err(|_| unread())
    }

    /// Sends the trailers: nothing may follow. Dropping the future sends nothing.
    ///
    /// # Errors
    /// [`Kind::Closed`] when nobody reads any more.
    pub async fn send_trailers(self, trailers: HeaderMap) -> Result<()> {
        self.0.send(Ok(Frame::trailers(trailers))).await.map_err(|_| unread())
    }

    /// Breaks the body off: the peer sees that it is not whole. Dropping the sender, in contrast, ends it well.
    pub async fn abort(self, error: Error) {
        // Nobody reads: then nobody needs to be told.
        let _ = self.0.send(Err(error)).await;
    }

    /// Ends when nobody reads any more.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

fn unread() -> Error {
    Error::new(Kind::Closed, Origin::Peer, "nobody reads this body any more")
}

struct Channel {
    take: mpsc::Receiver<Result<Frame<Bytes>>>,
}

impl HttpBody for Channel {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.take.poll_recv(cx)
    }
}

pin_project_lite::pin_project! {
    struct Wrapped<B> {
        #[pin]
        body: B,
    }
}

impl<B> HttpBody for Wrapped<B>
where
    B: HttpBody,
    B::Data: Into<Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.project().body.poll_frame(cx).map(|frame| {
            frame.map(|frame| {
                let wrap = |error: B::Error| Error::new(Kind::Io, Origin::Local, "body").with_source(error);
                frame.map(|frame| frame.map_data(Into::into)).map_err(wrap)
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project_lite::pin_project! {
    struct Pieces<F, Fut> {
        next: F,
        #[pin]
        piece: Option<Fut>,
    }
}

impl<F, Fut> HttpBody for Pieces<F, Fut>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<Result<Bytes>>>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let mut this = self.project();
        if this.piece.is_none() {
            this.piece.set(Some((this.next)()));
        }
        let piece = this.piece.as_mut().as_pin_mut().expect("set in the line above");
        let output = std::task::ready!(piece.poll(cx));
        this.piece.set(None);
        Poll::Ready(output.map(|result| result.map(Frame::data)))
    }
}

macro_rules! from_bytes {
    ($($from:ty),+) => {$(
        impl From<$from> for Body {
            fn from(data: $from) -> Self {
                let bytes = Bytes::from(data);
                if bytes.is_empty() { Self::empty() } else { Self(Inner::Full(bytes)) }
            }
        }
    )+};
}

from_bytes!(Bytes, String, &'static str, Vec<u8>, &'static [u8], Box<[u8]>);

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.len() {
            Some(length) => write!(f, "Body({length} bytes)"),
            None => f.write_str("Body(stream)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn channel_carries_pieces_trailers_and_the_end() {
        let (sender, body) = Body::channel(4);
        sender.send("ab").await.expect("read");
        sender.send("cd").await.expect("read");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", http::HeaderValue::from_static("7"));
        sender.send_trailers(trailers.clone()).await.expect("read");
        let (bytes, got) = body.collect_with_trailers(100).await.expect("whole");
        assert_eq!((&bytes[..], got), (&b"abcd"[..], Some(trailers)));
    }

    #[tokio::test]
    async fn collect_stops_at_its_limit() {
        for (limit, ok) in [(9, false), (10, true), (11, true)] {
            let (sender, body) = Body::channel(4);
            sender.send("01234").await.expect("read");
            sender.send("56789").await.expect("read");
            drop(sender);
            let result = body.collect(limit).await;
            assert_eq!(result.is_ok(), ok, "limit {limit}");
            if let Err(error) = result {
                assert_eq!(error.kind(), Kind::Limit);
            }
        }
    }

    #[tokio::test]
    async fn aborted_channel_is_an_error_not_an_end() {
        let (sender, mut body) = Body::channel(4);
        sender.send("ab").await.expect("read");
        sender.abort(Error::protocol("broken")).await;
        assert_eq!(body.chunk().await.expect("a piece").expect("data"), "ab");
        assert!(body.chunk().await.expect("an error").is_err());
    }

    #[tokio::test]
    async fn from_fn_is_called_until_none() {
        let mut left = 3;
        let body = Body::from_fn(move || {
            left -= 1;
            let piece = (left >= 0).then(|| Ok(Bytes::from_static(b"x")));
            std::future::ready(piece)
        });
        assert_eq!(body.collect(10).await.expect("whole"), "xxx");
    }
}
