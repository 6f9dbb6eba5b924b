//! `/connections`: how many were opened and ended and why, and those that live.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, Instant};

use millstream_base::{Error, Result};
use millstream_http::server::transport::{ConnState, Counts, LifeSnapshot, LifeTable, RECORDS_MAX, Side};
use serde::Serialize;

use crate::budgets::{self, Ports};
use crate::targets::{self, Target};

/// What the query asks for.
#[derive(Debug, PartialEq)]
pub(crate) struct Wanted {
    limit: usize,
    side: Option<Side>,
    state: Option<ConnState>,
    target: Option<String>,
    records: usize,
}

impl FromStr for Wanted {
    type Err = Error;

    fn from_str(query: &str) -> Result<Self> {
        let mut wanted = Self { limit: DEFAULT_LIMIT, side: None, state: None, target: None, records: 0 };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "limit" => wanted.limit = number(&key, &value, MOST_LIMIT)?,
                "records" => wanted.records = number(&key, &value, RECORDS_MAX)?,
                "target" => wanted.target = Some(value.into_owned()),
                "side" => wanted.side = Some(named(Side::ALL, Side::name, &value)?),
                "state" => wanted.state = Some(named(ConnState::ALL, ConnState::name, &value)?),
                _ => return Err(Error::invalid("want limit=, side=, state=, target= or records=\n")),
            }
        }
        Ok(wanted)
    }
}

fn number(key: &str, value: &str, most: usize) -> Result<usize> {
    let number = value.parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| Error::invalid(format!("{key} is 0 to {most}\n")))
}

fn named<T: Copy>(all: &[T], name: fn(T) -> &'static str, value: &str) -> Result<T> {
    let found = all.iter().find(|one| name(**one) == value).copied();
    found.ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
        Error::invalid(format!("want one of: {}\n", names.join(", ")))
    })
}

/// Connections listed unless the query says otherwise.
const DEFAULT_LIMIT: usize = 1_000;
/// Connections listed at most: about 40 MB of JSON.
const MOST_LIMIT: usize = 100_000;

/// All that is told.
#[derive(Serialize)]
pub(crate) struct Report {
    #[serde(flatten)]
    totals: Totals,
    sides: BTreeMap<&'static str, OneSide>,
    /// What became of our connections to each target.
    targets: Vec<Target>,
    /// The local ports that they have.
    budgets: Vec<Ports>,
    /// Taken after the sums: connections come and go between the two.
    listed: usize,
    limit: usize,
    connections: Vec<Listed>,
}

/// `opened` is always `open + ended`.
#[derive(Serialize)]
struct Totals {
    opened: u64,
    open: u64,
    ended: u64,
}

/// `opened_for` adds up to `opened`, `ended_for` to `ended`. What never occurred is left out.
#[derive(Serialize)]
pub(crate) struct OneSide {
    #[serde(flatten)]
    totals: Totals,
    opened_for: BTreeMap<&'static str, u64>,
    /// By cause, then by who closed first.
    ended_for: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
}

/// One connection that lives.
#[derive(Serialize)]
struct Listed {
    id: u64,
    side: &'static str,
    opener: &'static str,
    local: String,
    peer: String,
    state: &'static str,
    age_seconds: f64,
    /// Since when it has been idle; 0 unless it is.
    idle_seconds: f64,
    bytes_in: u64,
    bytes_out: u64,
    messages: u64,
    tls: bool,
    /// What connecting took; on clients only.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_seconds: Option<f64>,
    /// What the TLS handshake took; with TLS only.
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_seconds: Option<f64>,
    /// Where in the program the call was made whose reply is being read, as `src/fetch.rs:12:5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// Why it ends, once that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'static str>,
    /// Who closed first, once somebody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    closed_by: Option<&'static str>,
}

impl Report {
    pub(crate) fn new(lives: &LifeTable, wanted: &Wanted) -> Self {
        let counts = lives.counts();
        let live = lives.select(wanted.limit, |life| {
            wanted.side.is_none_or(|side| life.side() == side)
                && wanted.state.is_none_or(|state| life.state() == state)
        });
        let now = Instant::now();
        let mut connections: Vec<_> = live.iter().map(|life| Listed::new(life, now)).collect();
        connections.sort_unstable_by_key(|listed| listed.id);
        Self {
            totals: Totals { opened: counts.opened(), open: counts.open(), ended: counts.ended() },
            sides: Side::ALL.iter().map(|side| (side.name(), OneSide::new(&counts, *side))).collect(),
            targets: targets::all(lives, wanted.target.as_deref(), wanted.records, now),
            budgets: budgets::all(lives),
            listed: connections.len(),
            limit: wanted.limit,
            connections,
        }
    }
}

impl OneSide {
    pub(crate) fn new(counts: &Counts, side: Side) -> Self {
        let (opened, ended) = counts.of_side(side);
        let mut ended_for: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for (_, cause, by, count) in counts.each_ended().filter(|(of, ..)| *of == side) {
            ended_for.entry(cause.name()).or_default().insert(by.name(), count);
        }
        let of_side = counts.each_opened().filter(|(of, ..)| *of == side);
        Self {
            totals: Totals { opened, open: opened - ended, ended },
            opened_for: of_side.map(|(_, opener, count)| (opener.name(), count)).collect(),
            ended_for,
        }
    }
}

impl Listed {
    fn new(life: &LifeSnapshot, now: Instant) -> Self {
        let since = |moment| now.saturating_duration_since(moment).as_secs_f64();
        let known = |span: Duration| (!span.is_zero()).then_some(span.as_secs_f64());
        Self {
            id: life.id.0,
            side: life.side.name(),
            opener: life.opener.name(),
            local: life.local.to_string(),
            peer: life.peer.to_string(),
            state: life.state.name(),
            age_seconds: since(life.opened),
            idle_seconds: if life.state == ConnState::Idle { since(life.changed) } else { 0.0 },
            bytes_in: life.bytes_in,
            bytes_out: life.bytes_out,
            messages: life.messages,
            tls: !life.tls_time.is_zero(),
            connect_seconds: known(life.connect_time),
            tls_seconds: known(life.tls_time),
            owner: life.owner.filter(|_| life.state == ConnState::Busy).map(ToString::to_string),
            cause: life.cause.map(millstream_http::server::transport::Cause::name),
            closed_by: life.closed_by.map(millstream_http::server::transport::ClosedBy::name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_says_what_is_wanted() {
        let wanted = |query: &str| query.parse::<Wanted>();
        let all = Wanted { limit: 1000, side: None, state: None, target: None, records: 0 };
        assert_eq!(wanted("").expect("nothing is fine"), all);
        let some = wanted("limit=5&side=server&state=idle&target=db%3A5432&records=256").expect("good");
        let (side, state, target) = (Some(Side::Server), Some(ConnState::Idle), Some("db:5432".to_owned()));
        assert_eq!(some, Wanted { limit: 5, side, state, target, records: 256 });
        let bracketed = wanted("target=%5B::1%5D%3a80").expect("good").target;
        assert_eq!(bracketed.as_deref(), Some("[::1]:80"));
        for bad in [
            "limit=",
            "limit=-1",
            "limit=100001",
            "limit=1x",
            "records=257",
            "records=x",
            "side=",
            "side=Server",
            "state=x",
            "x=1",
        ] {
            assert!(wanted(bad).is_err(), "{bad}");
        }
    }
}
