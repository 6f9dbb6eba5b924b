//! The local ports of our connections, as `/connections` tells of them.

use std::time::Instant;

use millstream_http::server::transport::LifeTable;
use serde::Serialize;

/// The ports from one address to one destination. `open + time_wait + foreign + free` is more than `ports` where TIME_WAIT can be
/// taken over.
#[derive(Serialize)]
pub(crate) struct Ports {
    local: String,
    remote: String,
    ports: u32,
    /// How many of `ports` are the private range's.
    private: u32,
    open: u32,
    time_wait: u32,
    /// Of other programs, as of the last look.
    foreign: u32,
    free: u32,
    level: &'static str,
    /// Ports used up, less those that came free without TIME_WAIT.
    per_second: f64,
    /// Until none is left at that rate; left out if that never happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_to_exhaustion: Option<f64>,
    opened: u64,
    /// Opened on a port of ours that was in TIME_WAIT.
    taken_over: u64,
    /// What `connect` takes to find a port.
    search_seconds: f64,
}

/// Budgets listed at most.
const MOST: usize = 1024;

/// Those of all destinations, by address.
pub(crate) fn all(lives: &LifeTable) -> Vec<Ports> {
    let snapshots = lives.ports().snapshots(Instant::now());
    let shown = snapshots.into_iter().take(MOST);
    let told = shown.map(|budget| Ports {
        local: budget.source.to_string(),
        remote: budget.destination.to_string(),
        ports: budget.ports,
        private: budget.private,
        open: budget.open,
        time_wait: budget.time_wait,
        foreign: budget.foreign,
        free: budget.free,
        level: budget.level.name(),
        per_second: budget.per_second,
        seconds_to_exhaustion: budget.exhausted_in.map(|span| span.as_secs_f64()),
        opened: budget.opened,
        taken_over: budget.taken_over,
        search_seconds: budget.search_time.as_secs_f64(),
    });
    told.collect()
}
