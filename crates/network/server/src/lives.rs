//! The connections of an engine, on both sides: their records, and what of them is counted.

use std::sync::Arc;
use std::time::Instant;

use millstream_base::registry::{Sample, Value};
use millstream_ports::BudgetSnapshot;
use millstream_runtime::Engine;
use millstream_transport::{AccountSnapshot, Counts, LifeTable, Side};

/// The table of all connections of this engine. Its counts stand in the engine's registry from the first call on.
pub fn lives(engine: &Engine) -> LifeTable {
    let make = |engine: &Engine| {
        let lives = LifeTable::new(engine.id(), engine.workers().len());
        let counted = lives.clone();
        let collect = move |into: &mut Vec<Sample>| {
            collect(&counted.counts(), into);
            counted.ledger().iter().for_each(|account| collect_target(account, into));
            let budgets = counted.ports().snapshots(Instant::now());
            budgets.iter().take(BUDGETS_MAX).for_each(|budget| collect_ports(budget, into));
        };
        engine.registry().register(Arc::new(collect));
        lives
    };
    LifeTable::clone(&engine.shared(make))
}

/// Opened is always open plus ended. Reasons that never occurred are left out.
#[allow(clippy::cast_precision_loss)] // under 2^53 connections
fn collect(counts: &Counts, into: &mut Vec<Sample>) {
    for &side in Side::ALL {
        let labels = vec![("side", side.name().to_owned())];
        let (opened, ended) = counts.of_side(side);
        let value = Value::Gauge((opened - ended) as f64);
        into.push(Sample { name: "millstream_connections", help: "Open connections", labels, value });
    }
    for (side, opener, count) in counts.each_opened() {
        into.push(Sample {
            name: "millstream_connections_opened",
            help: "Connections opened, and why",
            labels: vec![("side", side.name().to_owned()), ("opener", opener.name().to_owned())],
            value: Value::Counter(count),
        });
    }
    for (side, cause, by, count) in counts.each_ended() {
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

/// What became of our connections to one target. There are at most 1,025 of them
/// ([`TARGETS_MAX`](millstream_transport::TARGETS_MAX)): so many values a label may have.
#[allow(clippy::cast_precision_loss)] // under 2^53 connections
fn collect_target(account: &AccountSnapshot, into: &mut Vec<Sample>) {
    let labels = vec![("target", account.target.to_string())];
    let mut push = |name, help, value| into.push(Sample { name, help, labels: labels.clone(), value });
    push("millstream_target_connections", "Open connections", Value::Gauge(account.counts.open() as f64));
    for (name, help, count) in [
        ("millstream_target_opened", "Connections opened", account.counts.opened()),
        ("millstream_target_requests", "Requests carried", account.requests),
        ("millstream_target_dial_failures", "Dials that failed", account.failed),
        ("millstream_target_dials_without_port", "Dials that found no local port", account.no_port),
    ] {
        push(name, help, Value::Counter(count));
    }
    for (cause, count) in account.each_avoidable() {
        into.push(Sample {
            name: "millstream_target_avoidable",
            help: "Connections opened soon after one ended that could have gone on, by the cause of that end",
            labels: vec![("target", account.target.to_string()), ("cause", cause.name().to_owned())],
            value: Value::Counter(count),
        });
    }
}

/// Destinations that metrics tell of: so many values a label may have.
const BUDGETS_MAX: usize = 1024;

/// The local ports towards one destination. Time to exhaustion stands there only while ports are running out.
fn collect_ports(budget: &BudgetSnapshot, into: &mut Vec<Sample>) {
    let labels = vec![("local", budget.source.to_string()), ("remote", budget.destination.to_string())];
    let mut push = |name, help, value| into.push(Sample { name, help, labels: labels.clone(), value });
    for (name, help, count) in [
        ("millstream_ports", "Local ports to choose from, the private range's among them", budget.ports),
        ("millstream_ports_private", "Local ports of the private range", budget.private),
        ("millstream_ports_open", "Local ports of open connections", budget.open),
        ("millstream_ports_time_wait", "Local ports of ours in TIME_WAIT", budget.time_wait),
        ("millstream_ports_foreign", "Local ports of other programs, when last looked for", budget.foreign),
        ("millstream_ports_free", "Local ports left", budget.free),
    ] {
        push(name, help, Value::Gauge(count.into()));
    }
    let taken_over = Value::Counter(budget.taken_over);
    push("millstream_ports_taken_over", "Connections opened on a port of ours in TIME_WAIT", taken_over);
    if let Some(span) = budget.exhausted_in {
        let help = "Until no local port is left, at the present rate";
        push("millstream_ports_exhausted_in_seconds", help, Value::Gauge(span.as_secs_f64()));
    }
}
