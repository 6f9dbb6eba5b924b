//! The first of several who gives anything.

use std::borrow::Cow;
use std::fmt;

use millstream_base::{Error, Kind, Origin, Result};

use super::mailbox::{Mailbox, NoMessage, Refusal, Sender, mailbox};
use super::unsent::Unsent;
use crate::{Task, TaskKind};

/// A selector and its `count` candidates. Each may submit once: there is no way to submit more often than there are candidates.
///
/// Tasks of one type race with [`Parallel::first`](crate::Parallel::first), which cancels the losers; a selector is for candidates that
/// run elsewhere.
///
/// ```
/// use millstream_flow::selector;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (mut candidates, mut selector) = selector(3);
/// candidates.pop().unwrap().submit(None)?;
/// candidates.pop().unwrap().submit(Some("hare"))?;
/// let late = candidates.pop().unwrap().submit(Some("tortoise")).unwrap_err();
/// assert_eq!(late.message, "tortoise");
/// assert_eq!(selector.first().await?, "hare");
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
pub fn selector<T: Send + 'static>(count: usize) -> (Vec<Candidate<T>>, Selector<T>) {
    let (sender, mailbox) = mailbox();
    let candidates = (0..count).map(|_| Candidate(sender.clone())).collect();
    (candidates, Selector { mailbox, count })
}

/// Waits for the first of its candidates that gives anything.
pub struct Selector<T> {
    mailbox: Mailbox<T>,
    count: usize,
}

/// May submit something to a [`Selector`], once. Dropping it submits nothing, which counts as [`None`].
pub struct Candidate<T>(Sender<T>);

impl<T> Candidate<T> {
    /// Submits something, or says that it has nothing.
    ///
    /// # Errors
    /// What was submitted, with [`Kind::Cancelled`], when another was first or the selector was dropped.
    pub fn submit(self, submitted: Option<T>) -> Result<(), Unsent<T>> {
        let Some(submitted) = submitted else { return Ok(()) };
        self.0.put(submitted).map_err(|(submitted, refusal)| {
            let text = match refusal {
                Refusal::Full | Refusal::Received => "another candidate was first",
                Refusal::Closed => "the selector was dropped",
            };
            Unsent::new(submitted, Error::new(Kind::Cancelled, Origin::Caller, text))
        })
    }
}

impl<T: Send + 'static> Selector<T> {
    /// What the first candidate gave that had anything. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when no candidate is left and none had anything; [`Kind::Invalid`] when it was asked for before.
    pub async fn first(&mut self) -> Result<T> {
        let count = self.count;
        self.mailbox.received().await.map_err(|why| match why {
            NoMessage::Received => Error::invalid("a selector gives one winner, and has done so"),
            NoMessage::NoSender => {
                let text = format!("none of {count} candidates had anything");
                Error::new(Kind::Cancelled, Origin::Caller, text)
            }
        })
    }

    /// [`first`](Self::first) as a task.
    ///
    /// ```
    /// use millstream_flow::selector;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (candidates, selector) = selector::<u8>(2);
    /// drop(candidates);
    /// let error = selector.first_task("race").await.unwrap_err();
    /// assert_eq!(error.message(), "none of 2 candidates had anything");
    /// # });
    /// ```
    pub fn first_task(mut self, name: impl Into<Cow<'static, str>>) -> Task<T> {
        Task::new(name, TaskKind::Other, async move { self.first().await })
    }
}

impl<T> fmt::Debug for Candidate<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Candidate")
    }
}

impl<T> fmt::Debug for Selector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selector").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_that_has_something_wins_wherever_it_runs() {
        let (candidates, mut selector) = selector(8);
        let tasks = candidates.into_iter().enumerate().map(|(number, candidate)| {
            tokio::spawn(async move { candidate.submit((number % 2 == 1).then_some(number)) })
        });
        let tasks: Vec<_> = tasks.collect();
        let winner = selector.first().await.expect("four have something");
        let mut late = Vec::new();
        for task in tasks {
            late.extend(task.await.expect("no panic").err().map(|unsent| unsent.message));
        }
        late.push(winner);
        late.sort_unstable();
        assert_eq!(late, [1, 3, 5, 7], "nothing was lost");
        assert_eq!(selector.first().await.expect_err("once").kind(), Kind::Invalid);
    }

    #[tokio::test]
    async fn dropped_candidates_count_as_having_nothing() {
        let (mut candidates, mut selector) = selector::<u8>(3);
        candidates.pop().expect("three").submit(None).expect("taken");
        let waiting = tokio::spawn(async move { selector.first().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(candidates);
        assert!(waiting.await.expect("no panic").expect_err("nothing came").is_cancelled());
    }

    #[tokio::test]
    async fn selector_without_candidates_fails_at_once() {
        let (_, mut selector) = selector::<u8>(0);
        assert!(selector.first().await.expect_err("nobody").is_cancelled());
    }

    #[test]
    fn what_comes_after_the_selector_was_dropped_comes_back() {
        let (mut candidates, selector) = selector(1);
        drop(selector);
        let unsent = candidates.pop().expect("one").submit(Some(1)).expect_err("nobody waits");
        assert_eq!((unsent.message, unsent.to_string().as_str()), (1, "the selector was dropped"));
    }
}
