//! A task that starts when it is signalled.

use std::borrow::Cow;
use std::future::Future;

use millstream_base::Result;

use super::mailbox::{Mailbox, Sender, mailbox};
use crate::{Task, TaskKind};

/// A task that starts when it is sent a message, with that message; and who sends it. What is sent before the task is awaited starts it
/// then.
///
/// The task fails with [`Kind::Cancelled`](millstream_base::Kind::Cancelled) when every sender was dropped and nothing was sent. Dropping
/// it before hands messages back to their senders. With a name it is [`Names::conditional`](crate::Names::conditional).
///
/// ```
/// use millstream_flow::{Task, conditional};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (go, task) = conditional("double", |number: u32| Task::ready("doubled", number * 2));
/// go.send(21)?;
/// assert_eq!(task.await?, 42);
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
pub fn conditional<M, T, F>(
    name: impl Into<Cow<'static, str>>,
    start: impl FnOnce(M) -> F + Send + 'static,
) -> (Sender<M>, Task<T>)
where
    M: Send + 'static,
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let (sender, mailbox) = mailbox();
    (sender, when(name.into(), mailbox, start))
}

/// Starts with what comes into the mailbox.
pub(crate) fn when<M, T, F>(
    name: Cow<'static, str>,
    mut mailbox: Mailbox<M>,
    start: impl FnOnce(M) -> F + Send + 'static,
) -> Task<T>
where
    M: Send + 'static,
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    Task::new(name, TaskKind::Other, async move {
        let message = mailbox.receive().await?;
        drop(mailbox);
        start(message).await
    })
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use millstream_base::Kind;

    use super::*;

    #[tokio::test]
    async fn task_starts_with_the_message_and_not_before() {
        let (go, task) = conditional("add", |number: u32| async move { Ok(number + 1) });
        let running = tokio::spawn(task);
        tokio::task::yield_now().await;
        assert!(!running.is_finished());
        go.send(1).expect("it waits");
        assert_eq!(running.await.expect("no panic").expect("it started"), 2);
        assert_eq!(go.send(5).expect_err("it has run").message, 5);
    }

    #[tokio::test]
    async fn task_that_nobody_can_start_fails() {
        let (go, task) = conditional("never", |()| async { Ok(()) });
        drop(go);
        assert_eq!(task.await.expect_err("nobody signals").kind(), Kind::Cancelled);
    }

    #[tokio::test]
    async fn dropped_task_hands_the_message_back() {
        let (go, task) = conditional("dropped", |text: &str| async move { Ok(text.len()) });
        drop(task);
        assert_eq!(go.send("back").expect_err("nobody starts").message, "back");
    }

    #[tokio::test]
    async fn panic_of_what_was_started_is_an_error() {
        let (go, task) = conditional::<_, (), _>("panics", |number: u32| async move { panic!("{number}") });
        go.send(3).expect("it waits");
        assert_eq!(task.await.expect_err("it panicked").kind(), Kind::Panic);
    }
}
