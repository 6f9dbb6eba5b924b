//! One task for each of any number of items, at most so many at a time.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use millstream_base::Result;

use super::source::{Iterated, Source, Streamed};
use crate::set::Set;
use crate::task::{BoxFuture, called, discard};

/// Does something with each of any number of items, of an iterator or of a stream. Items are taken as there is room: memory holds no more
/// than are under way, and in order no more than as many outputs again.
///
/// ```
/// use millstream_flow::Each;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let doubled = Each::of(1..=4).at_most(2).in_order().run(|number| async move { Ok(number * 2) });
/// assert_eq!(doubled.collect().await?, [2, 4, 6, 8]);
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
#[must_use = "nothing happens unless it is run"]
#[derive(Debug)]
pub struct Each<I> {
    items: I,
    most: usize,
    is_ordered: bool,
}

/// Unless something else is said: as many as keep a few connections busy, and no peer in distress.
const AT_MOST: usize = 16;

impl<I: Iterator> Each<Iterated<I>> {
    /// These items; 16 at a time.
    pub fn of(items: impl IntoIterator<IntoIter = I>) -> Self {
        Self { items: Iterated(items.into_iter()), most: AT_MOST, is_ordered: false }
    }
}

impl<S: Stream + Unpin> Each<Streamed<S>> {
    /// The items of this stream, as they come; 16 at a time. The stream is asked for the next only when there is room for it, so whoever
    /// sends into it feels how fast they are worked on.
    ///
    /// ```
    /// use millstream_flow::Each;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// // Outputs are a stream again: what one step gives, the next takes, and each keeps its own limit.
    /// let doubled = Each::of(1..=4).at_most(2).in_order().run(|number| async move { Ok(number * 2) });
    /// let texts = Each::of_stream(doubled).in_order().run(|number| async move { Ok(number?.to_string()) });
    /// assert_eq!(texts.collect().await?, ["2", "4", "6", "8"]);
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn of_stream(items: S) -> Self {
        Self { items: Streamed(items), most: AT_MOST, is_ordered: false }
    }
}

impl<I: Source> Each<I> {
    /// So many at a time, at least one.
    pub fn at_most(self, most: usize) -> Self {
        Self { most: most.max(1), ..self }
    }

    /// Outputs come in the order of the items, and no item is begun that is further ahead of the oldest without output than the
    /// limit.
    pub fn in_order(self) -> Self {
        Self { is_ordered: true, ..self }
    }

    /// What to do with an item. Nothing happens before the outputs are asked for. A panic in `work` is the outcome of that item; one of
    /// the items' iterator or stream is an outcome too, and ends them.
    pub fn run<T, W, F>(self, work: W) -> Outputs<I, W, T>
    where
        W: FnMut(I::Item) -> F,
        F: Future<Output = Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        let Self { items, most, is_ordered } = self;
        let finished = VecDeque::new();
        Outputs { items: Some(items), most, is_ordered, work, set: Set::new(), finished, begun: 0, given: 0 }
    }
}

/// The outcomes of [`Each`], which are a stream as well. Dropping it drops what is under way.
#[must_use = "nothing happens unless the outputs are asked for"]
pub struct Outputs<I, W, T> {
    /// `None` at its end.
    items: Option<I>,
    most: usize,
    is_ordered: bool,
    work: W,
    set: Set<T>,
    /// In order: the outcomes from the oldest item on whose outcome was not given.
    finished: VecDeque<Option<Result<T>>>,
    begun: usize,
    given: usize,
}

impl<I, W, F, T> Outputs<I, W, T>
where
    I: Source,
    W: FnMut(I::Item) -> F,
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    /// The next outcome; `None` when there are no more. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<T>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// All outputs.
    ///
    /// # Errors
    /// The first that comes; what is under way is dropped then, and no more is begun.
    pub async fn collect(mut self) -> Result<Vec<T>> {
        let mut all = Vec::new();
        while let Some(outcome) = self.next().await {
            all.push(outcome?);
        }
        Ok(all)
    }

    /// Runs all, and counts how many succeeded.
    ///
    /// # Errors
    /// As [`collect`](Self::collect).
    pub async fn count(mut self) -> Result<u64> {
        let mut count = 0;
        while let Some(outcome) = self.next().await {
            outcome.map(drop)?;
            count += 1;
        }
        Ok(count)
    }

    /// The next outcome, for whoever polls by hand.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        loop {
            self.begin_more(cx);
            if let Some(outcome) = self.finished.front_mut().and_then(Option::take) {
                self.finished.pop_front();
                self.given += 1;
                return Poll::Ready(Some(outcome));
            }
            match self.set.poll(cx) {
                Poll::Ready(Some((number, outcome))) if self.is_ordered => {
                    self.finished[number - self.given] = Some(outcome);
                }
                Poll::Ready(Some((_, outcome))) => return Poll::Ready(Some(outcome)),
                // The stream said that it will wake this.
                Poll::Ready(None) if self.items.is_some() => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn begin_more(&mut self, cx: &mut Context<'_>) {
        // In order `finished` has a place for each that is under way, and for each that has ended out of turn.
        while self.set.len().max(self.finished.len()) < self.most {
            let Some(future) = self.next_future(cx) else { return };
            self.set.insert(self.begun, future);
            self.begun += 1;
            if self.is_ordered {
                self.finished.push_back(None);
            }
        }
    }

    /// Of the next item; `None` at the end, and when that has not come.
    fn next_future(&mut self, cx: &mut Context<'_>) -> Option<BoxFuture<Result<T>>> {
        let items = self.items.as_mut()?;
        let made = match called(|| items.poll_next(cx)) {
            Ok(Poll::Ready(Some(item))) => called(|| (self.work)(item)),
            Ok(Poll::Pending) => return None,
            Ok(Poll::Ready(None)) => {
                discard(self.items.take());
                return None;
            }
            Err(panicked) => {
                discard(self.items.take());
                Err(panicked)
            }
        };
        Some(made.map_or_else(|error| Box::pin(ready(Err(error))) as BoxFuture<_>, |future| Box::pin(future)))
    }
}

impl<I, W, F, T> Stream for Outputs<I, W, T>
where
    I: Source,
    W: FnMut(I::Item) -> F,
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        Outputs::poll_next(&mut self, cx)
    }
}

/// Nothing in it is pinned but the futures, which are boxed.
impl<I, W, T> Unpin for Outputs<I, W, T> {}

impl<I, W, T> fmt::Debug for Outputs<I, W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outputs").field("begun", &self.begun).field("running", &self.set.len()).finish()
    }
}
