//! A future with an end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Result};
use pin_project_lite::pin_project;

use super::sleep::{Sleep, sleep};

/// Gives the output of `future`, or an error when it has not ended after `limit`. The future is polled first: one that is
/// ready in time, or was not polled meanwhile, has its output taken. [`Duration::MAX`] is no limit.
///
/// Dropping it drops the future; so does the deadline, when the caller drops what has failed.
///
/// ```
/// # use millstream_runtime::{Engine, timeout};
/// # let engine = Engine::builder().workers(1).build()?;
/// # engine.run(async |_| {
/// let limit = std::time::Duration::from_secs(1);
/// assert_eq!(timeout(limit, async { 7 }).await?, 7);
/// # Ok::<(), millstream_base::Error>(())
/// # })??;
/// # Ok::<(), millstream_base::Error>(())
/// ```
///
/// # Errors
/// [`Kind::Timeout`].
///
/// # Panics
/// Where [`sleep`](crate::sleep()) does.
pub fn timeout<F: IntoFuture>(limit: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), sleep: sleep(limit), limit }
}

pin_project! {
    /// What [`timeout`] gives.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
        limit: Duration,
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // Also when the future has used up the task's budget: else one that is always busy would never end.
        this.sleep.poll_elapsed(cx).map(|()| Err(late(*this.limit)))
    }
}

#[cold]
fn late(limit: Duration) -> Error {
    Error::new(Kind::Timeout, Origin::Local, format!("timed out (limit {limit:?})"))
}
