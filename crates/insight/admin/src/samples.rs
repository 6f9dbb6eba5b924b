//! `/metrics`: what the engine's registry says, what its connections say, and what the system says of the process.

use std::time::Instant;

use millstream_base::registry::{Sample, Source, Value};
use millstream_http::server::Stage;
use millstream_http::server::transport::{Cause, ClosedBy, Counts, Opener, Side};

use crate::admin::Watched;

pub(crate) fn text(watched: &Watched) -> String {
    let mut samples = watched.registry.collect();
    push_engine(watched, &mut samples);
    push_connections(&watched.lives.counts(), &mut samples);
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

/// Opened is always open plus ended. Reasons that never occurred are left out.
#[allow(clippy::cast_precision_loss)] // under 2^53 connections
fn push_connections(counts: &Counts, into: &mut Vec<Sample>) {
    for &side in Side::ALL {
        let labels = vec![("side", side.name().to_owned())];
        let (opened, ended) = totals(counts, side);
        let value = Value::Gauge((opened - ended) as f64);
        into.push(Sample { name: "millstream_connections", help: "Open connections", labels, value });
    }
    for (side, opener, count) in opened(counts) {
        into.push(Sample {
            name: "millstream_connections_opened",
            help: "Connections opened, and why",
            labels: vec![("side", side.name().to_owned()), ("opener", opener.name().to_owned())],
            value: Value::Counter(count),
        });
    }
    for (side, cause, by, count) in ended(counts) {
        into.push(Sample {
            name: "millstream_connections_ended",
            help: "Connections ended, why, and who closed first",
            labels: vec![
                ("side", side.name().to_owned()),
                ("cause", cause.name().to_owned()),
                ("closed_by", by.name().to_owned()),
            ],
            value: Value::Counter(count),
        });
    }
}

/// How many connections of this side were opened, and how many of them ended.
pub(crate) fn totals(counts: &Counts, side: Side) -> (u64, u64) {
    let opened = opened(counts).filter(|(of, ..)| *of == side).map(|(.., count)| count).sum();
    let ended = ended(counts).filter(|(of, ..)| *of == side).map(|(.., count)| count).sum();
    (opened, ended)
}

/// Every reason to open that occurred.
pub(crate) fn opened(counts: &Counts) -> impl Iterator<Item = (Side, Opener, u64)> {
    let all = Side::ALL.iter().flat_map(|side| Opener::ALL.iter().map(|opener| (*side, *opener)));
    let counted = all.map(|(side, opener)| (side, opener, counts.opened_for(side, opener)));
    counted.filter(|(.., count)| *count > 0)
}

/// Every way to end that occurred.
pub(crate) fn ended(counts: &Counts) -> impl Iterator<Item = (Side, Cause, ClosedBy, u64)> {
    let causes = Side::ALL.iter().flat_map(|side| Cause::ALL.iter().map(|cause| (*side, *cause)));
    let all = causes.flat_map(|(side, cause)| ClosedBy::ALL.iter().map(move |by| (side, cause, *by)));
    let counted = all.map(|(side, cause, by)| (side, cause, by, counts.ended_for(side, cause, by)));
    counted.filter(|(.., count)| *count > 0)
}
