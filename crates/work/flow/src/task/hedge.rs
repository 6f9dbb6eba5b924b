//! A second try beside the first that is late.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use millstream_base::{Error, Result};
use tracing::Instrument;

use crate::task::{called, discard, outcome};
use crate::{Task, TaskKind};

/// When further tries begin beside those under way (J. Dean and L. Barroso, "The Tail at Scale", CACM 56(2), 2013).
///
/// The first that succeeds wins, and the others are dropped. A try that fails lets the next begin at once; when all have failed, the
/// last error is the outcome.
///
/// ```
/// use millstream_flow::{Hedge, Task, TaskKind};
/// use std::time::Duration;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let task = Task::hedge("fetch", TaskKind::Network, Hedge::after(Duration::from_millis(5)), |attempt| async move {
///     if attempt == 1 { std::future::pending::<()>().await; }
///     Ok(attempt)
/// });
/// assert_eq!(task.await?, 2);
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hedge {
    delay: Duration,
    most: u32,
}

impl Hedge {
    /// A second try begins when the first has not ended after `delay`.
    pub fn after(delay: Duration) -> Self {
        Self { delay, most: 2 }
    }

    /// So many tries in all, one each `delay`; at least one.
    #[must_use]
    pub fn at_most(self, most: u32) -> Self {
        Self { most: most.max(1), ..self }
    }
}

impl<T: Send + 'static> Task<T> {
    /// Does what `attempt` makes, and again beside it while that takes too long. It gets the number of the attempt, from 1 on. Only for
    /// what may be done twice.
    pub fn hedge<F>(
        name: impl Into<Cow<'static, str>>,
        kind: TaskKind,
        hedge: Hedge,
        mut attempt: impl FnMut(u32) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<T>> + Send + 'static,
    {
        Self::new(name, kind, async move {
            let mut attempt = |number| {
                let span = tracing::debug_span!("attempt", attempt = number);
                let made = span.in_scope(|| called(|| attempt(number)));
                Box::pin(outcome(made).instrument(span))
            };
            let mut tries = Tries(vec![attempt(1)]);
            let mut begun = 1;
            let mut last: Option<Error> = None;
            let mut delay = pin!(millstream_runtime::sleep(hedge.delay));
            poll_fn(move |cx| {
                loop {
                    let (mut at, mut has_failed) = (0, false);
                    while at < tries.0.len() {
                        match tries.0[at].as_mut().poll(cx) {
                            Poll::Ready(Ok(output)) => {
                                tries.drop_all();
                                return Poll::Ready(Ok(output));
                            }
                            Poll::Ready(Err(error)) => {
                                (last, has_failed) = (Some(error), true);
                                discard(tries.0.swap_remove(at));
                            }
                            Poll::Pending => at += 1,
                        }
                    }
                    if begun >= hedge.most {
                        return match last.take_if(|_| tries.0.is_empty()) {
                            Some(error) => Poll::Ready(Err(error)),
                            None => Poll::Pending,
                        };
                    }
                    if !has_failed && delay.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    begun += 1;
                    tries.0.push(attempt(begun));
                    delay.set(millstream_runtime::sleep(hedge.delay));
                }
            })
            .await
        })
    }
}

/// Those under way. Each is dropped by itself: one that panics at that takes no other along.
struct Tries<F>(Vec<Pin<Box<F>>>);

impl<F> Tries<F> {
    fn drop_all(&mut self) {
        self.0.drain(..).for_each(discard);
    }
}

impl<F> Drop for Tries<F> {
    fn drop(&mut self) {
        self.drop_all();
    }
}
