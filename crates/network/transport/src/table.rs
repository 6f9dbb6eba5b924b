//! The live connections of an engine, and the count of those that ended.
//!
//! Rules:
//! 1. There is one shard for each worker and shard 0 for every other thread, so that accepting workers do not contend.
//! 2. A shard's lock covers its seats and its counts together: in a shard `opened = open + ended` at every moment.
//! 3. Nothing runs under a shard's lock but this file; looking at all connections takes it for [`BATCH`] seats at a time.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use millstream_base::{ConnId, EngineId, Slot};
use millstream_ports::Ports;

use crate::ledger::{Account, AccountSnapshot, Ledger};
use crate::life::{Life, LifeRef, LifeSnapshot, Opening, Seat};
use crate::{Cause, ClosedBy, Opener, Side};

/// The live connections of an engine, and the count of those that ended. Clones share it.
#[derive(Clone)]
pub struct LifeTable(Arc<Inner>);

struct Inner {
    engine: EngineId,
    shards: Box<[Shard]>,
    ledger: Ledger,
    ports: Ports,
}

/// On cache lines of its own (128 bytes: x86 fetches lines in pairs).
#[repr(align(128))]
#[derive(Default)]
struct Shard(Mutex<Seats>);

#[derive(Default)]
struct Seats {
    seats: Vec<Option<Arc<Life>>>,
    free: Vec<u32>,
    counts: Counts,
}

impl LifeTable {
    /// An empty table for an engine with this many workers.
    pub fn new(engine: EngineId, workers: usize) -> Self {
        let shards = (0..=workers.min(usize::from(u16::MAX) - 1)).map(|_| Shard::default()).collect();
        Self(Arc::new(Inner { engine, shards, ledger: Ledger::default(), ports: Ports::default() }))
    }

    /// Takes a new connection in. Costs one uncontended lock and one allocation; where an account is kept, two locks of it.
    pub(crate) fn open(&self, opening: Opening) -> LifeRef {
        let shards = &self.0.shards;
        let number = match Slot::index_in(self.0.engine) {
            Some(worker) if worker + 1 < shards.len() => worker + 1,
            _ => 0,
        };
        let shard = u16::try_from(number).expect("new() makes fewer than 2^16 shards");
        let account = opening.account.clone();
        let opened = |account: &Arc<Account>| account.opened(opening.side, opening.opener, Instant::now());
        let replaces = account.as_ref().and_then(opened);
        let mut seats = shards[number].lock();
        let sequence = seats.counts.opened();
        let id = ConnId(sequence * shards.len() as u64 + number as u64 + 1);
        seats.counts.count_opened(opening.side, opening.opener);
        let index = seats.take_seat();
        let life = Arc::new(Life::new(id, opening, replaces, self.clone(), Seat { shard, index }));
        seats.seats[index as usize] = Some(life.clone());
        drop(seats); // an account has a lock of its own
        if let Some(account) = account {
            account.carries(life.clone());
        }
        LifeRef::new(life)
    }

    /// The connection is gone: frees its seat and counts its end.
    pub(crate) fn remove(&self, life: &Life) {
        let seat = life.seat();
        let cause = life.cause().unwrap_or(Cause::Dropped);
        let by = life.closed_by().unwrap_or(ClosedBy::Us);
        let mut seats = self.0.shards[usize::from(seat.shard)].lock();
        let gone = seats.seats[seat.index as usize].take();
        debug_assert!(gone.as_ref().is_some_and(|gone| gone.id() == life.id()), "a seat has one owner");
        seats.free.push(seat.index);
        seats.counts.count_ended(life.side(), cause, by);
        drop(seats); // before `gone`: dropping the last reference frees memory
    }

    /// The account of a target: connections that are opened with it ([`Opening::account`]) are booked there. The first
    /// [`TARGETS_MAX`](crate::TARGETS_MAX) targets have one each, all others one together.
    pub fn account(&self, target: &str) -> Arc<Account> {
        self.0.ledger.account(target)
    }

    /// The account that connections to this target were booked in, if there is one.
    pub fn find_account(&self, target: &str) -> Option<Arc<Account>> {
        self.0.ledger.find(target)
    }

    /// All accounts, by name.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        self.0.ledger.accounts()
    }

    /// Copies of all accounts, by name. Each balances.
    pub fn ledger(&self) -> Vec<AccountSnapshot> {
        self.accounts().iter().map(|account| account.snapshot()).collect()
    }

    /// The budgets of the ports that its connections were dialled from.
    pub fn ports(&self) -> &Ports {
        &self.0.ports
    }

    /// How many are open.
    pub fn open_count(&self) -> u64 {
        self.counts().open()
    }

    /// What was counted so far, over all shards. Each shard balances; between shards connections may come and go.
    pub fn counts(&self) -> Counts {
        self.0.shards.iter().fold(Counts::default(), |sum, shard| sum.plus(&shard.lock().counts))
    }

    /// Copies of all live records. Connections that come and go meanwhile may be in it or not.
    pub fn snapshot(&self) -> Vec<LifeSnapshot> {
        self.select(usize::MAX, |_| true)
    }

    /// Copies of the live records that `wants` accepts, at most `limit` of them, in no order. No lock is held while it
    /// runs.
    pub fn select(&self, limit: usize, wants: impl Fn(&Life) -> bool) -> Vec<LifeSnapshot> {
        let mut chosen = Vec::new();
        for shard in &self.0.shards {
            let mut from = 0;
            while chosen.len() < limit {
                let Some(lives) = shard.lock().batch(from) else { break };
                from += BATCH;
                let wanted = lives.iter().filter(|life| wants(life)).take(limit - chosen.len());
                chosen.extend(wanted.map(|life| life.snapshot()));
            }
        }
        chosen
    }
}

impl Default for LifeTable {
    /// A table of its own, with one shard.
    fn default() -> Self {
        Self::new(EngineId::next(), 0)
    }
}

impl fmt::Debug for LifeTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LifeTable({} shards)", self.0.shards.len())
    }
}

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Seats> {
        // Rule 3: nothing under the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn take_seat(&mut self) -> u32 {
        if let Some(index) = self.free.pop() {
            return index;
        }
        let index = u32::try_from(self.seats.len()).expect("a process has fewer than 2^32 descriptors");
        self.seats.push(None);
        index
    }

    fn batch(&self, from: usize) -> Option<Vec<Arc<Life>>> {
        let rest = self.seats.get(from..).filter(|rest| !rest.is_empty())?;
        Some(rest.iter().take(BATCH).flatten().cloned().collect())
    }
}

/// How many connections were opened and ended, and why.
#[derive(Clone, Debug)]
pub struct Counts {
    opened: [[u64; Opener::ALL.len()]; Side::ALL.len()],
    ended: [[[u64; ClosedBy::ALL.len()]; Cause::ALL.len()]; Side::ALL.len()],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            opened: [[0; Opener::ALL.len()]; Side::ALL.len()],
            ended: [[[0; ClosedBy::ALL.len()]; Cause::ALL.len()]; Side::ALL.len()],
        }
    }
}

impl Counts {
    pub(crate) fn count_opened(&mut self, side: Side, opener: Opener) {
        self.opened[side as usize][opener as usize] += 1;
    }

    pub(crate) fn count_ended(&mut self, side: Side, cause: Cause, by: ClosedBy) {
        self.ended[side as usize][cause as usize][by as usize] += 1;
    }

    /// How many were opened.
    pub fn opened(&self) -> u64 {
        self.opened.as_flattened().iter().sum()
    }

    /// How many were opened by this side for this reason.
    pub fn opened_for(&self, side: Side, opener: Opener) -> u64 {
        self.opened[side as usize][opener as usize]
    }

    /// How many ended.
    pub fn ended(&self) -> u64 {
        self.ended.as_flattened().as_flattened().iter().sum()
    }

    /// How many of this side's ended for this cause, closed first by this party.
    pub fn ended_for(&self, side: Side, cause: Cause, by: ClosedBy) -> u64 {
        self.ended[side as usize][cause as usize][by as usize]
    }

    /// How many ended for this cause, on either side, whoever closed.
    pub fn ended_by_cause(&self, cause: Cause) -> u64 {
        self.ended.iter().map(|causes| causes[cause as usize].iter().sum::<u64>()).sum()
    }

    /// How many are open.
    pub fn open(&self) -> u64 {
        self.opened() - self.ended()
    }

    /// How many of this side were opened, and how many of them ended.
    pub fn of_side(&self, side: Side) -> (u64, u64) {
        let (opened, ended) = (self.opened[side as usize], self.ended[side as usize]);
        (opened.iter().sum(), ended.as_flattened().iter().sum())
    }

    /// Every reason to open that occurred, and how often.
    pub fn each_opened(&self) -> impl Iterator<Item = (Side, Opener, u64)> {
        let all = Side::ALL.iter().flat_map(|side| Opener::ALL.iter().map(|opener| (*side, *opener)));
        let counted = all.map(|(side, opener)| (side, opener, self.opened_for(side, opener)));
        counted.filter(|(.., count)| *count > 0)
    }

    /// Every way to end that occurred, and how often.
    pub fn each_ended(&self) -> impl Iterator<Item = (Side, Cause, ClosedBy, u64)> {
        let causes = Side::ALL.iter().flat_map(|side| Cause::ALL.iter().map(|cause| (*side, *cause)));
        let all = causes.flat_map(|(side, cause)| ClosedBy::ALL.iter().map(move |by| (side, cause, *by)));
        let counted = all.map(|(side, cause, by)| (side, cause, by, self.ended_for(side, cause, by)));
        counted.filter(|(.., count)| *count > 0)
    }

    fn plus(mut self, other: &Self) -> Self {
        let add = |into: &mut [u64], from: &[u64]| into.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        add(self.opened.as_flattened_mut(), other.opened.as_flattened());
        let (into, from) = (self.ended.as_flattened_mut(), other.ended.as_flattened());
        add(into.as_flattened_mut(), from.as_flattened());
        self
    }
}

/// Seats looked at under one lock: a few microseconds.
const BATCH: usize = 1024;
