//! What a client counts.

use std::sync::{Arc, Weak};

use millstream_base::Counters;
use millstream_base::registry::{Sample, Value};
use millstream_runtime::Engine;

use crate::client::Shared;
use crate::{PoolStats, Protocol};

/// Counters of one client.
#[derive(Debug)]
pub(crate) struct Stats(Counters<EVENTS>);

/// What happens to calls.
#[derive(Clone, Copy)]
pub(crate) enum Event {
    Call,
    Failed,
    Retried,
    Dialled,
    DialFailed,
    /// No local port was free: the call waits for one.
    PortsShort,
}

const EVENTS: usize = 6;

impl Stats {
    pub(crate) fn new(engine: &Engine) -> Self {
        Self(Counters::new(engine.id(), engine.workers().len()))
    }

    #[inline]
    pub(crate) fn count(&self, event: Event) {
        self.0.add(event as usize, 1);
    }

    pub(crate) fn collect(&self, protocol: &'static str, pool: &PoolStats, into: &mut Vec<Sample>) {
        let labels = vec![("protocol", protocol.to_owned())];
        let mut push = |name, help, value| into.push(Sample { name, help, labels: labels.clone(), value });
        for (event, name, help) in COUNTED {
            push(name, help, Value::Counter(self.0.sum(event as usize)));
        }
        #[allow(clippy::cast_precision_loss)]
        for (name, help, count) in [
            ("millstream_pool_open", "Connections open", pool.open),
            ("millstream_pool_idle", "Connections idle", pool.idle),
            ("millstream_pool_waiting", "Callers that wait for a connection", pool.waiting),
        ] {
            push(name, help, Value::Gauge(count as f64));
        }
    }
}

/// Has the engine's metrics ask this client for as long as it lives.
pub(crate) fn register<P: Protocol>(engine: &Engine, shared: &Arc<Shared<P>>) {
    let weak: Weak<Shared<P>> = Arc::downgrade(shared);
    engine.registry().register(Arc::new(move |into: &mut Vec<Sample>| {
        if let Some(shared) = weak.upgrade() {
            shared.stats.collect(shared.protocol.name(), &shared.pool.totals(), into);
        }
    }));
}

const COUNTED: [(Event, &str, &str); EVENTS] = [
    (Event::Call, "millstream_client_calls", "Calls made"),
    (Event::Failed, "millstream_client_failures", "Calls that failed"),
    (Event::Retried, "millstream_client_retries", "Calls tried again on a fresh connection"),
    (Event::Dialled, "millstream_client_dials", "Connections made"),
    (Event::DialFailed, "millstream_client_dial_failures", "Connections that could not be made"),
    (Event::PortsShort, "millstream_client_port_waits", "Calls that waited since no local port was free"),
];
