//! `/metrics`: what the engine's registry says, and what the system says of the process.

use std::time::Instant;

use millstream_base::registry::{Sample, Source, Value};
use millstream_http::server::Stage;

use crate::admin::Watched;

pub(crate) fn text(watched: &Watched) -> String {
    let mut samples = watched.registry.collect();
    push_engine(watched, &mut samples);
    millstream_metrics::Process.collect(&mut samples);
    millstream_metrics::render(samples)
}

#[allow(clippy::cast_precision_loss)] // under 2^53 workers
fn push_engine(watched: &Watched, into: &mut Vec<Sample>) {
    let mut gauge = |name, help, labels, level| {
        into.push(Sample { name, help, labels, value: Value::Gauge(level) });
    };
    let version = vec![("version", watched.version.clone())];
    gauge("millstream_build", "Always 1; its label says which version runs", version, 1.0);
    let uptime = (Instant::now() - watched.since).as_secs_f64();
    gauge("millstream_uptime_seconds", "Since the admin endpoint was made", Vec::new(), uptime);
    gauge("millstream_workers", "Worker threads", Vec::new(), watched.workers as f64);
    let drains = f64::from(u8::from(watched.stage() != Stage::Running));
    gauge("millstream_draining", "1 when the engine drains or has stopped", Vec::new(), drains);
}
