//! A future with a name and a kind.

mod contain;
mod hedge;
mod retry;

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Result};
use millstream_runtime::{CancelToken, Computing, Queue};
use tracing::Span;

pub(crate) use contain::{called, contained, discard, discard_pinned, in_flow, outcome};
pub use hedge::Hedge;
pub use retry::Retry;

/// What a task mostly does: for whoever looks at a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskKind {
    /// Talks with another program.
    Network,
    /// Computes.
    Compute,
    /// Reads or writes files.
    File,
    /// Waits for a moment.
    Timer,
    /// A flow of its own.
    Flow,
    /// Anything else.
    #[default]
    Other,
}

impl TaskKind {
    /// Its name in pictures and spans.
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Compute => "compute",
            Self::File => "file",
            Self::Timer => "timer",
            Self::Flow => "flow",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name: borrowed where it is written in the program.
pub(crate) type Name = Cow<'static, str>;
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Closure<T> = Box<dyn FnOnce(CancelToken<'_>) -> Result<T> + Send>;

/// Something to do, once: a future with a name and a kind. It begins when it is first polled; dropping it cancels it.
///
/// A panic within is an error of [`Kind::Panic`]. One in the drop of a future that has ended, or of one among several that is dropped, is
/// logged and goes no further.
///
/// A task of a task of a task is polled from outside in: a thousand levels fit the stack of a thread, a hundred thousand do not.
///
/// ```
/// use millstream_flow::{Task, TaskKind};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let task = Task::new("answer", TaskKind::Other, async { Ok(42) });
/// assert_eq!(task.map(|answer| answer + 1).await?, 43);
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
#[must_use = "a task does nothing unless it is awaited"]
pub struct Task<T> {
    name: Name,
    kind: TaskKind,
    span: Option<Span>,
    work: Work<T>,
}

/// The span of a part of a flow, within that of the flow, on whatever thread; none where the flow has none.
#[inline]
pub(crate) fn span_of(within: &Span, flow: &str, name: &str, kind: TaskKind) -> Span {
    if within.is_disabled() {
        return Span::none();
    }
    tracing::debug_span!(parent: within, "task", flow, task = name, kind = kind.name())
}

/// What a task has to do.
pub(crate) enum Work<T> {
    Future(BoxFuture<Result<T>>),
    /// On a thread of the queue, not begun.
    Compute(Queue, Closure<T>),
    Computing(Computing<Result<T>>),
    Ended,
}

impl<T: Send + 'static> Task<T> {
    /// Any future.
    pub fn new(
        name: impl Into<Cow<'static, str>>,
        kind: TaskKind,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Self {
        Self::with(name.into(), kind, Work::Future(Box::pin(future)))
    }

    /// A computation on the threads of `queue`. It enters the queue when the task is first polled.
    ///
    /// ```
    /// use millstream_flow::Task;
    /// use millstream_runtime::Engine;
    /// let engine = Engine::builder().workers(1).build()?;
    /// let queue = engine.compute("sums")?;
    /// let sum = engine.run(async move |_| Task::compute("sum", &queue, || Ok((1..=100).sum::<u64>())).await)??;
    /// assert_eq!(sum, 5050);
    /// # Ok::<(), millstream_base::Error>(())
    /// ```
    pub fn compute(
        name: impl Into<Cow<'static, str>>,
        queue: &Queue,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Self {
        Self::compute_with(name, queue, move |_| work())
    }

    /// A long computation, which asks the token now and then whether its output is still wanted.
    pub fn compute_with(
        name: impl Into<Cow<'static, str>>,
        queue: &Queue,
        work: impl FnOnce(CancelToken<'_>) -> Result<T> + Send + 'static,
    ) -> Self {
        Self::with(name.into(), TaskKind::Compute, Work::Compute(queue.clone(), Box::new(work)))
    }

    /// What to do is decided when it is time to do it.
    ///
    /// ```
    /// use millstream_flow::{Task, TaskKind};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let task = Task::dynamic("choose", || Task::ready("seven", 7));
    /// assert_eq!(task.await?, 7);
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn dynamic(
        name: impl Into<Cow<'static, str>>,
        choose: impl FnOnce() -> Task<T> + Send + 'static,
    ) -> Self {
        Self::new(name, TaskKind::Other, async move { choose().await })
    }

    /// A task that has been done already.
    pub fn ready(name: impl Into<Cow<'static, str>>, output: T) -> Self {
        Self::new(name, TaskKind::Other, std::future::ready(Ok(output)))
    }

    /// A task that fails.
    pub fn failed(name: impl Into<Cow<'static, str>>, error: Error) -> Self {
        Self::new(name, TaskKind::Other, std::future::ready(Err(error)))
    }

    /// Ends with an error of [`Kind::Timeout`] after `limit`, counted from the first poll; what was under way is dropped.
    pub fn timeout(self, limit: Duration) -> Self {
        let (name, kind) = (self.name.clone(), self.kind);
        let text = name.clone();
        Self::new(name, kind, async move {
            match millstream_runtime::timeout(limit, self).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let text = format!("{text} took longer than its limit of {limit:?}");
                    Err(Error::new(Kind::Timeout, Origin::Local, text))
                }
            }
        })
    }

    /// What to do instead when it fails.
    ///
    /// ```
    /// use millstream_base::Error;
    /// use millstream_flow::Task;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let task = Task::failed("live", Error::invalid("no")).or_else(|_error| Task::ready("cached", 3));
    /// assert_eq!(task.await?, 3);
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn or_else(self, other: impl FnOnce(Error) -> Task<T> + Send + 'static) -> Self {
        let (name, kind) = (self.name.clone(), self.kind);
        Self::new(name, kind, async move {
            match self.await {
                Ok(output) => Ok(output),
                Err(error) => other(error).await,
            }
        })
    }

    /// Changes what it gives.
    pub fn map<U: Send + 'static>(self, change: impl FnOnce(T) -> U + Send + 'static) -> Task<U> {
        let (name, kind) = (self.name.clone(), self.kind);
        Task::new(name, kind, async move { self.await.map(change) })
    }

    /// Shows the outcome to `look` before anybody else has it.
    pub fn inspect(self, look: impl FnOnce(&Result<T>) + Send + 'static) -> Self {
        let (name, kind) = (self.name.clone(), self.kind);
        Self::new(name, kind, async move {
            let outcome = self.await;
            look(&outcome);
            outcome
        })
    }

    /// The same with another name.
    pub fn named(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }

    fn with(name: Name, kind: TaskKind, work: Work<T>) -> Self {
        Self { name, kind, span: None, work }
    }

    /// The same as a part of this flow.
    pub(crate) fn part_of(mut self, within: &Span, flow: &str) -> Self {
        self.span = Some(span_of(within, flow, &self.name, self.kind));
        self
    }
}

impl Task<()> {
    /// Ends after this span.
    pub fn sleep(name: impl Into<Cow<'static, str>>, span: Duration) -> Self {
        Self::new(name, TaskKind::Timer, async move {
            millstream_runtime::sleep(span).await;
            Ok(())
        })
    }

    /// Does nothing.
    pub fn empty() -> Self {
        Self::ready("empty", ())
    }
}

impl Task<u64> {
    /// Does one task after the other that `next` makes, until it makes none; gives how many they were. The first error ends it.
    ///
    /// ```
    /// use millstream_flow::Task;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut left = 3;
    /// let thrice = Task::repeat("thrice", move || {
    ///     left -= 1;
    ///     (left >= 0).then(Task::empty)
    /// });
    /// assert_eq!(thrice.await?, 3);
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn repeat(
        name: impl Into<Cow<'static, str>>,
        mut next: impl FnMut() -> Option<Task<()>> + Send + 'static,
    ) -> Self {
        Self::new(name, TaskKind::Flow, async move {
            let mut count = 0;
            while let Some(task) = next() {
                task.await?;
                count += 1;
                // Tasks that never wait must not keep the worker.
                tokio::task::coop::consume_budget().await;
            }
            Ok(count)
        })
    }
}

impl<T> Task<T> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its kind.
    pub fn kind(&self) -> TaskKind {
        self.kind
    }

    pub(crate) fn into_parts(self) -> (Name, TaskKind, Work<T>) {
        (self.name, self.kind, self.work)
    }
}

impl<T: Send + 'static> Future for Task<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = &mut *self;
        let (name, kind) = (&this.name, this.kind.name());
        let span = this.span.get_or_insert_with(|| tracing::debug_span!("task", task = %name, kind));
        let _entered = span.enter();
        Pin::new(&mut this.work).poll(cx)
    }
}

impl<T: Send + 'static> Future for Work<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        if let Work::Compute(..) = &*self {
            let Work::Compute(queue, closure) = std::mem::replace(&mut *self, Work::Ended) else {
                unreachable!("it was looked at just now")
            };
            let span = Span::current();
            *self = Work::Computing(queue.run_with(move |token| span.in_scope(|| closure(token))));
        }
        let polled = match &mut *self {
            Work::Future(future) => contained(future.as_mut(), cx),
            Work::Computing(computing) => Pin::new(computing).poll(cx).map(Result::flatten),
            Work::Compute(..) | Work::Ended => panic!("a task is not to be polled after it has ended"),
        };
        if polled.is_ready() {
            discard(std::mem::replace(&mut *self, Work::Ended));
        }
        polled
    }
}

impl<T> Unpin for Work<T> {}

impl<T> Unpin for Task<T> {}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Task({:?}, {})", self.name, self.kind)
    }
}
