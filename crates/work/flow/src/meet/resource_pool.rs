//! A few things that many want to use, lent one to one user.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_base::{Deadline, Error, Kind, Origin, Result};
use tokio::sync::Semaphore;

use crate::{Task, TaskKind};

/// A few things, each lent to one user at a time, in the order in which they asked. Clones are the same pool.
///
/// A thing is given back when what lends it is dropped, also when a panic unwinds. Only what the pool was made of can come back: there
/// is no way to give back twice. What was given back last is lent first.
///
/// ```
/// use millstream_flow::ResourcePool;
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = ResourcePool::new([vec![0; 1024], vec![0; 1024]]);
/// let mut buf = pool.get().await?;
/// buf[0] = 1;
/// assert_eq!((pool.size(), pool.free()), (2, 1));
/// drop(buf);
/// assert_eq!(pool.get().await?.into_inner()[0], 1);
/// assert_eq!((pool.size(), pool.free()), (1, 1));
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
pub struct ResourcePool<T>(Arc<Shared<T>>);

struct Shared<T> {
    /// As many permits as `free` has things, less those that somebody was given and has not redeemed. Closed when `size` gets 0.
    semaphore: Semaphore,
    stock: Mutex<Stock<T>>,
}

struct Stock<T> {
    free: Vec<T>,
    /// With those that are lent.
    size: usize,
}

/// One thing of a [`ResourcePool`], lent until this is dropped.
#[must_use = "it is given back when this is dropped"]
pub struct Lent<T> {
    /// `None` once it was taken out for good.
    thing: Option<T>,
    pool: Arc<Shared<T>>,
}

impl<T: Send + 'static> ResourcePool<T> {
    /// Of these things.
    pub fn new(things: impl IntoIterator<Item = T>) -> Self {
        let free: Vec<T> = things.into_iter().collect();
        let (semaphore, size) = (Semaphore::new(free.len()), free.len());
        if size == 0 {
            semaphore.close();
        }
        Self(Arc::new(Shared { semaphore, stock: Mutex::new(Stock { free, size }) }))
    }

    /// Lends a thing, when all who asked before have one. Dropping the future leaves the line.
    ///
    /// # Errors
    /// [`Kind::Cancelled`] when the last thing is taken out for good, or there never was one.
    pub async fn get(&self) -> Result<Lent<T>> {
        match self.0.semaphore.acquire().await {
            Ok(permit) => {
                permit.forget();
                Ok(self.lend())
            }
            Err(_) => Err(Error::new(
                Kind::Cancelled,
                Origin::Caller,
                "there is nothing in the resource pool any more",
            )),
        }
    }

    /// [`get`](Self::get), but not longer than until `deadline`.
    ///
    /// # Errors
    /// [`Kind::Timeout`] when nothing was free in time; as [`get`](Self::get) besides.
    pub async fn get_by(&self, deadline: Deadline) -> Result<Lent<T>> {
        match tokio::time::timeout_at(deadline.moment().into(), self.get()).await {
            Ok(outcome) => outcome,
            Err(_) => {
                let text = format!("none of {} resources was free in time", self.size());
                Err(Error::new(Kind::Timeout, Origin::Local, text))
            }
        }
    }

    /// Lends a thing if one is free and nobody waits.
    pub fn try_get(&self) -> Option<Lent<T>> {
        self.0.semaphore.try_acquire().ok()?.forget();
        Some(self.lend())
    }

    /// A task that has a thing while it runs.
    ///
    /// ```
    /// use millstream_flow::ResourcePool;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let pool = ResourcePool::new(["a licence"]);
    /// let task = pool.lend_task("use it", |licence| async move { Ok(licence.len()) });
    /// assert_eq!(task.await?, 9);
    /// assert_eq!(pool.free(), 1);
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn lend_task<U, F>(
        &self,
        name: impl Into<Cow<'static, str>>,
        work: impl FnOnce(Lent<T>) -> F + Send + 'static,
    ) -> Task<U>
    where
        U: Send + 'static,
        F: Future<Output = Result<U>> + Send + 'static,
    {
        let pool = self.clone();
        Task::new(name, TaskKind::Other, async move { work(pool.get().await?).await })
    }

    /// How many things there are, lent or free.
    pub fn size(&self) -> usize {
        self.0.stock().size
    }

    /// How many are free, with those that somebody was given who has not come for them yet.
    pub fn free(&self) -> usize {
        self.0.stock().free.len()
    }

    /// For whom had a permit, and forgot it.
    fn lend(&self) -> Lent<T> {
        let thing = self.0.stock().free.pop();
        debug_assert!(thing.is_some(), "a permit stands for a thing that is free");
        Lent { thing, pool: self.0.clone() }
    }
}

impl<T> Shared<T> {
    /// No user code runs under the lock.
    fn stock(&self) -> MutexGuard<'_, Stock<T>> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Lent<T> {
    /// Takes the thing out of the pool for good, which has one less then. After the last one nobody waits any more: all fail.
    pub fn into_inner(mut self) -> T {
        let thing = self.thing.take().expect(PRESENT);
        let mut stock = self.pool.stock();
        stock.size -= 1;
        let is_last = stock.size == 0;
        drop(stock);
        if is_last {
            self.pool.semaphore.close();
        }
        thing
    }
}

/// `into_inner` consumes what it empties.
const PRESENT: &str = "only what is consumed is empty";

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing.as_ref().expect(PRESENT)
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.thing.as_mut().expect(PRESENT)
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(thing) = self.thing.take() {
            self.pool.stock().free.push(thing);
            self.pool.semaphore.add_permits(1);
        }
    }
}

impl<T> Clone for ResourcePool<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for ResourcePool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stock = self.0.stock();
        f.debug_struct("ResourcePool").field("size", &stock.size).field("free", &stock.free.len()).finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for Lent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lent").field(&**self).finish()
    }
}
