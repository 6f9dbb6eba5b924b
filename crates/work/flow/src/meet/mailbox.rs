//! One message, from anybody to one receiver.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use millstream_base::{Error, Kind, Origin, Result};

use super::registry::Place;
use super::sync::{Mutex, lock, wake};
use super::unsent::Unsent;
use crate::{Task, TaskKind};

/// A mailbox without a name, and who sends to it.
///
/// ```
/// use millstream_flow::mailbox;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (sender, mut mailbox) = mailbox();
/// sender.send(7)?;
/// assert_eq!(sender.send(8).unwrap_err().message, 8, "there is a message already");
/// assert_eq!(mailbox.receive().await?, 7);
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
pub fn mailbox<T: Send + 'static>() -> (Sender<T>, Mailbox<T>) {
    let slot = Arc::new(Slot::new());
    (Sender(slot.clone()), Mailbox::with(slot, None))
}

/// Sends to one [`Mailbox`]. When the last clone is dropped and nothing was sent, the receiver has an error.
pub struct Sender<T>(Arc<Slot<T>>);

/// Receives one message. A mailbox with a name ([`Names::mailbox`](crate::Names::mailbox)) gets what is sent to that name from when it
/// is made, awaited or not. Dropping it drops a message in it; [`into_message`](Self::into_message) gives that.
pub struct Mailbox<T> {
    place: Option<Place>,
    slot: Arc<Slot<T>>,
}

/// Where the message lies.
pub(crate) struct Slot<T>(Mutex<State<T>>);

struct State<T> {
    stage: Stage<T>,
    /// A name counts as one that never goes.
    senders: usize,
}

enum Stage<T> {
    /// For a message; the waker is there once somebody waits.
    Waiting(Option<Waker>),
    Full(T),
    Received,
    /// The receiver is gone.
    Closed,
}

/// Why a slot takes no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Received,
    Closed,
}

/// Why there is and will be no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoMessage {
    Received,
    /// Nobody is left to send it.
    NoSender,
}

impl<T> Sender<T> {
    /// Puts the message into the mailbox; does not wait.
    ///
    /// # Errors
    /// The message, with [`Kind::Limit`] when there is one already; with [`Kind::Cancelled`] when one was received, or the mailbox was
    /// dropped.
    pub fn send(&self, message: T) -> Result<(), Unsent<T>> {
        self.put(message).map_err(|(message, refusal)| {
            let error = match refusal {
                Refusal::Full => {
                    Error::new(Kind::Limit, Origin::Caller, "there is a message in the mailbox already")
                }
                Refusal::Received => gone("the mailbox has received its message"),
                Refusal::Closed => gone("the mailbox was dropped"),
            };
            Unsent::new(message, error)
        })
    }

    pub(crate) fn put(&self, message: T) -> Result<(), (T, Refusal)> {
        wake(self.0.put(message)?);
        Ok(())
    }
}

impl<T: Send + 'static> Mailbox<T> {
    pub(crate) fn with(slot: Arc<Slot<T>>, place: Option<Place>) -> Self {
        Self { place, slot }
    }

    /// The message, as soon as there is one. Dropping the future loses nothing: the message stays here.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when every [`Sender`] was dropped and nothing was sent; [`Kind::Invalid`] when the message was received before.
    /// A name can always be sent to: a mailbox with a name waits as long as it is let.
    pub async fn receive(&mut self) -> Result<T> {
        self.received().await.map_err(|why| match why {
            NoMessage::Received => Error::invalid("a mailbox receives one message, and has done so"),
            NoMessage::NoSender => gone("all who could send to the mailbox are gone"),
        })
    }

    /// [`receive`](Self::receive) as a task.
    ///
    /// ```
    /// use millstream_flow::mailbox;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let (sender, mailbox) = mailbox();
    /// let task = mailbox.receive_task("answer").map(|answer: i32| answer + 1);
    /// sender.send(41)?;
    /// assert_eq!(task.await?, 42);
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn receive_task(mut self, name: impl Into<Cow<'static, str>>) -> Task<T> {
        Task::new(name, TaskKind::Other, async move { self.receive().await })
    }

    pub(crate) async fn received(&mut self) -> Result<T, NoMessage> {
        poll_fn(|cx| self.slot.poll_receive(cx)).await
    }
}

impl<T> Mailbox<T> {
    /// Stops waiting; gives the message that has come and was not received. From here on messages go back to their senders.
    ///
    /// ```
    /// use millstream_flow::Names;
    /// let names = Names::new();
    /// let mailbox = names.mailbox("work")?;
    /// names.send("work", 1)?;
    /// assert_eq!(mailbox.into_message(), Some(1));
    /// # Ok::<(), millstream_base::Error>(())
    /// ```
    pub fn into_message(mut self) -> Option<T> {
        self.close()
    }

    fn close(&mut self) -> Option<T> {
        // First nobody finds it, then it takes no more.
        drop(self.place.take());
        let stage = std::mem::replace(&mut lock(&self.slot.0).stage, Stage::Closed);
        match stage {
            Stage::Full(message) => Some(message),
            Stage::Waiting(_) | Stage::Received | Stage::Closed => None,
        }
    }
}

impl<T> Slot<T> {
    /// With one sender.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { stage: Stage::Waiting(None), senders: 1 }))
    }

    /// Puts the message in; gives who is to be woken.
    pub(crate) fn put(&self, message: T) -> Result<Option<Waker>, (T, Refusal)> {
        let mut state = lock(&self.0);
        match &mut state.stage {
            Stage::Waiting(waker) => {
                let waker = waker.take();
                state.stage = Stage::Full(message);
                Ok(waker)
            }
            Stage::Full(_) => Err((message, Refusal::Full)),
            Stage::Received => Err((message, Refusal::Received)),
            Stage::Closed => Err((message, Refusal::Closed)),
        }
    }

    fn poll_receive(&self, cx: &Context<'_>) -> Poll<Result<T, NoMessage>> {
        // Dropped after the lock, as is the one before it.
        let mut waker = Some(cx.waker().clone());
        let mut state = lock(&self.0);
        let has_senders = state.senders > 0;
        match &mut state.stage {
            Stage::Full(_) => {
                let full = std::mem::replace(&mut state.stage, Stage::Received);
                let Stage::Full(message) = full else { unreachable!("it was looked at just now") };
                Poll::Ready(Ok(message))
            }
            Stage::Waiting(old) if has_senders => {
                std::mem::swap(old, &mut waker);
                Poll::Pending
            }
            Stage::Waiting(_) => Poll::Ready(Err(NoMessage::NoSender)),
            Stage::Received | Stage::Closed => Poll::Ready(Err(NoMessage::Received)),
        }
    }
}

#[cold]
fn gone(text: &'static str) -> Error {
    Error::new(Kind::Cancelled, Origin::Caller, text)
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        lock(&self.0.0).senders += 1;
        Self(self.0.clone())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = lock(&self.0.0);
            state.senders -= 1;
            let is_last = state.senders == 0;
            match &mut state.stage {
                Stage::Waiting(waker) if is_last => waker.take(),
                _ => None,
            }
        };
        wake(waker);
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sender({})", self.0.stage())
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.place.as_ref().map_or("", Place::name);
        write!(f, "Mailbox({name:?}, {})", self.slot.stage())
    }
}

impl<T> Slot<T> {
    fn stage(&self) -> &'static str {
        match lock(&self.0).stage {
            Stage::Waiting(_) => "waiting",
            Stage::Full(_) => "full",
            Stage::Received => "received",
            Stage::Closed => "closed",
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn message_is_received_once_and_others_come_back() {
        let (sender, mut mailbox) = mailbox();
        let second = sender.clone();
        sender.send(1).expect("there is room");
        let unsent = second.send(2).expect_err("there is one already");
        assert_eq!((unsent.message, unsent.error.kind()), (2, Kind::Limit));
        drop((sender, mailbox.received().await.expect("sent")));
        let unsent = second.send(3).expect_err("it was received");
        assert_eq!((unsent.message, unsent.error.kind()), (3, Kind::Cancelled));
        assert_eq!(mailbox.receive().await.expect_err("once").kind(), Kind::Invalid);
        drop(mailbox);
        assert_eq!(second.send(4).expect_err("dropped").to_string(), "the mailbox was dropped");
    }

    #[tokio::test]
    async fn receiver_hears_when_nobody_is_left_to_send() {
        let (sender, mut mailbox) = mailbox::<()>();
        let waiting = tokio::spawn(async move { mailbox.receive().await });
        tokio::task::yield_now().await;
        drop(sender.clone());
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(sender);
        let error = waiting.await.expect("no panic").expect_err("nobody sends");
        assert!(error.is_cancelled(), "{error}");
    }

    #[tokio::test]
    async fn message_of_a_sender_that_is_gone_is_received() {
        let (sender, mailbox) = mailbox();
        sender.send("last words").expect("there is room");
        drop(sender);
        assert_eq!(mailbox.receive_task("receive").await.expect("it was sent"), "last words");
    }

    #[tokio::test]
    async fn dropping_the_future_loses_nothing_in_any_phase() {
        let mut cx = Context::from_waker(Waker::noop());
        let (sender, mut mailbox) = mailbox();
        drop(mailbox.receive());
        {
            let mut receiving = pin!(mailbox.receive());
            assert!(receiving.as_mut().poll(&mut cx).is_pending());
        }
        {
            let mut receiving = pin!(mailbox.receive());
            assert!(receiving.as_mut().poll(&mut cx).is_pending());
            sender.send(5).expect("there is room");
        }
        assert_eq!(mailbox.receive().await.expect("it stayed"), 5);
    }
}
