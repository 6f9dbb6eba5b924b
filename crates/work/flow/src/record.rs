//! What ran when, and where.

mod svg;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind};
pub use svg::Rows;

use crate::TaskKind;
use crate::graph::Plan;
use crate::task::Name;

/// What ran when, and where: of one run of a flow. It is shown as a table ([`to_table`](Record::to_table)) or as a picture
/// ([`to_svg`](Record::to_svg)).
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
    /// Which try it was, from 1 on: each try of a graph's node has a span of its own, which depends on the one before.
    pub attempt: u32,
    /// The thread on which it began; empty if it never did.
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
    /// It was cancelled, under way or before it began.
    Cancelled,
    /// It never began.
    Skipped,
}

impl Span {
    /// How long it waited for a place or a thread after all that it depends on had ended.
    pub fn waited(&self) -> Duration {
        self.begun.saturating_sub(self.ready)
    }

    /// How long it ran.
    pub fn ran(&self) -> Duration {
        self.ended.saturating_sub(self.begun)
    }

    /// Did it begin? Else it was skipped, cancelled or refused before, and stands where the last that it depends on ended.
    pub fn has_begun(&self) -> bool {
        !self.worker.is_empty()
    }
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

    /// What ran, in the order in which it ended, and what never began: nodes of a graph, the last steps of a series.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// From its begin to its end.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// How long its tasks ran, one beside the other or not.
    pub fn running(&self) -> Duration {
        self.spans.iter().map(Span::ran).fold(Duration::ZERO, Duration::saturating_add)
    }

    /// How many tasks ran at once, on average; 0 if it took no time.
    pub fn parallelism(&self) -> f64 {
        let took = self.took.as_secs_f64();
        if took > 0.0 { self.running().as_secs_f64() / took } else { 0.0 }
    }

    /// The places of those spans that the whole waited for, first to last: from the one that ended last back over that of those it
    /// depended on which ended last ("critical path": J. Kelley, M. Walker, 1959). Those that never began are left out.
    pub fn critical_path(&self) -> Vec<usize> {
        let last = |all: &mut dyn Iterator<Item = usize>| {
            all.max_by_key(|at| self.spans.get(*at).map(|span| span.ended))
        };
        let mut path = Vec::new();
        let mut next = last(&mut (0..self.spans.len()).filter(|at| self.spans[*at].has_begun()));
        while let Some(at) = next {
            if self.spans[at].has_begun() {
                path.push(at);
            }
            // What a span depends on was written before it.
            next = last(&mut self.spans[at].after.iter().copied().filter(|before| *before < at));
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
    /// Those under way, by number, each with the graph's node.
    open: BTreeMap<u64, (Span, Option<usize>)>,
    /// The next number.
    number: u64,
    /// The place of each node that has ended.
    places: HashMap<usize, usize>,
    workers: Vec<Arc<str>>,
    /// Steps that will not begin.
    left: Vec<(Name, TaskKind)>,
}

/// A span under way. Dropped, it was cancelled.
#[derive(Debug)]
pub(crate) struct Open {
    recorder: Recorder,
    /// Until it was written.
    number: Option<u64>,
}

impl Recorder {
    pub(crate) fn new(flow: Name) -> Self {
        Self(Arc::new(Inner { flow, begun: Instant::now(), state: Mutex::default() }))
    }

    /// A step begins that depends on the one that ended last.
    pub(crate) fn open(&self, name: &Name, kind: TaskKind) -> Open {
        let begun = self.0.begun.elapsed();
        let mut state = self.lock();
        let after = state.last();
        let mut span = state.span_after(name, kind, after);
        span.worker = state.worker();
        (span.ready, span.begun, span.ended) = (span.ready.min(begun), begun, begun);
        Open { recorder: self.clone(), number: Some(state.insert(span, None)) }
    }

    /// A node of a graph begins, or begins again.
    pub(crate) fn open_node(&self, plan: &Plan, index: usize) -> Open {
        let begun = self.0.begun.elapsed();
        let node = &plan.details[index];
        let mut state = self.lock();
        let mut span = match state.places.get(&index).copied() {
            None => state.span_of(plan, index),
            Some(before) => {
                let attempt = state.spans[before].attempt.saturating_add(1);
                Span { attempt, ..state.span_after(&node.name, node.kind, vec![before]) }
            }
        };
        span.worker = state.worker();
        (span.ready, span.begun, span.ended) = (span.ready.min(begun), begun, begun);
        Open { recorder: self.clone(), number: Some(state.insert(span, Some(index))) }
    }

    /// This step of a series will not begin.
    pub(crate) fn leave(&self, name: &Name, kind: TaskKind) {
        self.lock().left.push((name.clone(), kind));
    }

    /// A node of a graph is skipped.
    pub(crate) fn skip(&self, plan: &Plan, index: usize) {
        self.lock().never_begun(plan, index, Ending::Skipped);
    }

    /// The deadline of a graph's node has passed.
    pub(crate) fn late(&self, index: usize) {
        let mut state = self.lock();
        let ended = self.0.begun.elapsed();
        let open = state.open.iter().find(|(_, (_, node))| *node == Some(index));
        if let Some(number) = open.map(|(number, _)| *number) {
            return state.close(number, ended, Ending::TimedOut);
        }
        let place = state.places.get(&index).copied();
        if let Some(span) = place.map(|at| &mut state.spans[at])
            && span.ending == Ending::Cancelled
        {
            span.ending = Ending::TimedOut;
        }
    }

    /// What was written, and the steps that were left. What is under way was cancelled; what it writes from now on is lost.
    pub(crate) fn finish(&self) -> Record {
        let (mut state, took) = self.take();
        for (name, kind) in std::mem::take(&mut state.left) {
            let after = state.last();
            let span = state.span_after(&name, kind, after);
            state.push(span, None);
        }
        Record { flow: self.0.flow.clone(), spans: state.spans, took }
    }

    /// The same of a graph, with its nodes that never began.
    pub(crate) fn finish_graph(&self, plan: &Plan, ending: impl Fn(usize) -> Ending) -> Record {
        let (mut state, took) = self.take();
        for index in 1..plan.len() {
            if !state.places.contains_key(&index) {
                state.never_begun(plan, index, ending(index));
            }
        }
        Record { flow: self.0.flow.clone(), spans: state.spans, took }
    }

    fn take(&self) -> (State, Duration) {
        let (mut state, took) = {
            let mut state = self.lock();
            let number = state.number;
            let taken = std::mem::replace(&mut *state, State { number, ..State::default() });
            (taken, self.0.begun.elapsed())
        };
        while let Some((&number, _)) = state.open.first_key_value() {
            state.close(number, took, Ending::Cancelled);
        }
        (state, took)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The name of this thread.
    fn worker(&mut self) -> Arc<str> {
        let thread = std::thread::current();
        self.shared(thread.name().filter(|name| !name.is_empty()).unwrap_or("unnamed"))
    }

    /// A thread's name, shared by all its spans.
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.workers.iter().find(|known| &***known == name) {
            return known.clone();
        }
        let new: Arc<str> = name.into();
        self.workers.push(new.clone());
        new
    }

    /// The place of the last span, if there is one.
    fn last(&self) -> Vec<usize> {
        self.spans.len().checked_sub(1).into_iter().collect()
    }

    /// A span that never begins, where the last of these ended.
    fn span_after(&mut self, name: &Name, kind: TaskKind, after: Vec<usize>) -> Span {
        let at = after.iter().map(|at| self.spans[*at].ended).max().unwrap_or_default();
        let (name, worker, ending) = (name.clone(), self.shared(""), Ending::Cancelled);
        Span { name, kind, attempt: 1, worker, ready: at, begun: at, ended: at, ending, after }
    }

    fn span_of(&mut self, plan: &Plan, index: usize) -> Span {
        let node = &plan.details[index];
        let from = plan.edges_of(index).iter().map(|edge| edge.from as usize);
        let after = from.filter_map(|from| self.places.get(&from).copied()).collect();
        self.span_after(&node.name, node.kind, after)
    }

    fn insert(&mut self, span: Span, node: Option<usize>) -> u64 {
        self.number += 1;
        self.open.insert(self.number, (span, node));
        self.number
    }

    fn never_begun(&mut self, plan: &Plan, index: usize, ending: Ending) {
        let span = self.span_of(plan, index);
        self.push(Span { ending, ..span }, Some(index));
    }

    fn close(&mut self, number: u64, ended: Duration, ending: Ending) {
        if let Some((span, node)) = self.open.remove(&number) {
            self.push(Span { ended, ending, ..span }, node);
        }
    }

    fn push(&mut self, span: Span, node: Option<usize>) {
        node.and_then(|node| self.places.insert(node, self.spans.len()));
        self.spans.push(span);
    }
}

impl Open {
    /// It ends.
    pub(crate) fn close(mut self, error: Option<&Error>) {
        self.write(Ending::of(error));
    }

    fn write(&mut self, ending: Ending) {
        let Some(number) = self.number.take() else { return };
        let mut state = self.recorder.lock();
        // Under the lock, so that the order of spans is that of their ends.
        state.close(number, self.recorder.0.begun.elapsed(), ending);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.write(Ending::Cancelled);
    }
}
