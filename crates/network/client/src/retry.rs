//! When a call may be tried again: what the peer can't have seen, or what is idempotent; once; within a budget.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use millstream_base::{Kind, Seen};

use crate::{Failed, Protocol};

/// Retries at most this share of calls, so that a peer in trouble is not buried: each call earns a fifth of a retry.
const EARNED_MILLI: i64 = 200;
/// What one retry costs.
const COST_MILLI: i64 = 1_000;
/// What may be saved up: ten retries, also at the start.
const SAVED_MILLI: i64 = 10_000;

/// The budget of one client's retries. Races may miscount by a call: it is a brake, not an account.
#[derive(Debug)]
pub(crate) struct Budget(AtomicI64);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(AtomicI64::new(SAVED_MILLI))
    }

    /// A call was made.
    #[inline]
    pub(crate) fn earn(&self) {
        // Full most of the time: then this is one load.
        if self.0.load(Relaxed) < SAVED_MILLI {
            self.0.fetch_add(EARNED_MILLI, Relaxed);
        }
    }

    /// Takes one retry, if there is one.
    pub(crate) fn spend(&self) -> bool {
        let take = |saved| (saved >= COST_MILLI).then_some(saved - COST_MILLI);
        self.0.fetch_update(Relaxed, Relaxed, take).is_ok()
    }
}

/// Is it safe to send this request again (connections: table of RFC 9110 §9.2.2 and RFC 9112 §9.3.1)?
///
/// Only a reused connection is suspected: a fresh one that fails the same way would fail again.
pub(crate) fn may_retry<P: Protocol>(protocol: &P, failed: &Failed<P::Request>, was_reused: bool) -> bool {
    let Some(request) = &failed.request else { return false };
    let is_connection = matches!(failed.error.kind(), Kind::Closed | Kind::Reset);
    let is_safe = match failed.error.seen() {
        Seen::No => true,
        Seen::Maybe => protocol.is_idempotent(request),
        Seen::Yes => false,
    };
    was_reused && is_connection && is_safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_allows_ten_at_once_then_a_fifth_of_calls() {
        let budget = Budget::new();
        assert_eq!((0..20).filter(|_| budget.spend()).count(), 10);
        let retried = (0..1000).filter(|_| {
            budget.earn();
            budget.spend()
        });
        assert_eq!(retried.count(), 200);
    }
}
