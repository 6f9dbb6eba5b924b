//! A request's body on its way from the connection to the handler: a short queue with back-pressure.
//!
//! Rules:
//! 1. The session feeds only what the reader asked for: it looks at `wanted` and stops reading the socket once
//!    [`WINDOW`] bytes lie here unread.
//! 2. The lock is held for a push or a pop; wakers are called after it is released.
//! 3. When either side is gone the other learns it: a dropped reader makes the session drain or close, a dropped
//!    session makes the reader fail.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use millstream_base::{Error, Kind};

use super::Blame;
use crate::codec::Reject;

/// How much may lie unread between connection and handler: a few reads of the socket, and a bound on memory.
pub(crate) const WINDOW: usize = 256 * 1024;

/// The handler's end.
pub(crate) struct Incoming {
    shared: Arc<Mutex<State>>,
    /// Bytes still to come as the head announced them.
    remaining: Option<u64>,
}

/// The session's end.
pub(crate) struct Feeder(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    queue: VecDeque<Bytes>,
    queued: usize,
    trailers: Option<HeaderMap>,
    end: End,
    reader: Option<Waker>,
    session: Option<Waker>,
    is_wanted: bool,
    is_reader_gone: bool,
}

#[derive(Default)]
enum End {
    #[default]
    Open,
    Whole,
    Failed(Error),
    Told,
}

/// A queue for a body of this length, if it is known.
pub(crate) fn incoming(length: Option<u64>) -> (Feeder, Incoming) {
    let shared = Arc::<Mutex<State>>::default();
    (Feeder(shared.clone()), Incoming { shared, remaining: length })
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feeder {
    /// Hands over a piece of the body.
    pub(crate) fn push(&self, data: Bytes) {
        self.update(|state| {
            if !state.is_reader_gone {
                state.queued += data.len();
                state.queue.push_back(data);
            }
        });
    }

    /// The body is whole.
    pub(crate) fn finish(&self, trailers: Option<HeaderMap>) {
        self.update(|state| {
            state.trailers = trailers;
            state.end = End::Whole;
        });
    }

    /// The body will never be whole.
    pub(crate) fn fail(&self, error: Error) {
        self.update(|state| {
            if matches!(state.end, End::Open) {
                state.end = End::Failed(error);
            }
        });
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let reader = {
            let mut state = lock(&self.0);
            change(&mut state);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Does the reader wait for more than lies here? If not, `waker` is called when it does, or when it is gone.
    pub(crate) fn wants_more(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.0);
        if state.is_wanted && state.queued < WINDOW {
            return true;
        }
        match &state.session {
            Some(known) if known.will_wake(waker) => {}
            _ => state.session = Some(waker.clone()),
        }
        false
    }

    /// Has the reader dropped the body?
    pub(crate) fn is_reader_gone(&self) -> bool {
        lock(&self.0).is_reader_gone
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.fail(Blame::error(Kind::Closed, Reject::bad("the connection ended within the request's body")));
    }
}

impl Incoming {
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.remaining
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let session = {
            let mut state = lock(&self.shared);
            if let Some(data) = state.queue.pop_front() {
                state.queued -= data.len();
                if let Some(remaining) = &mut self.remaining {
                    *remaining = remaining.saturating_sub(data.len() as u64);
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            match std::mem::replace(&mut state.end, End::Told) {
                End::Failed(error) => return Poll::Ready(Some(Err(error))),
                End::Whole => return Poll::Ready(state.trailers.take().map(|map| Ok(Frame::trailers(map)))),
                End::Told => return Poll::Ready(None),
                End::Open => state.end = End::Open,
            }
            state.reader = Some(cx.waker().clone());
            state.is_wanted = true;
            state.session.take()
        };
        if let Some(session) = session {
            session.wake();
        }
        Poll::Pending
    }

    /// Is everything read?
    pub(crate) fn is_end(&self) -> bool {
        let state = lock(&self.shared);
        state.queue.is_empty()
            && (matches!(state.end, End::Told)
                || (matches!(state.end, End::Whole) && state.trailers.is_none()))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let session = {
            let mut state = lock(&self.shared);
            state.is_reader_gone = true;
            state.queue.clear();
            state.queued = 0;
            state.session.take()
        };
        if let Some(session) = session {
            session.wake();
        }
    }
}
