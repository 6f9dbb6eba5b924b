//! A panic in user code is an error of the task that it came from.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use millstream_base::{Error, Kind, Origin, Result, panic_text};

/// Polls, and makes an error of a panic; the future is not to be polled again then.
pub(crate) fn contained<T>(
    future: Pin<&mut (impl Future<Output = Result<T>> + ?Sized)>,
    cx: &mut Context<'_>,
) -> Poll<Result<T>> {
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(polled) => polled,
        Err(payload) => Poll::Ready(Err(panicked(payload))),
    }
}

/// Calls, and makes an error of a panic.
pub(crate) fn called<T>(call: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(panicked)
}

/// The outcome of one try, whose future was [`called`] for.
pub(crate) async fn outcome<T>(future: Result<impl Future<Output = Result<T>>>) -> Result<T> {
    let mut future = pin!(Some(future?));
    let outcome = poll_fn(|cx| match future.as_mut().as_pin_mut() {
        Some(future) => contained(future, cx),
        None => Poll::Pending,
    })
    .await;
    discard_pinned(future);
    outcome
}

/// Drops what is the user's. A panic in that goes no further: what was to come of it is known already, or nobody wants it.
pub(crate) fn discard<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        told(payload);
    }
}

/// The same where it is pinned.
pub(crate) fn discard_pinned<T>(mut place: Pin<&mut Option<T>>) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| place.set(None))) {
        told(payload);
    }
}

#[cold]
fn told(payload: Box<dyn Any + Send>) {
    let error = panicked(payload);
    tracing::error!(%error, "what a task held panicked when it was dropped");
}

/// Says in which part of which flow it failed, before whatever the error says it was about.
#[cold]
pub(crate) fn in_flow(error: Error, flow: &str, part: &str) -> Error {
    let place = match error.target() {
        Some(target) => format!("{flow}/{part}: {target}"),
        None => format!("{flow}/{part}"),
    };
    error.for_target(place)
}

/// The error that tells of a panic. What was thrown may itself panic when it is dropped.
#[cold]
fn panicked(payload: Box<dyn Any + Send>) -> Error {
    let text = format!("a task panicked: {}", panic_text(&*payload).unwrap_or("no text"));
    drop(catch_unwind(AssertUnwindSafe(|| drop(payload))));
    Error::new(Kind::Panic, Origin::Caller, text)
}
