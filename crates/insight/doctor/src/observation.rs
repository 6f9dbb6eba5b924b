//! What the rules see: plain data, taken at least three times, that can be kept, sent and replayed.
//!
//! Nothing here looks at the machine. `observe` fills it in; a test writes it by hand.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::EngineFacts;

/// All that the rules may look at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Observation {
    /// The samples, the oldest first. Fewer than [`Observation::SAMPLES_MIN`] are no ground for a diagnosis.
    pub samples: Vec<Sample>,
    /// Settings of the kernel by their name below `/proc/sys`, with dots; what could not be read is not there.
    pub sysctls: BTreeMap<String, u64>,
    /// How many local ports the kernel may choose from: the range without what is reserved.
    pub ports: Option<u32>,
    /// Descriptors of the processes that hold sockets.
    pub descriptors: Vec<Descriptors>,
    /// What an engine knows about its own connections, when one was asked.
    pub engine: Option<EngineFacts>,
    /// What could not be seen, in sentences.
    pub unseen: Vec<String>,
    /// When it ended, in seconds since 1970 by the clock on the wall; none if nobody says.
    pub made_at: Option<u64>,
    /// The only address whose connections were looked at; none if all were.
    pub only: Option<String>,
}

impl Observation {
    /// A single look can't tell what grows from what is large.
    pub const SAMPLES_MIN: usize = 3;
}

/// One look at the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Sample {
    /// Milliseconds since the first sample.
    pub at_ms: u64,
    /// Sockets by endpoint.
    pub endpoints: Vec<Endpoint>,
    /// Accept queues.
    pub listeners: Vec<Listener>,
    /// Ports within the automatic range that are bound by sockets without a connection (BOUND_INACTIVE).
    pub bound: u32,
    /// Who holds those.
    pub bound_by: Vec<Holder>,
    /// Distinct ports of the automatic range in use by connecting sockets, whatever their destination.
    pub ports_used: u32,
    /// Those of them that have more than one destination: none, when ports are taken by `bind`.
    pub ports_shared: u32,
    /// The kernel's counters, as `TcpExt.ListenOverflows`; they only grow.
    pub counters: BTreeMap<String, u64>,
    /// The kernel's gauges, as `TCP.orphan`.
    pub gauges: BTreeMap<String, u64>,
}

/// Which side of its connections an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Side {
    /// The local port was chosen for the connection: it is used up while the connection lives, or waits.
    #[default]
    Connecting,
    /// The local port is one that is listened on: connections cost memory, not ports.
    Listening,
}

impl Side {
    /// Both ends in one word.
    pub(crate) fn between(self, local: &str, remote: &str) -> String {
        match self {
            Self::Connecting => format!("{local} -> {remote}"),
            Self::Listening => format!("{local} <- {remote}"),
        }
    }
}

/// The sockets between one local address and one remote end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Endpoint {
    /// Connecting: the address, without port. Listening: address and port.
    pub local: String,
    /// Connecting: address and port. Listening: `*`.
    pub remote: String,
    /// Which side this is.
    pub side: Side,
    /// Whether both ends are on a loopback address (where `tcp_tw_reuse=2` is enough).
    pub is_loopback: bool,
    /// Sockets by state.
    pub states: States,
    /// Distinct local ports held, in whatever state. Zero for a listening side.
    pub held: u32,
    /// TIME_WAIT by what is left of its 60 s, in steps of 5 s; the last holds the youngest.
    pub expiries: Vec<u32>,
    /// Those of [`held`](Self::held) that are in TIME_WAIT for longer than `tcp_tw_reuse_delay`: what `connect` may take over where
    /// the settings allow it. None in observations of earlier versions.
    pub rested: Option<u32>,
    /// CLOSE_WAIT sockets that were there in the first sample already.
    pub close_wait_kept: u32,
    /// FIN_WAIT_2 sockets with an owner that were there in the first sample already.
    pub half_closed_kept: u32,
    /// The longest silence of a FIN_WAIT_2 with an owner.
    pub half_closed_ms: u64,
    /// SYN_SENT that had to repeat its SYN.
    pub syn_repeated: u32,
    /// Established, data unacknowledged, and no ACK for 30 s.
    pub stalled: u32,
    /// Who holds, or held, these sockets.
    pub holders: Vec<Holder>,
    /// Sockets of which nobody knows the owner.
    pub unknown: u32,
}

impl Endpoint {
    /// Both ends in one word, as diagnoses name it.
    pub fn name(&self) -> String {
        self.side.between(&self.local, &self.remote)
    }

    /// How many new TIME_WAIT a second, by the youngest five seconds of the expiries.
    pub fn time_wait_rate(&self) -> f64 {
        f64::from(self.expiries.last().copied().unwrap_or(0)) / f64::from(EXPIRY_STEP_S)
    }
}

/// The step of [`Endpoint::expiries`] in seconds.
pub const EXPIRY_STEP_S: u32 = 5;

/// Sockets by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct States {
    /// Open both ways.
    pub established: u32,
    /// Asked, not answered yet.
    pub syn_sent: u32,
    /// Being asked.
    pub syn_recv: u32,
    /// Our FIN is under way.
    pub fin_wait_1: u32,
    /// Our FIN was acknowledged, the peer's is missing, and a process still holds the socket.
    pub fin_wait_2_owned: u32,
    /// The same, but nobody holds it any more: the kernel's timer ends it.
    pub fin_wait_2_orphan: u32,
    /// We closed first: the pair of ports rests.
    pub time_wait: u32,
    /// The peer closed, our process has not.
    pub close_wait: u32,
    /// LAST_ACK and CLOSING.
    pub closing: u32,
}

impl States {
    /// All of them.
    pub fn total(&self) -> u32 {
        let Self { established, syn_sent, syn_recv, fin_wait_1, fin_wait_2_owned, fin_wait_2_orphan, .. } =
            self;
        let parts = [established, syn_sent, syn_recv, fin_wait_1, fin_wait_2_owned, fin_wait_2_orphan];
        let rest = [&self.time_wait, &self.close_wait, &self.closing];
        parts.into_iter().chain(rest).fold(0, |sum, part| sum.saturating_add(*part))
    }

    /// Name and count of each, as reports print them.
    pub fn named(&self) -> [(&'static str, u32); 9] {
        [
            ("established", self.established),
            ("syn_sent", self.syn_sent),
            ("syn_recv", self.syn_recv),
            ("fin_wait_1", self.fin_wait_1),
            ("fin_wait_2_owned", self.fin_wait_2_owned),
            ("fin_wait_2_orphan", self.fin_wait_2_orphan),
            ("time_wait", self.time_wait),
            ("close_wait", self.close_wait),
            ("closing", self.closing),
        ]
    }
}

/// An accept queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Listener {
    /// Where it listens.
    pub local: String,
    /// Connections that wait to be accepted.
    pub waiting: u32,
    /// How many may wait.
    pub backlog: u32,
    /// Who listens.
    pub holders: Vec<Holder>,
}

/// A process and how many of the sockets it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// How many sockets.
    pub sockets: u32,
    /// How sure that is.
    pub confidence: Confidence,
}

/// How sure an attribution is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Confidence {
    /// The socket was seen in the hands of the process: by its inode, or earlier by its cookie.
    #[default]
    Certain,
    /// Sockets to the same destination, from neighbouring ports, were in its hands.
    Probable,
}

/// The open descriptors of a process and its limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Descriptors {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// How many it has open.
    pub open: u64,
    /// How many it may (the soft limit).
    pub limit: u64,
}
