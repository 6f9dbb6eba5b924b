//! What an engine can tell about its own connections, and nobody outside can see.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::effect::hundredths;

/// The facts of one engine over the time of the observation. All counts are of that time alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct EngineFacts {
    /// By target.
    pub targets: Vec<TargetFacts>,
    /// Addresses that could not be listened on: somebody has them (EADDRINUSE). `None` when the engine does not say.
    pub listen_refused: Option<Vec<String>>,
    /// Connections in CLOSE_WAIT that somebody in the program still has, and has read nothing from all the time.
    pub held: Vec<Held>,
    /// How often a socket could not be made for want of descriptors (EMFILE, ENFILE).
    pub descriptors_refused: u64,
}

/// A connection that its peer has closed while the program keeps something of it, as a reply that nobody reads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Held {
    /// Its local end.
    pub local: String,
    /// Its remote end, as [`Endpoint::remote`](crate::Endpoint::remote) spells it.
    pub remote: String,
    /// For how long it has been kept.
    pub held_ms: u64,
    /// Where in the program the call was made, as `src/fetch.rs:12:5`; empty if not known.
    pub owner: String,
}

/// What happened with one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TargetFacts {
    /// Its name, as `db:5432`.
    pub target: String,
    /// The address it led to, as [`Endpoint::remote`](crate::Endpoint::remote) spells it; empty if not known.
    pub remote: String,
    /// Calls made.
    pub calls: u64,
    /// Connections opened.
    pub opened: u64,
    /// How many connections ended by which cause, with the ledger's words.
    pub closes: BTreeMap<String, u64>,
    /// Connects that found no port (EADDRNOTAVAIL).
    pub no_port: u64,
    /// Calls on reused connections.
    pub reused: u64,
    /// Those of them that failed with a reset or an end.
    pub reused_failed: u64,
    /// Calls on fresh connections.
    pub fresh: u64,
    /// Those of them that failed the same way.
    pub fresh_failed: u64,
    /// How long the connection had been idle, for each failure on a reused one.
    pub idle_ms_at_failure: Vec<u64>,
    /// Different keys of the pool that lead to this target.
    pub pool_keys: u32,
    /// Idle connections closed for want of room that were missed within a second.
    pub evicted_then_missed: u64,
    /// For connections the peer closed: how many calls they had carried, and how many connections had that number.
    pub calls_at_peer_close: BTreeMap<u64, u64>,
    /// The median time in `connect()` itself, which is the search for a port.
    pub connect_call_us: Option<u64>,
    /// The same while few ports were held.
    pub connect_call_baseline_us: Option<u64>,
    /// How long connecting took, one entry each.
    pub connect_ms: Vec<u64>,
    /// Responses lost to a reset after the request was written.
    pub reset_after_request: u64,
    /// Connections opened in each second.
    pub opens: Vec<u32>,
}

impl TargetFacts {
    /// How many of a thousand calls on reused connections failed; none without such calls.
    pub(crate) fn failures_per_thousand(&self) -> Option<f64> {
        (self.reused > 0).then(|| hundredths(self.reused_failed as f64 * 1000.0 / self.reused as f64))
    }
}
