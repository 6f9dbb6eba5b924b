//! What ran when, and where.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind};

use crate::TaskKind;
use crate::graph::Plan;
use crate::task::Name;

/// What ran when, and where: of one run of a flow.
#[derive(Clone, Debug)]
pub struct Record {
    pub(crate) flow: Name,
    pub(crate) spans: Vec<Span>,
    pub(crate) took: Duration,
}

/// One task's part in a run. Moments are counted from the run's begin.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Span {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its kind.
    pub kind: TaskKind,
    /// The thread on which it began.
    pub worker: Arc<str>,
    /// When all that it depends on had ended.
    pub ready: Duration,
    /// When it began. Between the two it waited for a place or a thread.
    pub begun: Duration,
    /// When it ended.
    pub ended: Duration,
    /// How.
    pub ending: Ending,
    /// Those that it depended on, by their places in the record.
    pub after: Vec<usize>,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// With an output.
    Done,
    /// With an error.
    Failed,
    /// By a deadline.
    TimedOut,
    /// It was cancelled under way.
    Cancelled,
    /// It never began.
    Skipped,
}

impl Ending {
    /// Its name in tables and pictures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    pub(crate) fn of(error: Option<&Error>) -> Self {
        match error.map(Error::kind) {
            None => Self::Done,
            Some(Kind::Timeout) => Self::TimedOut,
            Some(Kind::Cancelled) => Self::Cancelled,
            Some(_) => Self::Failed,
        }
    }
}

impl Record {
    /// The flow's name.
    pub fn flow(&self) -> &str {
        &self.flow
    }

    /// What ran, in the order in which it ended.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// From its begin to its end.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// The places of those spans that the whole waited for, first to last: from the one that ended last back over that of those it
    /// depended on which ended last ("critical path": J. Kelley, M. Walker, 1959). Those that were skipped are left out.
    pub fn critical_path(&self) -> Vec<usize> {
        let ran = |at: &usize| self.spans.get(*at).is_some_and(|span| span.ending != Ending::Skipped);
        let last =
            |all: &mut dyn Iterator<Item = usize>| all.filter(ran).max_by_key(|at| self.spans[*at].ended);
        let mut path = Vec::new();
        let mut next = last(&mut (0..self.spans.len()));
        while let Some(at) = next {
            path.push(at);
            next = last(&mut self.spans[at].after.iter().copied().filter(|before| !path.contains(before)));
        }
        path.reverse();
        path
    }
}

/// Writes a record while a flow runs. Clones write the same.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    flow: Name,
    begun: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spans: Vec<Span>,
    /// The place of each node that has ended.
    places: HashMap<usize, usize>,
    workers: Vec<Arc<str>>,
}

/// A span under way. Dropped, it was cancelled.
#[derive(Debug)]
pub(crate) struct Open {
    recorder: Recorder,
    span: Option<Span>,
    /// The graph's node.
    node: Option<usize>,
}

impl Recorder {
    pub(crate) fn new(flow: Name) -> Self {
        Self(Arc::new(Inner { flow, begun: Instant::now(), state: Mutex::default() }))
    }

    /// A step begins that depends on the one that ended last.
    pub(crate) fn open(&self, name: &Name, kind: TaskKind) -> Open {
        let begun = self.0.begun.elapsed();
        let mut state = self.lock();
        let worker = state.worker();
        let before = state.spans.last();
        let ready = before.map_or(Duration::ZERO, |span| span.ended).min(begun);
        let after: Vec<_> = state.spans.len().checked_sub(1).into_iter().collect();
        drop(state);
        let (ended, ending) = (begun, Ending::Cancelled);
        let span = Span { name: name.clone(), kind, worker, ready, begun, ended, ending, after };
        Open { recorder: self.clone(), span: Some(span), node: None }
    }

    /// A node of a graph begins.
    pub(crate) fn open_node(&self, plan: &Plan, index: usize) -> Open {
        let begun = self.0.begun.elapsed();
        let node = &plan.details[index];
        let mut state = self.lock();
        let worker = state.worker();
        let after: Vec<_> = plan
            .edges_of(index)
            .iter()
            .filter_map(|edge| state.places.get(&(edge.from as usize)).copied())
            .collect();
        let ready = after.iter().map(|at| state.spans[*at].ended).max().unwrap_or_default().min(begun);
        drop(state);
        let (ended, ending) = (begun, Ending::Cancelled);
        let (name, kind) = (node.name.clone(), node.kind);
        let span = Span { name, kind, worker, ready, begun, ended, ending, after };
        Open { recorder: self.clone(), span: Some(span), node: Some(index) }
    }

    /// What was written.
    pub(crate) fn finish(&self) -> Record {
        let spans = std::mem::take(&mut self.lock().spans);
        Record { flow: self.0.flow.clone(), spans, took: self.0.begun.elapsed() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The name of this thread, shared by all its spans.
    fn worker(&mut self) -> Arc<str> {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        if let Some(known) = self.workers.iter().find(|known| &***known == name) {
            return known.clone();
        }
        let new: Arc<str> = name.into();
        self.workers.push(new.clone());
        new
    }
}

impl Open {
    /// It ends.
    pub(crate) fn close(mut self, error: Option<&Error>) {
        self.write(Ending::of(error));
    }

    fn write(&mut self, ending: Ending) {
        let Some(mut span) = self.span.take() else { return };
        (span.ended, span.ending) = (self.recorder.0.begun.elapsed(), ending);
        let mut state = self.recorder.lock();
        if let Some(node) = self.node {
            let at = state.spans.len();
            state.places.insert(node, at);
        }
        state.spans.push(span);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.write(Ending::Cancelled);
    }
}
