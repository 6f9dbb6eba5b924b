//! What an HTTP server counts.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use millstream_base::registry::{Sample, Value};
use millstream_base::{Counters, Histogram};
use millstream_server::{Engine, fresh_now};

/// Counters and latencies of one HTTP server.
#[derive(Debug)]
pub(crate) struct Stats {
    address: String,
    counters: Counters<COUNTERS>,
    latency: Histogram,
}

/// How many responses one look at the clock may stand for.
const SAMPLE_OF: u32 = 8;
/// Responses that are further apart than this are each looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(1);

/// Which responses of a worker the clock is read for.
///
/// Reading the clock behind each response would cost a twentieth of what a small response costs in all. So under load
/// one response in eight is measured and stands for those since the last; when a millisecond has passed since then, the
/// next one is measured anyway. The count lags by seven at most.
#[derive(Clone, Copy)]
struct Sampling {
    /// The address of the [`Stats`] that the pending ones belong to: a name, never followed.
    of: usize,
    pending: u32,
    /// From this moment on the next one is measured, however few are pending.
    due: Option<Instant>,
}

thread_local! {
    static SAMPLING: Cell<Sampling> = const { Cell::new(Sampling { of: 0, pending: 0, due: None }) };
}

/// Responses by class stand at 0 to 4; these follow.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    Rejected = 5,
    Panicked = 6,
    Abandoned = 7,
    Upgraded = 8,
    BodyFailed = 9,
}

const COUNTERS: usize = 10;

impl Stats {
    pub(crate) fn register(engine: &Engine, address: String) -> Arc<Self> {
        let workers = engine.workers().len();
        let (counters, latency) = (Counters::new(engine.id(), workers), Histogram::new(engine.id(), workers));
        let stats = Arc::new(Self { address, counters, latency });
        let source = stats.clone();
        engine.registry().register(Arc::new(move |into: &mut Vec<Sample>| source.collect(into)));
        stats
    }

    /// Counts a response.
    #[inline]
    pub(crate) fn count_response(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.counters.add(class, 1);
    }

    /// Counts responses whose bytes went out just now, to requests that began at `started`; `moment` is the turn's.
    #[inline]
    pub(crate) fn on_sent(&self, started: Instant, moment: Instant, responses: u32) {
        let of = std::ptr::from_ref(self).addr();
        let sampling = SAMPLING.get();
        let pending = if sampling.of == of { sampling.pending + responses } else { responses };
        let is_due =
            pending >= SAMPLE_OF || sampling.of != of || sampling.due.is_none_or(|due| moment >= due);
        if !is_due {
            return SAMPLING.set(Sampling { of, pending, ..sampling });
        }
        let sent = fresh_now();
        SAMPLING.set(Sampling { of, pending: 0, due: Some(sent + SAMPLE_EVERY) });
        let span = sent.saturating_duration_since(started);
        self.latency.record_many(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), u64::from(pending));
    }

    pub(crate) fn count(&self, event: Event) {
        self.counters.add(event as usize, 1);
    }

    fn collect(&self, into: &mut Vec<Sample>) {
        let listen = ("listen", self.address.clone());
        for (class, name) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate() {
            into.push(Sample {
                name: "millstream_http_responses",
                help: "Responses by class of status",
                labels: vec![listen.clone(), ("status", name.to_owned())],
                value: Value::Counter(self.counters.sum(class)),
            });
        }
        for (event, name, help) in COUNTED {
            let value = Value::Counter(self.counters.sum(event as usize));
            into.push(Sample { name, help, labels: vec![listen.clone()], value });
        }
        into.push(Sample {
            name: "millstream_http_request_duration_seconds",
            help: "From a request at hand to its response given to the kernel; under load one in eight is measured",
            labels: vec![listen],
            value: Value::Histogram(self.latency.snapshot()),
        });
    }
}

const COUNTED: [(Event, &str, &str); 5] = [
    (Event::Rejected, "millstream_http_rejected", "Requests refused for breaking the protocol or a limit"),
    (Event::Panicked, "millstream_http_handler_panics", "Handlers that panicked, answered with 500"),
    (Event::Abandoned, "millstream_http_abandoned", "Handlers dropped because their client had gone"),
    (Event::Upgraded, "millstream_http_upgrades", "Connections that left HTTP"),
    (
        Event::BodyFailed,
        "millstream_http_response_bodies_failed",
        "Responses broken off because their body failed",
    ),
];
