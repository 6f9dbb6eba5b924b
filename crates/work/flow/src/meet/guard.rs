//! One at a time.

use std::fmt;
use std::sync::Arc;

use millstream_base::{Deadline, Error, Kind, Origin, Result};
use tokio::sync::Semaphore;

use super::registry::Registry;
use crate::Task;

/// A lock that is held across `.await`: one task at a time, in the order in which they came. Clones are the same guard; with a name
/// ([`Names::guard`](crate::Names::guard)) so are all of that name.
///
/// It is no re-entrant one: who holds it and asks again waits for himself.
///
/// ```
/// use millstream_flow::{Guard, Parallel, Task, TaskKind};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let guard = Guard::new();
/// let tasks = (0..3).map(|_| guard.around(Task::new("write", TaskKind::File, async { Ok(()) })));
/// Parallel::of("one at a time", tasks).all().await?;
/// assert!(guard.try_lock().is_some());
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Guard(Arc<Gate>);

/// A guard is held until this is dropped, which lets the next one in; on any thread, also when a panic unwinds.
#[must_use = "the guard is held only while this lives"]
pub struct Held(Arc<Gate>);

/// What clones share.
pub(crate) struct Gate {
    /// First come, first served. Who stops waiting takes nothing along.
    semaphore: Semaphore,
    name: Option<(Arc<Registry>, Arc<str>)>,
}

impl Guard {
    /// A guard without a name.
    pub fn new() -> Self {
        Self(Arc::new(Gate::new(None)))
    }

    pub(crate) fn with(gate: Arc<Gate>) -> Self {
        Self(gate)
    }

    /// Holds the guard, when all who came before have had it. Dropping the future leaves the line.
    pub async fn lock(&self) -> Held {
        let permit = self.0.semaphore.acquire().await;
        permit.expect("a guard's semaphore is never closed").forget();
        Held(self.0.clone())
    }

    /// [`lock`](Self::lock), but not longer than until `deadline`.
    ///
    /// # Errors
    /// [`Kind::Timeout`] when it was not free in time.
    pub async fn lock_by(&self, deadline: Deadline) -> Result<Held> {
        match tokio::time::timeout_at(deadline.moment().into(), self.lock()).await {
            Ok(held) => Ok(held),
            Err(_) => {
                let text = format!("the guard {:?} was not free in time", self.0.name());
                Err(Error::new(Kind::Timeout, Origin::Local, text))
            }
        }
    }

    /// Holds the guard if nobody does.
    pub fn try_lock(&self) -> Option<Held> {
        self.0.semaphore.try_acquire().ok()?.forget();
        Some(Held(self.0.clone()))
    }

    /// The same task, which waits for the guard first and holds it until it has ended. The guard is held across a retry or a timeout
    /// within `task`; to time out the wait as well, put [`Task::timeout`] around what this gives.
    pub fn around<T: Send + 'static>(&self, task: Task<T>) -> Task<T> {
        let guard = self.clone();
        Task::new(task.name().to_owned(), task.kind(), async move {
            let _held = guard.lock().await;
            task.await
        })
    }
}

impl Gate {
    pub(crate) fn new(name: Option<(Arc<Registry>, Arc<str>)>) -> Self {
        Self { semaphore: Semaphore::new(1), name }
    }

    fn name(&self) -> &str {
        self.name.as_ref().map_or("", |(_, name)| name)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some((registry, name)) = &self.name {
            registry.forget_gate(name);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.semaphore.add_permits(1);
    }
}

impl Default for Guard {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_held = self.0.semaphore.available_permits() == 0;
        f.debug_struct("Guard").field("name", &self.0.name()).field("is_held", &is_held).finish()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Held({:?})", self.0.name())
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use super::*;
    use crate::TaskKind;

    #[tokio::test]
    async fn held_in_the_order_of_asking() {
        let guard = Guard::new();
        let held = guard.lock().await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for number in 0..5 {
            let order = order.clone();
            let work = Task::new("work", TaskKind::Other, async move {
                order.lock().expect("no panic").push(number);
                tokio::task::yield_now().await;
                Ok(())
            });
            tasks.push(tokio::spawn(guard.around(work)));
            tokio::task::yield_now().await;
        }
        tasks.remove(2).abort();
        tokio::task::yield_now().await;
        drop(held);
        for task in tasks {
            task.await.expect("no panic").expect("it works");
        }
        assert_eq!(*order.lock().expect("no panic"), [0, 1, 3, 4]);
    }

    #[tokio::test]
    async fn who_stops_waiting_after_being_let_in_lets_the_next_in() {
        let mut cx = Context::from_waker(Waker::noop());
        let guard = Guard::new();
        let held = guard.lock().await;
        let mut second = pin!(guard.lock());
        {
            let mut first = pin!(guard.lock());
            assert!(first.as_mut().poll(&mut cx).is_pending());
            assert!(second.as_mut().poll(&mut cx).is_pending());
            drop(held);
        }
        drop(second.await);
        assert!(guard.try_lock().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn deadline_ends_the_wait_and_leaves_the_line() {
        let guard = Guard::new();
        let held = guard.lock().await;
        let now = tokio::time::Instant::now().into_std();
        let error = guard.lock_by(Deadline::after(now, Duration::from_secs(5))).await.expect_err("held");
        assert!(error.is_timeout(), "{error}");
        drop(held);
        drop(guard.lock_by(Deadline::at(now)).await.expect("it is free"));
        assert!(guard.try_lock().is_some());
    }

    #[tokio::test]
    async fn panic_lets_the_next_in() {
        let guard = Guard::new();
        let panics = Task::<()>::new("panics", TaskKind::Other, async { panic!("with the guard") });
        assert_eq!(guard.around(panics).await.expect_err("it panicked").kind(), Kind::Panic);
        drop(guard.lock().await);
    }
}
