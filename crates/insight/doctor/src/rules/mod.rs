//! The table of causes: one file a row, each a [`Rule`] with what it looks for, what helps and what does not.
//!
//! A row that lacks its facts says why (`Err`), rather than nothing.

mod accept_queue;
mod bind_takes_ports;
mod close_wait_leak;
mod connect_modes;
mod conntrack;
mod descriptors;
mod half_closed;
mod half_open;
mod keep_alive_race;
mod listen_address;
mod max_requests;
mod nat_budget;
mod orphan_half_closed;
mod orphans;
mod parity_wall;
mod ports_exhausted;
mod reuse_low;
mod synchronised_expiry;
mod time_wait_connecting;
mod time_wait_limit;
mod time_wait_listening;
mod unread_at_close;

use crate::diagnosis::{Diagnosis, Remedy, Severity};
use crate::observation::{Endpoint, Side};
use crate::view::View;

/// A row of the table.
pub(crate) struct Rule {
    pub(crate) row: u8,
    pub(crate) name: &'static str,
    pub(crate) symptom: &'static str,
    /// Rows that are only a part of this one when both speak of the same endpoint.
    pub(crate) covers: &'static [u8],
    pub(crate) look: fn(&View<'_>) -> Look,
}

/// What a rule found, or why it could not look.
pub(crate) type Look = Result<Vec<Case>, String>;

/// One finding of a rule.
pub(crate) struct Case {
    pub(crate) severity: Severity,
    pub(crate) cause: String,
    pub(crate) place: Option<(String, Option<Side>)>,
    pub(crate) evidence: Vec<String>,
    pub(crate) remedies: Vec<Remedy>,
    pub(crate) not: Vec<String>,
}

impl Case {
    pub(crate) fn new(severity: Severity, cause: impl Into<String>) -> Self {
        let cause = cause.into();
        Self { severity, cause, place: None, evidence: vec![], remedies: vec![], not: vec![] }
    }

    /// It is about this endpoint; who holds its sockets is part of the evidence.
    pub(crate) fn at(mut self, endpoint: &Endpoint) -> Self {
        self.place = Some((endpoint.name(), Some(endpoint.side)));
        self.evidence.extend(crate::view::holders(endpoint));
        self
    }

    pub(crate) fn at_place(mut self, place: impl Into<String>, side: Option<Side>) -> Self {
        self.place = Some((place.into(), side));
        self
    }

    pub(crate) fn seen(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    pub(crate) fn helps(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }

    pub(crate) fn does_not_help(mut self, what: impl Into<String>) -> Self {
        self.not.push(what.into());
        self
    }
}

impl Rule {
    pub(crate) fn diagnosis(&self, case: Case) -> Diagnosis {
        let (endpoint, side) = case.place.map_or((None, None), |(name, side)| (Some(name), side));
        let mut remedies = case.remedies;
        // Stable: within a kind the rule's own order holds.
        remedies.sort_by_key(|remedy| remedy.kind);
        Diagnosis {
            rule: self.name.to_owned(),
            row: self.row,
            severity: case.severity,
            symptom: self.symptom.to_owned(),
            cause: case.cause,
            endpoint,
            side,
            evidence: case.evidence,
            remedies,
            not: case.not,
        }
    }
}

/// All 22 rows, in their order.
pub(crate) const RULES: [&Rule; 22] = [
    &ports_exhausted::RULE,
    &parity_wall::RULE,
    &bind_takes_ports::RULE,
    &time_wait_connecting::RULE,
    &time_wait_listening::RULE,
    &time_wait_limit::RULE,
    &close_wait_leak::RULE,
    &half_closed::RULE,
    &orphan_half_closed::RULE,
    &orphans::RULE,
    &accept_queue::RULE,
    &connect_modes::RULE,
    &unread_at_close::RULE,
    &keep_alive_race::RULE,
    &reuse_low::RULE,
    &max_requests::RULE,
    &conntrack::RULE,
    &nat_budget::RULE,
    &listen_address::RULE,
    &synchronised_expiry::RULE,
    &descriptors::RULE,
    &half_open::RULE,
];
