//! Meeting by name.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use millstream_base::Result;
use millstream_runtime::Engine;

use super::conditional::when;
use super::counter::{Counter, Tally};
use super::guard::Guard;
use super::mailbox::{Mailbox, Slot};
use super::registry::{Registry, Shelf};
use super::unsent::Unsent;
use crate::Task;

/// The names of one engine, under which tasks meet that don't know each other. Clones are the same names.
///
/// A name is known while anybody holds what it names, and forgotten then. Counters, mailboxes, conditionals and guards have names of their
/// own: a counter and a guard that are called alike have nothing to do with each other. Each call is one step: whoever was there
/// before it is found, oldest first.
///
/// ```
/// use millstream_flow::Names;
/// use millstream_runtime::Engine;
/// let engine = Engine::builder().workers(1).build()?;
/// let names = Names::of(&engine);
/// let ready = names.counter("parts ready", 2);
/// assert_eq!(Names::of(&engine).count_by("parts ready", 5), 3, "three more than anybody needed");
/// engine.run(async move |_| ready.wait().await)?;
/// assert_eq!(names.len(), 0);
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone)]
pub struct Names(Arc<Registry>);

/// One for each engine.
struct OfEngine(Arc<Registry>);

impl Names {
    /// The names of this engine: whoever asks gets the same, and no other engine shares them.
    pub fn of(engine: &Engine) -> Self {
        Self(engine.shared(|_| OfEngine(Arc::new(Registry::new()))).0.clone())
    }

    /// Names that only clones of this know.
    pub fn new() -> Self {
        Self(Arc::new(Registry::new()))
    }

    /// A new counter of this name, behind those that there are. It is counted by name while a clone of it lives.
    pub fn counter(&self, name: &str, target: u64) -> Counter {
        let tally = Arc::new(Tally::new(target));
        let place = self.0.add_counter(name, tally.clone());
        Counter::with(tally, Some(place))
    }

    /// Counts the oldest counter of this name; gives 1 when nobody needed it, else 0.
    pub fn count(&self, name: &str) -> u64 {
        self.count_by(name, 1)
    }

    /// Counts the oldest counter of this name, with what is more than it needs the next, and so on. Gives how many none needed.
    ///
    /// ```
    /// use millstream_flow::Names;
    /// let names = Names::new();
    /// let (first, second) = (names.counter("parts", 2), names.counter("parts", 3));
    /// assert_eq!(names.count_by("parts", 3), 0);
    /// assert_eq!((first.left(), second.left()), (0, 2));
    /// assert_eq!(names.count_by("parts", 7), 5);
    /// ```
    pub fn count_by(&self, name: &str, count: u64) -> u64 {
        self.0.count(name, count)
    }

    /// A new mailbox of this name, behind those that there are.
    ///
    /// # Errors
    /// [`Kind::Invalid`](millstream_base::Kind::Invalid) while there are mailboxes of this name for messages of another type.
    pub fn mailbox<T: Send + 'static>(&self, name: &str) -> Result<Mailbox<T>> {
        self.slot(Shelf::Mailboxes, name)
    }

    /// Puts a message into every empty mailbox of this name; gives how many got it.
    ///
    /// ```
    /// use millstream_flow::Names;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let names = Names::new();
    /// let mut listeners = [names.mailbox::<&str>("news")?, names.mailbox("news")?];
    /// assert_eq!(names.send("news", "rain")?, 2);
    /// assert_eq!(names.send("news", "snow").unwrap_err().message, "snow", "all have their message");
    /// assert_eq!(listeners[1].receive().await?, "rain");
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// The message, when nobody got it: with [`Kind::Cancelled`](millstream_base::Kind::Cancelled) when nobody waits, with
    /// [`Kind::Invalid`](millstream_base::Kind::Invalid) when those who wait do so for messages of another type.
    pub fn send<T: Clone + Send + 'static>(&self, name: &str, message: T) -> Result<usize, Unsent<T>> {
        self.send_at_most(usize::MAX, name, message)
    }

    /// [`send`](Self::send) to the `most` oldest.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_at_most<T>(&self, most: usize, name: &str, message: T) -> Result<usize, Unsent<T>>
    where
        T: Clone + Send + 'static,
    {
        self.0.send(Shelf::Mailboxes, name, most, message)
    }

    /// A task that starts when its name is signalled, with the message. It can be signalled from now on, awaited or not; once.
    ///
    /// ```
    /// use millstream_flow::{Names, Task};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let names = Names::new();
    /// let greet = names.conditional("greet", |whom: &str| Task::ready("greeting", format!("hello {whom}")))?;
    /// assert_eq!(names.signal("greet", "world")?, 1);
    /// assert_eq!(greet.await?, "hello world");
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Kind::Invalid`](millstream_base::Kind::Invalid) while there are conditionals of this name for messages of another type.
    pub fn conditional<M, T, F>(
        &self,
        name: impl Into<Cow<'static, str>>,
        start: impl FnOnce(M) -> F + Send + 'static,
    ) -> Result<Task<T>>
    where
        M: Send + 'static,
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let name = name.into();
        let mailbox = self.slot(Shelf::Conditionals, &name)?;
        Ok(when(name, mailbox, start))
    }

    /// Starts every conditional of this name that was not signalled; gives how many those are.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn signal<M: Clone + Send + 'static>(&self, name: &str, message: M) -> Result<usize, Unsent<M>> {
        self.signal_at_most(usize::MAX, name, message)
    }

    /// [`signal`](Self::signal) to the `most` oldest.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn signal_at_most<M>(&self, most: usize, name: &str, message: M) -> Result<usize, Unsent<M>>
    where
        M: Clone + Send + 'static,
    {
        self.0.send(Shelf::Conditionals, name, most, message)
    }

    /// The guard of this name: the same for all who ask while anybody holds it.
    ///
    /// ```
    /// use millstream_flow::Names;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let names = Names::new();
    /// let held = names.guard("config").lock().await;
    /// assert!(names.guard("config").try_lock().is_none());
    /// drop(held);
    /// assert_eq!(names.len(), 0);
    /// # });
    /// ```
    pub fn guard(&self, name: &str) -> Guard {
        Guard::with(self.0.gate(name))
    }

    /// How many names are known.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Is no name known?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn slot<T: Send + 'static>(&self, shelf: Shelf, name: &str) -> Result<Mailbox<T>> {
        let slot = Arc::new(Slot::new());
        let place = self.0.add_slot(shelf, name, slot.clone())?;
        Ok(Mailbox::with(slot, Some(place)))
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Names({} known)", self.len())
    }
}
