//! Doing one step after the other.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Cx, Poll};

use millstream_base::{Error, Kind, Origin, Result};
use millstream_runtime::{CancelToken, Queue};
use tracing::Instrument;

use super::context::Shared;
use super::{Compute, Context, OnEnd, Series, Step, StepWork, Value, typed};
use crate::TaskKind;
use crate::record::Recorder;
use crate::slice::Slice;
use crate::task::{Name, called, contained, discard, discard_pinned, in_flow, outcome};

/// A series under way.
#[must_use = "a series does nothing unless it is awaited"]
pub struct Run<T, C> {
    state: State<T, C>,
}

enum State<T, C> {
    Fresh(Box<Series<T, C>>),
    Running(Pin<Box<dyn Future<Output = Result<T>> + Send>>),
    Ended,
}

impl<T, C> Run<T, C> {
    pub(super) fn new(series: Series<T, C>) -> Self {
        Self { state: State::Fresh(Box::new(series)) }
    }
}

impl<T: Send + 'static, C: Send + Sync + 'static> Future for Run<T, C> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Result<T>> {
        if let State::Fresh(_) = self.state {
            let State::Fresh(series) = std::mem::replace(&mut self.state, State::Ended) else {
                unreachable!("it was looked at just now")
            };
            self.state = State::Running(Box::pin(start(*series)));
        }
        let State::Running(running) = &mut self.state else {
            panic!("a series is not to be polled after it has ended")
        };
        let polled = running.as_mut().poll(cx);
        if polled.is_ready() {
            self.state = State::Ended;
        }
        polled
    }
}

impl<T, C> Drop for Run<T, C> {
    fn drop(&mut self) {
        discard(std::mem::replace(&mut self.state, State::Ended));
    }
}

impl<T, C> Unpin for Run<T, C> {}

impl<T, C> fmt::Debug for Run<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Fresh(_) => "Run(not begun)",
            State::Running(_) => "Run(running)",
            State::Ended => "Run(ended)",
        })
    }
}

async fn start<T: Send + 'static, C: Send + Sync + 'static>(series: Series<T, C>) -> Result<T> {
    let Series { name, steps, context, on_end, recorder, .. } = series;
    let shared = Shared::new(name, context, steps);
    let span = shared.span.clone();
    let mut end = End { on_end, shared, recorder };
    let outcome = drive(&end.shared, &end.recorder).instrument(span).await.map(typed);
    end.tell(&outcome);
    outcome
}

/// Tells of the end, once; also when the run is dropped.
struct End<T, C> {
    on_end: Option<OnEnd<T>>,
    shared: Arc<Shared<C>>,
    recorder: Option<Recorder>,
}

impl<T, C> End<T, C> {
    /// Drops the steps that are left.
    fn close(&self) {
        for step in self.shared.end() {
            self.recorder.iter().for_each(|recorder| recorder.leave(&step.name, step.kind));
            discard(step);
        }
    }

    fn tell(&mut self, outcome: &Result<T>) {
        self.close();
        if let Some(on_end) = self.on_end.take()
            && let Err(error) = called(|| on_end(outcome))
        {
            tracing::error!(flow = %self.shared.name, %error, "what follows a series panicked");
        }
    }
}

impl<T, C> Drop for End<T, C> {
    fn drop(&mut self) {
        if self.on_end.is_some() {
            let text = format!("series {} was dropped under way", self.shared.name);
            self.tell(&Err(Error::new(Kind::Cancelled, Origin::Caller, text)));
        } else {
            self.close();
        }
    }
}

async fn drive<C: Send + Sync + 'static>(
    shared: &Arc<Shared<C>>,
    recorder: &Option<Recorder>,
) -> Result<Value> {
    let mut value: Value = Box::new(());
    loop {
        if let Some(error) = shared.cancelled(None) {
            return Err(error);
        }
        let Some(Step { name, kind, work }) = shared.next() else { return Ok(value) };
        value = match work {
            StepWork::Future(start) => {
                let open = recorder.as_ref().map(|recorder| recorder.open(&name, kind));
                let context = Context(shared.clone());
                let step = outcome(called(|| start(context, value)));
                let outcome = or_cancelled(shared, step.instrument(shared.span_of(&name, kind))).await;
                open.into_iter().for_each(|open| open.close(outcome.as_ref().err()));
                // Steps that never wait must not keep the worker.
                tokio::task::coop::consume_budget().await;
                outcome.map_err(|error| in_flow(error, &shared.name, &name))?
            }
            StepWork::Compute(queue, work) => {
                let (shared_too, recorder) = (shared.clone(), recorder.clone());
                let steps = Steps { shared: shared_too, recorder, queue: queue.clone(), name, work };
                or_cancelled(shared, queue.run_with(move |token| steps.run(value, token))).await.flatten()?
            }
        };
    }
}

/// The future's outcome, unless the series is cancelled before.
async fn or_cancelled<C, T>(shared: &Shared<C>, future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut future = pin!(Some(future));
    let outcome = poll_fn(|cx| {
        if let Some(future) = future.as_mut().as_pin_mut()
            && let Poll::Ready(outcome) = contained(future, cx)
        {
            return Poll::Ready(outcome);
        }
        shared.cancelled(Some(cx)).map_or(Poll::Pending, |error| Poll::Ready(Err(error)))
    })
    .await;
    discard_pinned(future);
    outcome
}

/// Steps that follow each other on a thread of their queue.
struct Steps<C> {
    shared: Arc<Shared<C>>,
    recorder: Option<Recorder>,
    queue: Queue,
    /// Of the first.
    name: Name,
    work: Compute<C>,
}

impl<C> Steps<C> {
    fn run(self, mut value: Value, token: CancelToken<'_>) -> Result<Value> {
        let Self { shared, recorder, queue, mut name, mut work } = self;
        let context = Context(shared.clone());
        let mut slice = Slice::begin();
        loop {
            let open = recorder.as_ref().map(|recorder| recorder.open(&name, TaskKind::Compute));
            let span = shared.span_of(&name, TaskKind::Compute);
            let outcome = span.in_scope(|| called(|| work(&context, value, token)).flatten());
            open.into_iter().for_each(|open| open.close(outcome.as_ref().err()));
            value = outcome.map_err(|error| in_flow(error, &shared.name, &name))?;
            // The run says what a cancelling means.
            if slice.is_over() || token.is_cancelled() || context.is_cancelled() {
                shared.end_if_last();
                return Ok(value);
            }
            let Some(Step { name: next, work: StepWork::Compute(_, next_work), .. }) = shared.next_in(&queue)
            else {
                return Ok(value);
            };
            (name, work) = (next, next_work);
        }
    }
}
