//! What an HTTP server counts.

use std::sync::Arc;

use http::StatusCode;
use millstream_base::registry::{Sample, Value};
use millstream_base::{Counters, Histogram};
use millstream_server::Engine;

/// Counters and latencies of one HTTP server.
#[derive(Debug)]
pub(crate) struct Stats {
    address: String,
    counters: Counters<COUNTERS>,
    latency: Histogram,
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

    #[inline]
    pub(crate) fn record_latency(&self, nanoseconds: u64, requests: u64) {
        self.latency.record_many(nanoseconds, requests);
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
            help: "From the first byte of a request's head at hand to its response given to the kernel",
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
    (Event::BodyFailed, "millstream_http_response_bodies_failed", "Responses broken off in the middle"),
];
