//! Server-sent events: a response that stays open and says something now and then (HTML Living Standard, §9.2).
//!
//! ```
//! use millstream_http::sse::{Event, Sse};
//! use millstream_http::{Request, Response};
//!
//! async fn clock(_: Request) -> Response {
//!     let (sender, response) = Sse::channel(8);
//!     tokio::task::spawn_local(async move {
//!         for tick in 0..10 {
//!             // An error means that the client has gone.
//!             if sender.send(Event::data(format!("tick {tick}"))).await.is_err() {
//!                 break;
//!             }
//!         }
//!     });
//!     response
//! }
//! ```

use std::borrow::Cow;
use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http_body::Frame;
use millstream_base::{Error, Kind, Origin, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

use crate::{Body, Request, Response};

/// A silent stream says something this often, so that proxies keep it and a client that has gone is noticed: the HTML
/// standard advises "every 15 seconds or so".
pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a stream of events is set up.
#[derive(Clone, Copy, Debug)]
pub struct Sse {
    keep_alive: Duration,
}

impl Default for Sse {
    fn default() -> Self {
        Self { keep_alive: DEFAULT_KEEP_ALIVE }
    }
}

impl Sse {
    /// With the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A response, and the end to send events from; at most `capacity` of them wait for the client.
    pub fn channel(capacity: usize) -> (SseSender, Response) {
        Self::new().open(capacity)
    }

    /// A silent stream sends a comment this often.
    #[must_use]
    pub fn with_keep_alive(mut self, every: Duration) -> Self {
        self.keep_alive = every;
        self
    }

    /// As [`Sse::channel`], with these settings.
    pub fn open(self, capacity: usize) -> (SseSender, Response) {
        let (give, take) = mpsc::channel(capacity.max(1));
        (SseSender(give), response(Body::stream(Events(take)), self.keep_alive))
    }
}

fn response(inner: Body, keep_alive: Duration) -> Response {
    Response::bytes(Body::stream(Kept { inner, keep_alive, silence: None }))
        .with_header(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))
        .with_header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

impl Response {
    /// Events from a function that is called for one after another until it gives `None`.
    ///
    /// Dropping the response drops the future of the event that is being made. An event that can't be said
    /// (see [`SseSender::send`]) breaks the stream off.
    pub fn sse<F, Fut>(mut next: F) -> Self
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Option<Event>> + Send + 'static,
    {
        let pieces = Body::from_fn(move || {
            let event = next();
            async move { event.await.map(|event| event.encode()) }
        });
        response(pieces, DEFAULT_KEEP_ALIVE)
    }
}

impl Request {
    /// The id of the last event a client got before it lost the stream: go on behind it.
    pub fn last_event_id(&self) -> Option<&str> {
        self.header("last-event-id").filter(|id| !id.is_empty())
    }
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    event: Option<Cow<'static, str>>,
    id: Option<Cow<'static, str>>,
    retry: Option<Duration>,
    data: Option<Cow<'static, str>>,
    comment: Option<Cow<'static, str>>,
}

impl Event {
    /// An event with this text, which may have several lines.
    pub fn data(data: impl Into<Cow<'static, str>>) -> Self {
        Self { data: Some(data.into()), ..Self::default() }
    }

    /// An event with this value as JSON.
    ///
    /// # Errors
    /// When it can't be JSON: a map with keys that are no strings.
    pub fn json(value: &impl serde::Serialize) -> Result<Self> {
        let text = serde_json::to_string(value)
            .map_err(|error| Error::invalid("an event can't be made JSON").with_source(error))?;
        Ok(Self::data(text))
    }

    /// A line that clients pass over.
    pub fn comment(text: impl Into<Cow<'static, str>>) -> Self {
        Self { comment: Some(text.into()), ..Self::default() }
    }

    /// Named, for `addEventListener(name)`.
    #[must_use]
    pub fn with_event(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.event = Some(name.into());
        self
    }

    /// With an id, which the client gives back in [`Request::last_event_id`].
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Cow<'static, str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Clients that lose the stream wait this long before they come back.
    #[must_use]
    pub fn with_retry(mut self, retry: Duration) -> Self {
        self.retry = Some(retry);
        self
    }

    /// As it goes over the wire.
    fn encode(&self) -> Result<Bytes> {
        let mut text = String::new();
        for comment in lines(self.comment.as_deref()) {
            line(&mut text, "", comment);
        }
        for (name, value) in [("event", &self.event), ("id", &self.id)] {
            if let Some(value) = value {
                // A line break would begin another field, and an id with NUL is ignored by clients.
                if value.contains(['\r', '\n', '\0']) {
                    return Err(Error::invalid(format!(
                        "the {name} of an event can't hold a line break or NUL"
                    )));
                }
                line(&mut text, name, value);
            }
        }
        if let Some(retry) = self.retry {
            line(&mut text, "retry", &retry.as_millis().to_string());
        }
        for data in lines(self.data.as_deref()) {
            line(&mut text, "data", data);
        }
        text.push('\n');
        Ok(text.into())
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "{name}: {value}");
}

/// The lines of a text, whichever of the three line ends it has; an empty text is one empty line.
fn lines(text: Option<&str>) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\r', '\n']) else { return rest.take() };
        let width = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + width..]);
        Some(&text[..end])
    })
}

/// The end of [`Sse::channel`] that sends. Dropping it ends the stream well.
#[derive(Clone, Debug)]
pub struct SseSender(mpsc::Sender<Bytes>);

impl SseSender {
    /// Sends an event; waits while as many as the channel holds wait for the client. Dropping the future sends nothing.
    ///
    /// # Errors
    /// [`Kind::Closed`] when the client has gone; [`Kind::Invalid`] when its name or id holds a line break or NUL, which
    /// would let whoever chose it forge other events.
    pub async fn send(&self, event: Event) -> Result<()> {
        self.0.send(event.encode()?).await.map_err(|_| gone())
    }

    /// Sends an event if there is room, and says whether there was.
    ///
    /// # Errors
    /// As [`SseSender::send`].
    pub fn try_send(&self, event: &Event) -> Result<bool> {
        match self.0.try_send(event.encode()?) {
            Ok(()) => Ok(true),
            Err(mpsc::error::TrySendError::Full(_)) => Ok(false),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(gone()),
        }
    }

    /// Ends when the client has gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

fn gone() -> Error {
    Error::new(Kind::Closed, Origin::Peer, "the client of this stream of events has gone")
}

/// Said into a silence.
const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");

/// Runs while nothing is sent.
struct Silence(Pin<Box<Sleep>>);

impl Silence {
    /// Has it lasted for `limit`? Begins anew then.
    fn poll(slot: &mut Option<Self>, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let silence = slot.get_or_insert_with(|| Self(Box::pin(tokio::time::sleep(limit))));
        std::task::ready!(silence.0.as_mut().poll(cx));
        Self::restart(slot, limit);
        Poll::Ready(())
    }

    fn restart(slot: &mut Option<Self>, limit: Duration) {
        if let Some(silence) = slot {
            let now = Instant::now();
            silence.0.as_mut().reset(now.checked_add(limit).unwrap_or(now + DEFAULT_KEEP_ALIVE));
        }
    }
}

/// The body of a channel of events.
struct Events(mpsc::Receiver<Bytes>);

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

/// A body into whose silences comments are said.
struct Kept {
    inner: Body,
    keep_alive: Duration,
    silence: Option<Silence>,
}

impl http_body::Body for Kept {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            Silence::restart(&mut this.silence, this.keep_alive);
            return Poll::Ready(frame);
        }
        Silence::poll(&mut this.silence, this.keep_alive, cx).map(|()| Some(Ok(Frame::data(KEEP_ALIVE))))
    }
}
