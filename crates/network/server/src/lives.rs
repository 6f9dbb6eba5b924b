//! The connections of an engine, on both sides: their records, and what of them is counted.

use std::sync::Arc;

use millstream_base::registry::{Sample, Value};
use millstream_runtime::Engine;
use millstream_transport::{Counts, LifeTable, Side};

/// The table of all connections of this engine. Its counts stand in the engine's registry from the first call on.
pub fn lives(engine: &Engine) -> LifeTable {
    let make = |engine: &Engine| {
        let lives = LifeTable::new(engine.id(), engine.workers().len());
        let counted = lives.clone();
        let collect = move |into: &mut Vec<Sample>| collect(&counted.counts(), into);
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
