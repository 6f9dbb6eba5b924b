//! The part of `/connections` about targets: what became of our connections to each.

use std::collections::BTreeMap;
use std::time::Instant;

use millstream_http::server::transport::{Account, EndRecord, LifeTable, Side};
use serde::Serialize;

use crate::connections::OneSide;

/// One target. `opened` is always `open + ended`.
#[derive(Serialize)]
pub(crate) struct Target {
    target: String,
    /// Its connections: the sums, and each reason.
    #[serde(flatten)]
    connections: OneSide,
    requests: u64,
    /// The share of requests that needed no new connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    reuse_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new_per_1000_requests: Option<f64>,
    /// Opened soon after one ended that could have gone on, by the cause of that end.
    avoidable: BTreeMap<&'static str, u64>,
    handshake_seconds: f64,
    /// The part of them that went into avoidable connections.
    wasted_seconds: f64,
    /// Ended by us with a reset that could lose nothing.
    resets: u64,
    dials_failed: u64,
    /// Of those, how many found no local port.
    dials_without_port: u64,
    /// The last ends, the newest first; as many as `records=` asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    records: Vec<Record>,
}

/// How one connection ended.
#[derive(Serialize)]
struct Record {
    id: u64,
    opener: &'static str,
    cause: &'static str,
    closed_by: &'static str,
    ended_seconds_ago: f64,
    age_seconds: f64,
    /// Since its state changed last: of an idle connection, how long it had been idle.
    rested_seconds: f64,
    messages: u64,
    bytes_in: u64,
    bytes_out: u64,
    connect_seconds: f64,
    tls_seconds: f64,
}

/// All targets, or the one of this name; with so many records each.
pub(crate) fn all(lives: &LifeTable, wanted: Option<&str>, records: usize, now: Instant) -> Vec<Target> {
    let accounts = match wanted {
        None => lives.accounts(),
        Some(target) => lives.find_account(target).into_iter().collect(),
    };
    accounts.iter().map(|account| Target::new(account, records, now)).collect()
}

impl Target {
    fn new(account: &Account, records: usize, now: Instant) -> Self {
        let kept = if records > 0 { account.records() } else { Vec::new() };
        let account = account.snapshot();
        Self {
            target: account.target.to_string(),
            connections: OneSide::new(&account.counts, Side::Client),
            requests: account.requests,
            reuse_ratio: account.reuse_ratio(),
            new_per_1000_requests: account.new_per_thousand(),
            avoidable: account.each_avoidable().map(|(cause, count)| (cause.name(), count)).collect(),
            handshake_seconds: account.handshake_time.as_secs_f64(),
            wasted_seconds: account.wasted_time.as_secs_f64(),
            resets: account.resets,
            dials_failed: account.failed,
            dials_without_port: account.no_port,
            records: kept.iter().rev().take(records).map(|record| Record::new(record, now)).collect(),
        }
    }
}

impl Record {
    fn new(record: &EndRecord, now: Instant) -> Self {
        Self {
            id: record.id.0,
            opener: record.opener.name(),
            cause: record.cause.name(),
            closed_by: record.closed_by.name(),
            ended_seconds_ago: now.saturating_duration_since(record.ended).as_secs_f64(),
            age_seconds: record.age.as_secs_f64(),
            rested_seconds: record.rested.as_secs_f64(),
            messages: record.messages,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            connect_seconds: record.connect_time.as_secs_f64(),
            tls_seconds: record.tls_time.as_secs_f64(),
        }
    }
}
