//! How an engine ends.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::lifecycle::Stage;
use crate::{Engine, now};

/// How an engine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Stop accepting, tell peers, let what is under way end for at most this long, then cancel the rest. With
    /// [`Duration::MAX`] it waits until all has ended: more than 30 years count as 30.
    Graceful(Duration),
    /// Cancel everything now.
    Now,
}

impl Engine {
    /// Ends the engine and gives whether everything that was under way came to its end.
    ///
    /// Calling it again with a nearer deadline, or [`Shutdown::Now`], hurries the first call. Dropping the future does
    /// not take the shutdown back, but then nobody cancels what outlives the deadline until the engine is dropped.
    ///
    /// # Panics
    /// With [`Shutdown::Graceful`], when it is polled where there is neither a worker nor a tokio runtime with timers.
    pub async fn shutdown(&self, how: Shutdown) -> bool {
        let lifecycle = &self.0.lifecycle;
        let Shutdown::Graceful(patience) = how else {
            self.0.stop();
            return false;
        };
        let until = now() + patience.min(MOST_PATIENCE);
        lifecycle.advance(Stage::Draining(until));
        let mut quiet = pin!(lifecycle.quiet());
        let mut stopped = pin!(lifecycle.stopped());
        let race = poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            // Asked behind it: a stop drops what is busy, which is quiet then, but has not come to its end.
            quiet.as_mut().poll(cx).map(|()| lifecycle.stage() != Stage::Stopped)
        });
        let clean = tokio::time::timeout_at(until.into(), race).await.unwrap_or(false);
        self.0.stop();
        clean
    }
}

/// Longer than any drain, and near enough that all clocks can tell its end: 30 years, as tokio's own timers without end.
const MOST_PATIENCE: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
