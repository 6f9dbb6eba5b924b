//! What a server counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_base::registry::{Sample, Value};
use millstream_base::{Counters, Gauge};
use millstream_runtime::Engine;

/// Counters of one server, for its metrics.
#[derive(Debug)]
pub(crate) struct Stats {
    protocol: &'static str,
    address: String,
    pub(crate) open: AtomicUsize,
    pub(crate) paused: Gauge,
    events: Counters<EVENTS>,
}

/// What happens to connections before a protocol sees them.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    Accepted,
    HandedOver,
    AcceptFailed,
    AcceptExhausted,
    AtLimit,
    EvictedIdle,
    HandshakeFailed,
}

const EVENTS: usize = 7;

impl Stats {
    pub(crate) fn register(engine: &Engine, protocol: &'static str, address: String) -> Arc<Self> {
        let events = Counters::new(engine.id(), engine.workers().len());
        let (open, paused) = (AtomicUsize::new(0), Gauge::new());
        let stats = Arc::new(Self { protocol, address, open, paused, events });
        let source = stats.clone();
        engine.registry().register(Arc::new(move |into: &mut Vec<Sample>| source.collect(into)));
        stats
    }

    pub(crate) fn count(&self, event: Event) {
        self.events.add(event as usize, 1);
    }

    /// Counts a connection in; gives how many are open with it.
    pub(crate) fn enter(&self) -> usize {
        self.open.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(crate) fn leave(&self) -> usize {
        // SeqCst: partner of `Shared::draining`.
        self.open.fetch_sub(1, Ordering::SeqCst) - 1
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn collect(&self, into: &mut Vec<Sample>) {
        let labels = vec![("protocol", self.protocol.to_owned()), ("listen", self.address.clone())];
        let mut push = |name, help, value| into.push(Sample { name, help, labels: labels.clone(), value });
        #[allow(clippy::cast_precision_loss)]
        push("millstream_server_connections", "Open connections", Value::Gauge(self.open() as f64));
        for (event, name, help) in COUNTED {
            push(name, help, Value::Counter(self.events.sum(event as usize)));
        }
    }
}

const COUNTED: [(Event, &str, &str); EVENTS] = [
    (Event::Accepted, "millstream_server_accepted", "Connections accepted"),
    (Event::HandedOver, "millstream_server_handed_over", "Connections moved to a less loaded worker"),
    (
        Event::AcceptFailed,
        "millstream_server_accept_failures",
        "Connections that broke before they were accepted",
    ),
    (
        Event::AcceptExhausted,
        "millstream_server_accept_exhausted",
        "Pauses for want of descriptors or memory",
    ),
    (Event::AtLimit, "millstream_server_at_limit", "Pauses at the connection limit"),
    (Event::EvictedIdle, "millstream_server_evicted_idle", "Idle connections closed to make room"),
    (Event::HandshakeFailed, "millstream_server_handshake_failures", "TLS handshakes that failed"),
];
