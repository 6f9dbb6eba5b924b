//! Trying again.

use std::borrow::Cow;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{Error, Result};
use tracing::Instrument;

use crate::task::{called, outcome};
use crate::{Task, TaskKind};

/// How often something is tried, how long is waited in between, and after which errors.
///
/// The wait is chosen at random between nothing and a span that doubles with each attempt ("full jitter": M. Brooker, "Exponential
/// Backoff And Jitter", AWS Architecture Blog, 2015), so that those who failed together do not come back together.
///
/// ```
/// use millstream_flow::{Retry, Task, TaskKind};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let task = Task::retry("flaky", TaskKind::Network, Retry::times(3), |attempt| async move {
///     if attempt < 3 { Err(millstream_base::Error::invalid("not yet")) } else { Ok(attempt) }
/// });
/// assert_eq!(task.await?, 3);
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Retry {
    times: u32,
    first: Duration,
    most: Duration,
    when: Arc<dyn Fn(&Error) -> bool + Send + Sync>,
}

/// The longest wait after the first attempt, unless something else is said.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait at all, unless something else is said.
const MOST: Duration = Duration::from_secs(5);

impl Retry {
    /// Tries so many times in all, at least once: after any error but a cancelling, a panic among them, with waits of up to 50 ms, 100 ms, ... 5 s.
    pub fn times(times: u32) -> Self {
        let when = Arc::new(|error: &Error| !error.is_cancelled());
        Self { times: times.max(1), first: FIRST, most: MOST, when }
    }

    /// Waits up to `first` after the first attempt, twice as long after each further one, and never longer than `most`.
    #[must_use]
    pub fn backoff(self, first: Duration, most: Duration) -> Self {
        Self { first, most, ..self }
    }

    /// Tries again only after errors that this says yes to.
    #[must_use]
    pub fn when(self, when: impl Fn(&Error) -> bool + Send + Sync + 'static) -> Self {
        Self { when: Arc::new(when), ..self }
    }

    /// How often it tries at most.
    pub(crate) fn most(&self) -> u32 {
        self.times
    }

    /// The longest wait after this attempt; the first is 1.
    fn longest_wait(&self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }

    /// Tries until it succeeds, or may not be tried again.
    pub(crate) async fn run<T, F>(&self, mut attempt: impl FnMut(u32) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut number = 1;
        loop {
            let span = tracing::debug_span!("attempt", attempt = number);
            let made = span.in_scope(|| called(|| attempt(number)));
            match outcome(made).instrument(span).await {
                Err(error) if number < self.times && (self.when)(&error) => {
                    tracing::debug!(%error, attempt = number, "tries again");
                    millstream_runtime::sleep(part_of(self.longest_wait(number))).await;
                    number += 1;
                }
                outcome => return outcome,
            }
        }
    }
}

impl<T: Send + 'static> Task<T> {
    /// Does what `attempt` makes, up to as often as `retry` says; it gets the number of the attempt, from 1 on.
    pub fn retry<F>(
        name: impl Into<Cow<'static, str>>,
        kind: TaskKind,
        retry: Retry,
        attempt: impl FnMut(u32) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        Self::new(name, kind, async move { retry.run(attempt).await })
    }
}

impl std::fmt::Debug for Retry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retry")
            .field("times", &self.times)
            .field("first", &self.first)
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}

/// A part of the span, chosen at random.
fn part_of(span: Duration) -> Duration {
    // Each has keys of its own, which come from the system's randomness.
    let bits = RandomState::new().hash_one(0) >> 11;
    #[allow(clippy::cast_precision_loss)] // 53 bits are kept, as many as a double holds
    span.mul_f64(bits as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry = Retry::times(9).backoff(Duration::from_millis(10), Duration::from_millis(100));
        let waits: Vec<_> = [1, 2, 3, 4, 5, 40, u32::MAX].map(|attempt| retry.longest_wait(attempt)).into();
        assert_eq!(
            waits.iter().map(Duration::as_millis).collect::<Vec<_>>(),
            [10, 20, 40, 80, 100, 100, 100]
        );
        assert_eq!(Retry::times(2).backoff(Duration::MAX, Duration::MAX).longest_wait(7), Duration::MAX);
    }

    #[test]
    fn waits_differ_and_stay_below_the_longest() {
        let span = Duration::from_secs(1);
        let parts: Vec<_> = (0..100).map(|_| part_of(span)).collect();
        assert!(parts.iter().all(|part| *part < span));
        assert!(parts.iter().any(|part| *part < span / 4) && parts.iter().any(|part| *part > span * 3 / 4));
    }
}
