//! The whole answer: a verdict, what was found, what could not be checked, and the numbers behind it.

use std::collections::BTreeMap;

use millstream_base::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::comparison::Comparison;
use crate::diagnosis::{Diagnosis, Severity};
use crate::engine::{EngineFacts, TargetFacts};
use crate::observation::{Endpoint, Holder, Listener, Observation, Sample, Side};
use crate::reuse::Takeable;
use crate::rules::{RULES, Rule};
use crate::view::{View, seconds_to_exhaustion};

/// How the host is, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing is wrong; there may be notes.
    #[default]
    Ok,
    /// Something hurts a little, or will hurt.
    Warning,
    /// Connections fail now.
    Critical,
}

/// What the rules say of an observation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// The worst of the diagnoses.
    pub verdict: Verdict,
    /// What was found, the worst first.
    pub diagnoses: Vec<Diagnosis>,
    /// Rules whose facts are missing.
    pub not_checked: Vec<NotChecked>,
    /// Sockets of the last sample by state.
    pub states: BTreeMap<String, u64>,
    /// Endpoints of the last sample, the fullest first.
    pub endpoints: Vec<EndpointRow>,
    /// Settings and counters.
    pub host: Host,
    /// What could not be seen, in sentences.
    pub unseen: Vec<String>,
    /// Accept queues of the last sample.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// What an engine knows of its targets; empty when none was asked.
    #[serde(default)]
    pub targets: Vec<TargetRow>,
    /// When it was made, in seconds since 1970 by the clock on the wall; none if nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_at: Option<u64>,
    /// The only address whose connections were looked at; none if all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<String>,
    /// What has become of an earlier report, if one was compared with: see [`Comparison::of`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Comparison>,
}

/// A rule that could not look, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NotChecked {
    /// The rule's name.
    pub rule: String,
    /// What is missing.
    pub why: String,
}

/// One endpoint, as tables show it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EndpointRow {
    /// The local address; with its port on the listening side.
    pub local: String,
    /// The remote address and port; `*` on the listening side.
    pub remote: String,
    /// Which side.
    pub side: Side,
    /// Open connections.
    pub established: u32,
    /// Connections we closed first.
    pub time_wait: u32,
    /// Connections the peer closed and our process did not.
    pub close_wait: u32,
    /// How many local ports there are for this destination; none on the listening side.
    pub budget: Option<u32>,
    /// How many of them are held.
    pub used: u32,
    /// How many of those are in TIME_WAIT, and `connect` may take them over; none where the settings allow nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeable: Option<u32>,
    /// New TIME_WAIT a second.
    pub time_wait_rate: f64,
    /// When none will be left, if it goes on like this; none if it never will.
    pub seconds_to_exhaustion: Option<u32>,
    /// Who holds the sockets.
    pub processes: Vec<Holder>,
    /// Sockets of which nobody knows the owner.
    pub unknown: u32,
    /// Connections asked for and not answered yet. This and what follows is missing in reports of earlier versions.
    #[serde(default)]
    pub syn_sent: Option<u32>,
    /// FIN_WAIT_2 that a process holds.
    #[serde(default)]
    pub fin_wait_2_owned: Option<u32>,
    /// FIN_WAIT_2 that nobody holds.
    #[serde(default)]
    pub fin_wait_2_orphan: Option<u32>,
    /// Established, data unacknowledged, and no ACK for 30 s.
    #[serde(default)]
    pub stalled: Option<u32>,
}

impl EndpointRow {
    /// Both ends in one word, as diagnoses name it.
    pub fn name(&self) -> String {
        self.side.between(&self.local, &self.remote)
    }
}

/// What an engine knows of one target, as far as remedies change it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TargetRow {
    /// Its name, as `db:5432`.
    pub target: String,
    /// The median time in `connect()` itself in microseconds.
    pub connect_call_us: Option<u64>,
    /// Failures in a thousand calls on reused connections; none without such calls.
    pub reused_failures: Option<f64>,
    /// The most connections opened in one second.
    pub opens_peak: Option<u32>,
}

/// The kernel's settings and counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Host {
    /// Settings by name.
    pub sysctls: BTreeMap<String, u64>,
    /// Counters: by how much each grew over the observation, if it did.
    pub counters: BTreeMap<String, u64>,
    /// Over how many milliseconds.
    pub observed_ms: u64,
}

impl Report {
    /// Lets all rules look at an observation.
    pub fn of(observation: &Observation) -> Self {
        let (mut diagnoses, not_checked) = diagnose(observation);
        diagnoses.sort_by_key(|one| std::cmp::Reverse(one.severity));
        let verdict = match diagnoses.first().map(|worst| worst.severity) {
            Some(Severity::Critical) => Verdict::Critical,
            Some(Severity::Warning) => Verdict::Warning,
            _ => Verdict::Ok,
        };
        let empty = Sample::default();
        let last = observation.samples.last().unwrap_or(&empty);
        Self {
            verdict,
            diagnoses,
            not_checked,
            states: states(last),
            endpoints: endpoints(last, observation),
            host: host(observation),
            unseen: observation.unseen.clone(),
            listeners: last.listeners.clone(),
            targets: observation.engine.as_ref().map_or(vec![], targets),
            made_at: observation.made_at,
            only: observation.only.clone(),
            since: None,
        }
    }

    /// Reads what [`Report::to_json`] wrote, an earlier version's too.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn from_json(text: &str) -> Result<Self> {
        let bad = |error: serde_json::Error| {
            Error::invalid("this is no report of `millstream doctor --json`").with_source(error)
        };
        serde_json::from_str(text).map_err(bad)
    }

    /// The report as JSON, one line.
    ///
    /// # Panics
    ///
    /// Never: it is made of strings, numbers and lists, which JSON can hold.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data with names for keys is always JSON")
    }
}

fn diagnose(observation: &Observation) -> (Vec<Diagnosis>, Vec<NotChecked>) {
    let (mut found, mut not_checked) = (Vec::<(&Rule, Diagnosis)>::new(), Vec::new());
    let view = View::new(observation);
    for rule in RULES {
        let too_few = || {
            format!(
                "it takes {} samples, and there are {}",
                Observation::SAMPLES_MIN,
                observation.samples.len()
            )
        };
        match view.as_ref().ok_or_else(too_few).and_then(|view| (rule.look)(view)) {
            Ok(cases) => found.extend(cases.into_iter().map(|case| (rule, rule.diagnosis(case)))),
            Err(why) => not_checked.push(NotChecked { rule: rule.name.to_owned(), why }),
        }
    }
    let covered = |one: &Diagnosis| {
        found.iter().any(|(rule, other)| rule.covers.contains(&one.row) && other.endpoint == one.endpoint)
    };
    let diagnoses = found.iter().filter(|(_, one)| !covered(one)).map(|(_, one)| one.clone()).collect();
    (diagnoses, not_checked)
}

fn states(sample: &Sample) -> BTreeMap<String, u64> {
    let mut states = BTreeMap::new();
    let named = sample.endpoints.iter().flat_map(|one| one.states.named());
    for (name, count) in
        named.chain([("bound_inactive", sample.bound), ("listen", sample.listeners.len() as u32)])
    {
        let sum: &mut u64 = states.entry(name.to_owned()).or_insert(0);
        *sum = sum.saturating_add(u64::from(count));
    }
    states
}

fn endpoints(sample: &Sample, all: &Observation) -> Vec<EndpointRow> {
    let mut rows: Vec<_> = sample.endpoints.iter().map(|one| endpoint(one, all)).collect();
    let size =
        |row: &EndpointRow| row.established.saturating_add(row.time_wait).saturating_add(row.close_wait);
    rows.sort_by_key(|row| std::cmp::Reverse((row.used, size(row))));
    rows
}

fn endpoint(one: &Endpoint, all: &Observation) -> EndpointRow {
    let takeable = Takeable::of(all, one);
    EndpointRow {
        local: one.local.clone(),
        remote: one.remote.clone(),
        side: one.side,
        established: one.states.established,
        time_wait: one.states.time_wait,
        close_wait: one.states.close_wait,
        budget: all.ports.filter(|_| one.side == Side::Connecting),
        used: one.held,
        time_wait_rate: one.time_wait_rate(),
        takeable: takeable.map(|takeable| takeable.ports),
        seconds_to_exhaustion: all.ports.and_then(|ports| seconds_to_exhaustion(one, ports, takeable)),
        processes: one.holders.clone(),
        unknown: one.unknown,
        syn_sent: Some(one.states.syn_sent),
        fin_wait_2_owned: Some(one.states.fin_wait_2_owned),
        fin_wait_2_orphan: Some(one.states.fin_wait_2_orphan),
        stalled: Some(one.stalled),
    }
}

fn targets(engine: &EngineFacts) -> Vec<TargetRow> {
    let row = |one: &TargetFacts| TargetRow {
        target: one.target.clone(),
        connect_call_us: one.connect_call_us,
        reused_failures: one.failures_per_thousand(),
        opens_peak: one.opens.iter().max().copied(),
    };
    engine.targets.iter().map(row).collect()
}

fn host(observation: &Observation) -> Host {
    let mut counters = BTreeMap::new();
    let ends = observation.samples.first().zip(observation.samples.last());
    if let Some((first, last)) = ends {
        for (name, value) in &last.counters {
            let grown = value.saturating_sub(first.counters.get(name).copied().unwrap_or(*value));
            if grown > 0 {
                counters.insert(name.clone(), grown);
            }
        }
    }
    let observed_ms = ends.map_or(0, |(first, last)| last.at_ms.saturating_sub(first.at_ms));
    Host { sysctls: observation.sysctls.clone(), counters, observed_ms }
}
