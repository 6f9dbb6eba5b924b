//! The record of one connection: opened why, what passed, ended why and by whom.
//!
//! Rules:
//! 1. Bytes are written only by the [`Conn`](crate::Conn) that holds the record, through `&mut self`; messages and state
//!    only by the session that owns it. So a plain load and store loses nothing. Readers may be one step behind.
//! 2. `verdict` and `first` go from unset to set once: the first to set them wins.
//! 3. The record leaves its table once, when the `Conn` is dropped ([`LifeRef`]); only then is it counted as ended.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use millstream_base::ConnId;
use millstream_ports::{Budget, Left};
use millstream_runtime::{micros_of, moment_of};

use crate::ledger::{Account, EndRecord};
use crate::table::LifeTable;
use crate::{Addr, Cause, ClosedBy, ConnState, Opener, Side, owners};

/// The record of one connection, shared between the connection and whoever looks at it.
#[derive(Debug)]
pub struct Life {
    id: ConnId,
    opened: Instant,
    local: Addr,
    peer: Addr,
    table: LifeTable,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    messages: AtomicU64,
    /// As [`micros_of`] has it; 0 while it is opening.
    changed_us: AtomicU64,
    ended_us: AtomicU64,
    connect_us: AtomicU32,
    tls_us: AtomicU32,
    shard: u16,
    index: u32,
    account: Option<Arc<Account>>,
    /// Where its port is counted.
    budget: Option<Arc<Budget>>,
    /// The end that made it necessary, as `Cause` + 1; 0 if there was none.
    replaces: u8,
    side: Side,
    opener: Opener,
    /// Does it end with a reset of ours that loses nothing?
    is_reset: AtomicBool,
    state: AtomicU8,
    /// What it was doing when its end was decided.
    was: AtomicU8,
    /// `ClosedBy` + 1; 0 while both directions are open.
    first: AtomicU8,
    /// `Cause` + 1; 0 while nobody said why.
    verdict: AtomicU8,
    /// As [`owners`] numbers it; 0 if nobody said.
    owner: AtomicU16,
}

/// What is known when a connection opens.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Which end we are.
    pub side: Side,
    /// Why it was opened.
    pub opener: Opener,
    /// Our address. A server says its listener's, which may be a wildcard: asking the kernel costs a syscall.
    pub local: Addr,
    /// The peer's address.
    pub peer: Addr,
    /// The account of its target, if it is kept.
    pub account: Option<Arc<Account>>,
    /// The budget that counts its local port as open.
    pub budget: Option<Arc<Budget>>,
}

/// Where a record stands in its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seat {
    pub(crate) shard: u16,
    pub(crate) index: u32,
}

impl Life {
    pub(crate) fn new(
        id: ConnId,
        opening: Opening,
        replaces: Option<Cause>,
        table: LifeTable,
        seat: Seat,
    ) -> Self {
        Self {
            id,
            opened: Instant::now(),
            local: opening.local,
            peer: opening.peer,
            table,
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            changed_us: AtomicU64::new(0),
            ended_us: AtomicU64::new(0),
            connect_us: AtomicU32::new(0),
            tls_us: AtomicU32::new(0),
            shard: seat.shard,
            index: seat.index,
            account: opening.account,
            budget: opening.budget,
            replaces: replaces.map_or(0, |cause| cause as u8 + 1),
            side: opening.side,
            opener: opening.opener,
            is_reset: AtomicBool::new(false),
            state: AtomicU8::new(ConnState::Opening as u8),
            was: AtomicU8::new(ConnState::Opening as u8),
            first: AtomicU8::new(0),
            verdict: AtomicU8::new(0),
            owner: AtomicU16::new(0),
        }
    }

    /// Names the connection within its engine.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// Which end we are.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Why it was opened.
    pub fn opener(&self) -> Opener {
        self.opener
    }

    /// When it was opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Our address; of a server's connection the listener's, which may be a wildcard.
    pub fn local(&self) -> &Addr {
        &self.local
    }

    /// The peer's address.
    pub fn peer(&self) -> &Addr {
        &self.peer
    }

    /// What connecting and TLS took; zero on servers.
    pub fn handshake_time(&self) -> Duration {
        let micros = |cell: &AtomicU32| Duration::from_micros(cell.load(Relaxed).into());
        micros(&self.connect_us) + micros(&self.tls_us)
    }

    /// How many messages were counted.
    pub fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// Counts one message (a request with its reply) and gives its number, from 1 on. Owner only: rule 1.
    #[inline]
    pub fn count_message(&self) -> u64 {
        let number = self.messages.load(Relaxed) + 1;
        self.messages.store(number, Relaxed);
        number
    }

    /// What it is doing.
    pub fn state(&self) -> ConnState {
        ConnState::from_number(self.state.load(Relaxed)).expect("only numbers of ConnState are stored")
    }

    /// Says what it is doing from `now` on. Owner only: rule 1.
    #[inline]
    pub fn set_state(&self, state: ConnState, now: Instant) {
        self.state.store(state as u8, Relaxed);
        self.changed_us.store(micros_of(now).max(1), Relaxed);
    }

    /// Where in the program it was lent to something that is kept, as a reply's body that is read later: whoever leaks that is
    /// found so (connections.md F14).
    pub fn set_owner(&self, owner: &'static Location<'static>) {
        self.owner.store(owners::number_of(owner), Relaxed);
    }

    /// What [`set_owner`](Self::set_owner) was told last; it holds while a message is under way.
    pub fn owner(&self) -> Option<&'static Location<'static>> {
        owners::place_of(self.owner.load(Relaxed))
    }

    /// When the state changed last.
    pub fn changed(&self) -> Instant {
        match self.changed_us.load(Relaxed) {
            0 => self.opened,
            micros => moment_of(micros).max(self.opened),
        }
    }

    /// Says why it ends. The first call wins; gives whether this was it.
    pub fn end(&self, cause: Cause) -> bool {
        let before = self.state.swap(ConnState::Closing as u8, Relaxed);
        if before != ConnState::Closing as u8 {
            self.was.store(before, Relaxed);
        }
        self.verdict.compare_exchange(0, cause as u8 + 1, Relaxed, Relaxed).is_ok()
    }

    /// Why it ends, once that is known.
    pub fn cause(&self) -> Option<Cause> {
        Cause::from_number(self.verdict.load(Relaxed).wrapping_sub(1))
    }

    /// Who closed first, once a FIN or reset was sent or seen.
    pub fn closed_by(&self) -> Option<ClosedBy> {
        ClosedBy::from_number(self.first.load(Relaxed).wrapping_sub(1))
    }

    /// A FIN or reset was sent or seen. The first call wins.
    pub(crate) fn closed_first(&self, by: ClosedBy) {
        if self.first.load(Relaxed) == 0 {
            let _ = self.first.compare_exchange(0, by as u8 + 1, Relaxed, Relaxed);
        }
    }

    pub(crate) fn set_reset(&self) {
        self.is_reset.store(true, Relaxed);
    }

    #[inline]
    pub(crate) fn count_in(&self, bytes: usize) {
        self.bytes_in.store(self.bytes_in.load(Relaxed) + bytes as u64, Relaxed);
    }

    #[inline]
    pub(crate) fn count_out(&self, bytes: usize) {
        self.bytes_out.store(self.bytes_out.load(Relaxed) + bytes as u64, Relaxed);
    }

    pub(crate) fn set_connect_time(&self, span: Duration) {
        self.connect_us.store(u32::try_from(span.as_micros()).unwrap_or(u32::MAX), Relaxed);
    }

    pub(crate) fn set_tls_time(&self, span: Duration) {
        self.tls_us.store(u32::try_from(span.as_micros()).unwrap_or(u32::MAX), Relaxed);
    }

    pub(crate) fn seat(&self) -> Seat {
        Seat { shard: self.shard, index: self.index }
    }

    /// The table it is in.
    pub fn table(&self) -> &LifeTable {
        &self.table
    }

    /// The end of a connection that could have gone on, and in whose place this one was opened.
    pub fn replaces(&self) -> Option<Cause> {
        Cause::from_number(self.replaces.wrapping_sub(1))
    }

    /// Rule 3: the connection is gone.
    fn finish(&self) {
        self.end(Cause::Dropped);
        self.closed_first(ClosedBy::Us);
        let now = Instant::now();
        self.ended_us.store(self.micros(now).max(1), Relaxed);
        if let (Some(budget), Some(local)) = (&self.budget, self.local.as_tcp()) {
            let is_waiting = self.closed_by() == Some(ClosedBy::Us) && !self.is_reset.load(Relaxed);
            budget.closed(local.port(), if is_waiting { Left::Waiting } else { Left::Free }, now);
        }
        if let Some(account) = &self.account {
            account.ended(self, self.end_record(now));
        }
        self.table.remove(self);
    }

    fn end_record(&self, now: Instant) -> EndRecord {
        EndRecord {
            id: self.id,
            opener: self.opener,
            cause: self.cause().unwrap_or(Cause::Dropped),
            closed_by: self.closed_by().unwrap_or(ClosedBy::Us),
            was: ConnState::from_number(self.was.load(Relaxed)).unwrap_or(ConnState::Closing),
            is_reset: self.is_reset.load(Relaxed),
            ended: now,
            age: now.saturating_duration_since(self.opened),
            rested: now.saturating_duration_since(self.changed()),
            connect_time: Duration::from_micros(self.connect_us.load(Relaxed).into()),
            tls_time: Duration::from_micros(self.tls_us.load(Relaxed).into()),
            messages: self.messages(),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.opened).as_micros()).unwrap_or(u64::MAX)
    }

    /// A copy as it stands now.
    pub fn snapshot(&self) -> LifeSnapshot {
        let at_us = |cell: &AtomicU64| self.opened + Duration::from_micros(cell.load(Relaxed));
        let ended = (self.ended_us.load(Relaxed) != 0).then(|| at_us(&self.ended_us));
        LifeSnapshot {
            id: self.id,
            side: self.side,
            opener: self.opener,
            opened: self.opened,
            local: self.local.clone(),
            peer: self.peer.clone(),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            messages: self.messages(),
            state: self.state(),
            changed: self.changed(),
            connect_time: Duration::from_micros(self.connect_us.load(Relaxed).into()),
            tls_time: Duration::from_micros(self.tls_us.load(Relaxed).into()),
            cause: self.cause(),
            closed_by: self.closed_by(),
            ended,
            owner: self.owner(),
        }
    }
}

/// A copy of a [`Life`] at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LifeSnapshot {
    /// Names the connection within its engine.
    pub id: ConnId,
    /// Which end we are.
    pub side: Side,
    /// Why it was opened.
    pub opener: Opener,
    /// When it was opened.
    pub opened: Instant,
    /// Our address; of a server's connection the listener's.
    pub local: Addr,
    /// The peer's address.
    pub peer: Addr,
    /// Bytes received, after TLS.
    pub bytes_in: u64,
    /// Bytes sent, before TLS.
    pub bytes_out: u64,
    /// Messages counted.
    pub messages: u64,
    /// What it is doing.
    pub state: ConnState,
    /// Since when.
    pub changed: Instant,
    /// What connecting took; zero on servers.
    pub connect_time: Duration,
    /// What the TLS handshake took; zero without TLS.
    pub tls_time: Duration,
    /// Why it ends, once that is known.
    pub cause: Option<Cause>,
    /// Who closed first, once somebody did.
    pub closed_by: Option<ClosedBy>,
    /// When it was gone.
    pub ended: Option<Instant>,
    /// Where it was lent to something that is kept, last.
    pub owner: Option<&'static Location<'static>>,
}

/// The one reference whose drop ends the record: rule 3.
#[derive(Debug)]
pub(crate) struct LifeRef(Arc<Life>);

impl LifeRef {
    pub(crate) fn new(life: Arc<Life>) -> Self {
        Self(life)
    }

    pub(crate) fn shared(&self) -> &Arc<Life> {
        &self.0
    }
}

impl std::ops::Deref for LifeRef {
    type Target = Life;
    #[inline]
    fn deref(&self) -> &Life {
        &self.0
    }
}

impl Drop for LifeRef {
    fn drop(&mut self) {
        self.0.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_fits_in_three_cache_lines_with_its_counts() {
        let counts = 2 * size_of::<usize>();
        assert!(size_of::<Life>() + counts <= 192, "{}", size_of::<Life>());
    }
}
