//! What became of the connections to each target: opened for what, ended why and by whom, and what they cost.
//!
//! Rules:
//! 1. An account's lock covers all its numbers, so `opened = open + ended` holds whenever somebody looks.
//! 2. It is taken when a connection opens, when it ends, and by whoever looks: never for a request, and never under a lock of
//!    the table. Requests of open connections are read from their records while it is held, so none counts twice and a count
//!    never falls.
//! 3. Accounts are never taken away; there are at most [`TARGETS_MAX`], and one for all others.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millstream_base::{ConnId, Error, Kind};

use crate::life::{Life, LifeSnapshot};
use crate::{Cause, ClosedBy, ConnState, Counts, Opener, Side};

/// Targets that have an account of their own; whatever comes after shares one called [`OTHERS`].
pub const TARGETS_MAX: usize = 1024;
/// The account of all targets beyond the first [`TARGETS_MAX`].
pub const OTHERS: &str = "others";
/// How many ends an account remembers one by one: 32 KiB at most.
pub const RECORDS_MAX: usize = 256;

/// A new connection is the price of one that ended no longer ago than this: as long as its port may still be held
/// (`TCP_TIMEWAIT_LEN`, include/net/tcp.h).
const REPLACED_WITHIN: Duration = Duration::from_secs(60);
/// Ends that wait to be replaced. More at once are a restart of the peer, of which each is not a case of its own.
const UNREPLACED_MAX: usize = 1024;

/// The accounts of a [`LifeTable`](crate::LifeTable), by target.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<HashMap<Arc<str>, Arc<Account>>>);

/// What became of the connections to one target. Costs a lock when a connection opens and when it ends; a request costs
/// nothing.
#[derive(Debug)]
pub struct Account {
    target: Arc<str>,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    counts: Counts,
    live: HashMap<ConnId, Arc<Life>>,
    /// Requests of those that ended.
    messages: u64,
    failed: u64,
    no_port: u64,
    resets: u64,
    handshakes: Duration,
    wasted: Duration,
    avoidable: [u64; Cause::ALL.len()],
    unreplaced: VecDeque<(Cause, Instant)>,
    records: VecDeque<EndRecord>,
}

/// How one connection ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndRecord {
    /// Names the connection within its engine.
    pub id: ConnId,
    /// Why it was opened.
    pub opener: Opener,
    /// Why it ended.
    pub cause: Cause,
    /// Who closed first, and keeps TIME_WAIT.
    pub closed_by: ClosedBy,
    /// What it was doing when its end was decided.
    pub was: ConnState,
    /// Whether we ended it with a reset that could lose nothing ([`Conn::reset_if_quiescent`](crate::Conn::reset_if_quiescent)).
    pub is_reset: bool,
    /// When it ended.
    pub ended: Instant,
    /// How long it lived.
    pub age: Duration,
    /// How long before its end its state changed last: of an idle one, how long it had been idle.
    pub rested: Duration,
    /// What connecting took.
    pub connect_time: Duration,
    /// What the TLS handshake took; zero without TLS.
    pub tls_time: Duration,
    /// Requests it carried.
    pub messages: u64,
    /// Bytes received, after TLS.
    pub bytes_in: u64,
    /// Bytes sent, before TLS.
    pub bytes_out: u64,
}

/// A copy of an [`Account`] at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AccountSnapshot {
    /// Whose it is, as `db:5432`.
    pub target: Arc<str>,
    /// Connections opened and ended, and why; `opened = open + ended`.
    pub counts: Counts,
    /// Requests carried, by those that ended and those that are open.
    pub requests: u64,
    /// Dials that failed, those without a port among them.
    pub failed: u64,
    /// Dials that found no local port (EADDRNOTAVAIL).
    pub no_port: u64,
    /// Connections that we ended with a reset that could lose nothing: no TIME_WAIT at either end.
    pub resets: u64,
    /// What connecting and TLS took together, of all that ended.
    pub handshake_time: Duration,
    /// What it took for those that replaced one which could have gone on.
    pub wasted_time: Duration,
    avoidable: [u64; Cause::ALL.len()],
}

impl Ledger {
    pub(crate) fn account(&self, target: &str) -> Arc<Account> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = all.get(target) {
            return account.clone();
        }
        // The last place is that of the others.
        let target = if all.len() < TARGETS_MAX || target == OTHERS { target } else { OTHERS };
        let new = || Arc::new(Account { target: target.into(), book: Mutex::default() });
        all.entry(target.into()).or_insert_with(new).clone()
    }

    pub(crate) fn find(&self, target: &str) -> Option<Arc<Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    pub(crate) fn accounts(&self) -> Vec<Arc<Account>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut accounts: Vec<_> = all.values().cloned().collect();
        accounts.sort_unstable_by(|a, b| a.target.cmp(&b.target));
        accounts
    }
}

impl Account {
    /// Whose it is.
    pub fn target(&self) -> &Arc<str> {
        &self.target
    }

    /// The last ends, the newest last; at most [`RECORDS_MAX`].
    pub fn records(&self) -> Vec<EndRecord> {
        self.lock().records.iter().cloned().collect()
    }

    /// Copies of the records of its open connections, in no order.
    pub fn live(&self) -> Vec<LifeSnapshot> {
        self.lock().live.values().map(|life| life.snapshot()).collect()
    }

    /// A dial that failed.
    #[cold]
    pub(crate) fn dial_failed(&self, error: &Error) {
        let mut book = self.lock();
        book.failed += 1;
        book.no_port += u64::from(error.kind() == Kind::PortsExhausted);
    }

    /// A connection opens. Gives the cause that made it necessary, if the one before it could have gone on.
    pub(crate) fn opened(&self, side: Side, opener: Opener, now: Instant) -> Option<Cause> {
        let mut book = self.lock();
        book.counts.count_opened(side, opener);
        if !matches!(opener, Opener::PoolEmpty | Opener::AllBusy | Opener::Retry) {
            return None;
        }
        let (cause, ended) = book.unreplaced.pop_back()?;
        if now.saturating_duration_since(ended) > REPLACED_WITHIN {
            book.unreplaced.clear(); // the newest is too old: so are all
            return None;
        }
        book.avoidable[cause as usize] += 1;
        Some(cause)
    }

    /// It has this record.
    pub(crate) fn carries(&self, life: Arc<Life>) {
        self.lock().live.insert(life.id(), life);
    }

    /// A connection has ended.
    pub(crate) fn ended(&self, life: &Life, record: EndRecord) {
        let mut book = self.lock();
        book.live.remove(&life.id()); // frees nothing: the caller has it too
        book.counts.count_ended(life.side(), record.cause, record.closed_by);
        book.messages += record.messages;
        book.resets += u64::from(record.is_reset);
        let handshake = record.connect_time + record.tls_time;
        book.handshakes += handshake;
        if life.replaces().is_some() {
            book.wasted += handshake;
        }
        if record.cause.is_avoidable() {
            if book.unreplaced.len() == UNREPLACED_MAX {
                book.unreplaced.pop_front();
            }
            book.unreplaced.push_back((record.cause, record.ended));
        }
        if book.records.len() == RECORDS_MAX {
            book.records.pop_front();
        }
        book.records.push_back(record);
    }

    /// A copy as it stands now.
    pub fn snapshot(&self) -> AccountSnapshot {
        let book = self.lock();
        let carried: u64 = book.live.values().map(|life| life.messages()).sum();
        AccountSnapshot {
            target: self.target.clone(),
            counts: book.counts.clone(),
            requests: book.messages + carried,
            failed: book.failed,
            no_port: book.no_port,
            resets: book.resets,
            handshake_time: book.handshakes,
            wasted_time: book.wasted,
            avoidable: book.avoidable,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        // Nothing under it can panic half-way through a change.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(clippy::cast_precision_loss)]
impl AccountSnapshot {
    /// The share of requests that needed no new connection, 0 to 1; none before the first request.
    pub fn reuse_ratio(&self) -> Option<f64> {
        let new = self.counts.opened() as f64;
        (self.requests > 0).then(|| (1.0 - new / self.requests as f64).max(0.0))
    }

    /// New connections for each 1,000 requests; none before the first request.
    pub fn new_per_thousand(&self) -> Option<f64> {
        (self.requests > 0).then(|| self.counts.opened() as f64 * 1000.0 / self.requests as f64)
    }

    /// How many connections were opened within 60 s after one ended that could have gone on, by the cause of that end
    /// ([`Cause::is_avoidable`]).
    pub fn each_avoidable(&self) -> impl Iterator<Item = (Cause, u64)> {
        Cause::ALL
            .iter()
            .map(|cause| (*cause, self.avoidable[*cause as usize]))
            .filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_beyond_the_last_place_share_one_account() {
        let ledger = Ledger::default();
        let first = ledger.account("t0");
        (1..TARGETS_MAX).for_each(|number| drop(ledger.account(&format!("t{number}"))));
        let (beyond, again) = (ledger.account("beyond"), ledger.account("again"));
        assert_eq!(&**beyond.target(), OTHERS);
        assert!(Arc::ptr_eq(&beyond, &again) && Arc::ptr_eq(&first, &ledger.account("t0")));
        assert_eq!(ledger.accounts().len(), TARGETS_MAX + 1);
    }

    #[test]
    fn records_take_no_more_than_is_said() {
        assert!(size_of::<EndRecord>() * RECORDS_MAX <= 32 * 1024, "{}", size_of::<EndRecord>());
    }

    #[test]
    fn what_ended_long_ago_is_not_replaced() {
        let (account, now) = (Ledger::default().account("a"), Instant::now());
        account.lock().unreplaced.push_back((Cause::CapacityEvict, now));
        let opened = |opener, later| account.opened(Side::Client, opener, now + later);
        assert_eq!(opened(Opener::Prewarm, Duration::ZERO), None, "nobody waited for it");
        assert_eq!(opened(Opener::AllBusy, REPLACED_WITHIN), Some(Cause::CapacityEvict));
        assert_eq!(opened(Opener::AllBusy, REPLACED_WITHIN), None, "it was replaced");
        account.lock().unreplaced.push_back((Cause::CapacityEvict, now));
        assert_eq!(opened(Opener::PoolEmpty, REPLACED_WITHIN + Duration::from_millis(1)), None);
        assert_eq!(account.snapshot().each_avoidable().collect::<Vec<_>>(), [(Cause::CapacityEvict, 1)]);
    }
}
