//! Steps one after the other.

mod context;
mod picture;
mod run;

use std::any::Any;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;

use millstream_base::Result;
use millstream_runtime::{CancelToken, Queue};

use crate::record::{Record, Recorder};
use crate::task::{BoxFuture, Name, Work};
use crate::{Task, TaskKind};

pub use context::Context;
use run::Run;

/// Steps one after the other: each gets what the one before gave, and all share a context `C`. `T` is what the last one gives.
///
/// It begins when it is first polled; dropping it cancels what is under way. The first error ends it: no further step begins, and the
/// error names the series and the step. Steps that compute in the same queue follow each other on one thread, without a way back to a
/// worker; after 100 µs of them the queue's other jobs get their turn.
///
/// ```
/// use millstream_flow::{Series, TaskKind};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let series = Series::new("greet")
///     .then("name", TaskKind::Other, |_, ()| async { Ok("world".to_owned()) })
///     .then("greeting", TaskKind::Other, |_, name: String| async move { Ok(format!("hello {name}")) });
/// assert_eq!(series.await?, "hello world");
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
#[must_use = "a series does nothing unless it is awaited"]
pub struct Series<T, C = ()> {
    name: Name,
    steps: VecDeque<Step<C>>,
    context: C,
    on_end: Option<OnEnd<T>>,
    recorder: Option<Recorder>,
    output: PhantomData<fn() -> T>,
}

/// What a step hands to the next.
type Value = Box<dyn Any + Send>;
type OnEnd<T> = Box<dyn FnOnce(&Result<T>) + Send>;
type Start<C> = Box<dyn FnOnce(Context<C>, Value) -> BoxFuture<Result<Value>> + Send>;
type Compute<C> = Box<dyn FnOnce(&Context<C>, Value, CancelToken<'_>) -> Result<Value> + Send>;

struct Step<C> {
    name: Name,
    kind: TaskKind,
    work: StepWork<C>,
}

enum StepWork<C> {
    Future(Start<C>),
    Compute(Queue, Compute<C>),
}

impl Series<()> {
    /// No step yet, and no context.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self::with_context(name, ())
    }
}

impl<C: Send + Sync + 'static> Series<(), C> {
    /// No step yet; all will see this context.
    ///
    /// ```
    /// use millstream_flow::{Series, TaskKind};
    /// use std::sync::Mutex;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let series = Series::with_context("log", Mutex::new(Vec::new()))
    ///     .then("first", TaskKind::Other, |log, ()| async move { Ok(log.lock().unwrap().push("first")) })
    ///     .then("last", TaskKind::Other, |log, ()| async move { Ok(log.lock().unwrap().len()) });
    /// assert_eq!(series.await?, 1);
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn with_context(name: impl Into<Cow<'static, str>>, context: C) -> Self {
        let (steps, output) = (VecDeque::new(), PhantomData);
        Self { name: name.into(), steps, context, on_end: None, recorder: None, output }
    }
}

impl<T: Send + 'static, C: Send + Sync + 'static> Series<T, C> {
    /// Adds a step that gets what the one before gave.
    pub fn then<U, F>(
        self,
        name: impl Into<Cow<'static, str>>,
        kind: TaskKind,
        step: impl FnOnce(Context<C>, T) -> F + Send + 'static,
    ) -> Series<U, C>
    where
        F: Future<Output = Result<U>> + Send + 'static,
        U: Send + 'static,
    {
        let start: Start<C> = Box::new(move |context, value| {
            let future = step(context, typed(value));
            Box::pin(async move { future.await.map(|output| Box::new(output) as Value) })
        });
        self.extended(Step { name: name.into(), kind, work: StepWork::Future(start) })
    }

    /// Adds a step that computes on the threads of `queue`.
    pub fn compute<U: Send + 'static>(
        self,
        name: impl Into<Cow<'static, str>>,
        queue: &Queue,
        step: impl FnOnce(&Context<C>, T) -> Result<U> + Send + 'static,
    ) -> Series<U, C> {
        let compute: Compute<C> = Box::new(move |context, value, _| {
            step(context, typed(value)).map(|output| Box::new(output) as Value)
        });
        let work = StepWork::Compute(queue.clone(), compute);
        self.extended(Step { name: name.into(), kind: TaskKind::Compute, work })
    }

    /// Adds a task that what was given passes by.
    ///
    /// ```
    /// use millstream_flow::{Series, Task};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut series = Series::new("many");
    /// for _ in 0..1000 {
    ///     series.push(Task::empty());
    /// }
    /// series.await?;
    /// # Ok::<(), millstream_base::Error>(()) }).unwrap();
    /// ```
    pub fn push(&mut self, task: Task<()>) {
        self.steps.push_back(Step::aside(task));
    }

    /// [`push`](Self::push), in a row of calls.
    pub fn with(mut self, task: Task<()>) -> Self {
        self.push(task);
        self
    }

    /// Has `on_end` see the outcome, exactly once if the series has begun: when its last step has ended, at its first error, when it is
    /// cancelled, and when it is dropped under way (with an error of [`Kind::Cancelled`](millstream_base::Kind::Cancelled)). It
    /// replaces what was set before. Set it last: a step that is added with [`then`](Self::then) or [`compute`](Self::compute) gives
    /// another output, and takes it away.
    pub fn on_end(self, on_end: impl FnOnce(&Result<T>) + Send + 'static) -> Self {
        Self { on_end: Some(Box::new(on_end)), ..self }
    }

    /// Runs it, and tells when each step ran and where.
    pub async fn recorded(mut self) -> (Result<T>, Record) {
        let recorder = Recorder::new(self.name.clone());
        self.recorder = Some(recorder.clone());
        let outcome = self.await;
        (outcome, recorder.finish())
    }

    /// The whole series as one task.
    pub fn into_task(self) -> Task<T> {
        Task::new(self.name.clone(), TaskKind::Flow, self.into_future())
    }

    /// How many steps it has.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Has it no step?
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    fn extended<U>(self, step: Step<C>) -> Series<U, C> {
        let Self { name, mut steps, context, recorder, .. } = self;
        steps.push_back(step);
        Series { name, steps, context, on_end: None, recorder, output: PhantomData }
    }
}

impl<C> Step<C> {
    /// A task that the value passes by.
    fn aside(task: Task<()>) -> Self {
        let (name, kind, work) = task.into_parts();
        let work = match work {
            Work::Compute(queue, closure) => {
                StepWork::Compute(queue, Box::new(move |_, value, token| closure(token).map(|()| value)))
            }
            work => StepWork::Future(Box::new(move |_, value| {
                Box::pin(async move { work.await.map(|()| value) })
            })),
        };
        Self { name, kind, work }
    }
}

/// What the step before gave: its type was checked when the series was written.
fn typed<T: 'static>(value: Value) -> T {
    match value.downcast() {
        Ok(value) => *value,
        Err(_) => unreachable!("the steps of a series fit each other"),
    }
}

impl<T: Send + 'static, C: Send + Sync + 'static> IntoFuture for Series<T, C> {
    type Output = Result<T>;
    type IntoFuture = Run<T, C>;

    fn into_future(self) -> Run<T, C> {
        Run::new(self)
    }
}

impl<T, C> fmt::Debug for Series<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.steps.iter().map(|step| &step.name).collect();
        f.debug_struct("Series").field("name", &self.name).field("steps", &names).finish_non_exhaustive()
    }
}
