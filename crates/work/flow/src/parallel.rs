//! Tasks at once: all, until the first fails, or until the first succeeds.

mod each;
mod source;

use std::borrow::Cow;
use std::future::poll_fn;

use millstream_base::{Error, Result};
use tracing::Span;

use crate::set::Set;
use crate::{Task, TaskKind};

pub use each::{Each, Outputs};
pub use source::{Iterated, Source, Streamed};

/// Tasks that run at once, in the task that awaits them; computations among them on the threads of their queues. Dropping what runs
/// them drops those that have not ended.
///
/// ```
/// use millstream_flow::{Parallel, Task};
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let squares = (1..=3).map(|number| Task::ready("square", number * number));
/// assert_eq!(Parallel::of("squares", squares).all().await?, [1, 4, 9]);
/// # Ok::<(), millstream_base::Error>(()) }).unwrap();
/// ```
#[must_use = "tasks do nothing unless they are awaited"]
#[derive(Debug)]
pub struct Parallel<T> {
    name: Cow<'static, str>,
    tasks: Vec<Task<T>>,
}

impl<T: Send + 'static> Parallel<T> {
    /// None yet.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), tasks: Vec::new() }
    }

    /// These.
    pub fn of(name: impl Into<Cow<'static, str>>, tasks: impl IntoIterator<Item = Task<T>>) -> Self {
        Self { name: name.into(), tasks: tasks.into_iter().collect() }
    }

    /// Adds one.
    pub fn with(mut self, task: Task<T>) -> Self {
        self.tasks.push(task);
        self
    }

    /// Runs all, and gives their outputs in the order in which they were added.
    ///
    /// # Errors
    /// The first that comes; the other tasks are dropped then.
    pub async fn all(self) -> Result<Vec<T>> {
        let mut outputs: Vec<Option<T>> = self.tasks.iter().map(|_| None).collect();
        let (span, mut set) = self.start();
        while let Some((at, outcome)) = next(&span, &mut set).await {
            outputs[at] = Some(outcome?);
        }
        Ok(outputs.into_iter().flatten().collect())
    }

    /// Runs all to their ends, and gives what became of each, in the order in which they were added.
    pub async fn settled(self) -> Vec<Result<T>> {
        let mut outcomes: Vec<Option<Result<T>>> = self.tasks.iter().map(|_| None).collect();
        let (span, mut set) = self.start();
        while let Some((at, outcome)) = next(&span, &mut set).await {
            outcomes[at] = Some(outcome);
        }
        outcomes.into_iter().flatten().collect()
    }

    /// The first output; the other tasks are dropped then.
    ///
    /// # Errors
    /// The last error when all fail; [`Kind::Invalid`](millstream_base::Kind::Invalid) without tasks.
    pub async fn first(self) -> Result<T> {
        let mut last = Error::invalid(format!("{} has no task that could be the first", self.name));
        let (span, mut set) = self.start();
        while let Some((_, outcome)) = next(&span, &mut set).await {
            match outcome {
                Ok(output) => return Ok(output),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// [`all`](Self::all) as one task.
    pub fn into_task(self) -> Task<Vec<T>> {
        Task::new(self.name.clone(), TaskKind::Flow, self.all())
    }

    fn start(self) -> (Span, Set<T>) {
        let span = tracing::debug_span!("parallel", flow = %self.name);
        let mut set = Set::new();
        for (at, task) in self.tasks.into_iter().enumerate() {
            set.insert(at, Box::pin(task.part_of(&span, &self.name)));
        }
        (span, set)
    }
}

async fn next<T>(span: &Span, set: &mut Set<T>) -> Option<(usize, Result<T>)> {
    poll_fn(|cx| span.in_scope(|| set.poll(cx))).await
}
