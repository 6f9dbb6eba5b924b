//! What is counted: operations by who carried them out and by how they ended, those in flight, those that wait.

use millstream_base::registry::{Sample, Value};
use millstream_base::{Counters, Gauge};
use millstream_runtime::Engine;

/// Who carries an operation out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The caller's thread, from memory.
    Inline,
    /// The worker's ring.
    Ring,
    /// A thread for calls that block.
    Pool,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Failed,
    /// Nobody waited for it any more.
    Unwanted,
}

const BACKENDS: [(Backend, &str); 3] =
    [(Backend::Inline, "inline"), (Backend::Ring, "ring"), (Backend::Pool, "pool")];
const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Done, "done"), (Outcome::Failed, "failed"), (Outcome::Unwanted, "unwanted")];

/// The numbers of one engine.
#[derive(Debug)]
pub(crate) struct Stats {
    ended: Counters<9>,
    in_flight: Gauge,
    waiting: Gauge,
}

impl Stats {
    pub(crate) fn new(engine: &Engine) -> Self {
        let ended = Counters::new(engine.id(), engine.workers().len());
        Self { ended, in_flight: Gauge::new(), waiting: Gauge::new() }
    }

    /// An operation left the caller's thread.
    pub(crate) fn begin(&self) {
        self.in_flight.add(1);
    }

    /// It ended.
    pub(crate) fn end(&self, backend: Backend, outcome: Outcome) {
        self.in_flight.add(-1);
        self.count(backend, outcome);
    }

    /// An operation ended that was never in flight.
    #[inline]
    pub(crate) fn count(&self, backend: Backend, outcome: Outcome) {
        self.ended.add(cell(backend, outcome), 1);
    }

    /// Counts a waiter for as long as what it gives is there.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.add(1);
        Waiting(self)
    }

    pub(crate) fn collect(&self, into: &mut Vec<Sample>) {
        for (backend, backend_name) in BACKENDS {
            for (outcome, outcome_name) in OUTCOMES {
                let labels = vec![("backend", backend_name.to_owned()), ("outcome", outcome_name.to_owned())];
                let value = Value::Counter(self.ended.sum(cell(backend, outcome)));
                let help = "File operations that ended";
                into.push(Sample { name: "millstream_file_operations", help, labels, value });
            }
        }
        for (name, help, gauge) in [
            ("millstream_file_in_flight", "File operations in the hands of ring or threads", &self.in_flight),
            ("millstream_file_waiting", "File operations that wait for a place", &self.waiting),
        ] {
            #[allow(clippy::cast_precision_loss)]
            let value = Value::Gauge(gauge.value() as f64);
            into.push(Sample { name, help, labels: Vec::new(), value });
        }
    }
}

fn cell(backend: Backend, outcome: Outcome) -> usize {
    backend as usize * OUTCOMES.len() + outcome as usize
}

/// Counts a waiter until it is dropped.
pub(crate) struct Waiting<'a>(&'a Stats);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.add(-1);
    }
}
