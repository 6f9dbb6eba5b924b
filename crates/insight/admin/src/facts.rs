//! What the ledger of an engine tells the doctor: the difference between two looks at it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_base::ConnId;
use millstream_doctor::{EngineFacts, Held, TargetFacts, closed_by_peers};
use millstream_http::server::transport::{
    AccountSnapshot, Cause, ClosedBy, ConnState, EndRecord, LifeSnapshot, LifeTable, Side,
};

/// The ledger at one moment, by target.
pub(crate) struct Look {
    at: Instant,
    accounts: BTreeMap<Arc<str>, AccountSnapshot>,
    /// What the connections in use had received.
    in_use: HashMap<ConnId, u64>,
}

impl Look {
    pub(crate) fn at(lives: &LifeTable) -> Self {
        let accounts = lives.ledger().into_iter().map(|account| (account.target.clone(), account));
        let in_use = in_use(lives).into_iter().map(|life| (life.id, life.bytes_in));
        Self { at: Instant::now(), accounts: accounts.collect(), in_use: in_use.collect() }
    }

    /// What happened from then on. What only single records tell (connect times, requests at the peer's close) is that of the
    /// last 256 ends of each target.
    pub(crate) fn facts_since(&self, lives: &LifeTable) -> EngineFacts {
        let now = Instant::now();
        let mut facts = EngineFacts::default();
        let budgets = lives.ports().snapshots(now);
        for account in lives.accounts() {
            let before = self.accounts.get(account.target());
            let ended: Vec<_> =
                account.records().into_iter().filter(|record| record.ended >= self.at).collect();
            let mut target = target(&account.snapshot(), before, &ended, &account.live(), (self.at, now));
            let ports = budgets.iter().find(|budget| budget.destination.to_string() == target.remote);
            target.connect_call_us = ports.map(|ports| micros(ports.search_time));
            target.connect_call_baseline_us = ports.map(|ports| micros(ports.best_search_time).max(1));
            facts.targets.push(target);
        }
        facts.held = self.held(lives, now);
        facts
    }

    /// Connections that were in use all the time, gave nothing, and whose peers have closed. Nothing where the kernel does not
    /// say: the doctor says then that it can't look.
    fn held(&self, lives: &LifeTable, now: Instant) -> Vec<Held> {
        let rests =
            |life: &LifeSnapshot| life.changed < self.at && self.in_use.get(&life.id) == Some(&life.bytes_in);
        let resting: Vec<_> = in_use(lives).into_iter().filter(rests).collect();
        if resting.is_empty() {
            return Vec::new();
        }
        let closed = closed_by_peers().unwrap_or_default();
        let held = |life: &LifeSnapshot| {
            let (Some(local), Some(remote)) = (life.local.as_tcp(), life.peer.as_tcp()) else { return None };
            closed.contains(&(local, remote)).then(|| {
                let mut held = Held::default();
                (held.local, held.remote) = (local.to_string(), remote.to_string());
                held.held_ms = millis(now.saturating_duration_since(life.changed));
                held.owner = life.owner.map(ToString::to_string).unwrap_or_default();
                held
            })
        };
        resting.iter().filter_map(held).collect()
    }
}

/// Our connections to others that carry a call.
fn in_use(lives: &LifeTable) -> Vec<LifeSnapshot> {
    lives.select(usize::MAX, |life| life.side() == Side::Client && life.state() == ConnState::Busy)
}

fn target(
    account: &AccountSnapshot,
    before: Option<&AccountSnapshot>,
    ended: &[EndRecord],
    open: &[LifeSnapshot],
    (from, to): (Instant, Instant),
) -> TargetFacts {
    let since = |count: fn(&AccountSnapshot) -> u64| count(account) - before.map_or(0, count);
    let mut facts = TargetFacts::default();
    facts.target = account.target.to_string();
    // The address that connections led to; one that has none open is known if its name is an address.
    let named = || account.target.parse::<SocketAddr>().ok().map(|address| address.to_string());
    facts.remote = open.first().map(|life| life.peer.to_string()).or_else(named).unwrap_or_default();
    facts.calls = since(|one| one.requests);
    facts.opened = since(|one| one.counts.opened());
    facts.no_port = since(|one| one.no_port);
    facts.fresh = facts.opened.min(facts.calls);
    facts.reused = facts.calls - facts.fresh;
    facts.pool_keys = 1;
    for (_, cause, by, count) in account.counts.each_ended() {
        let earlier = before.map_or(0, |before| before.counts.ended_for(Side::Client, cause, by));
        if count > earlier {
            *facts.closes.entry(cause.name().to_owned()).or_default() += count - earlier;
        }
    }
    let failed = |record: &&EndRecord| {
        let is_broken =
            matches!(record.cause, Cause::StaleOnCheckout | Cause::ResetInRequest | Cause::ClosedInRequest);
        is_broken && record.was == ConnState::Busy
    };
    let (again, first): (Vec<_>, Vec<_>) = ended.iter().filter(failed).partition(|one| one.messages > 1);
    (facts.reused_failed, facts.fresh_failed) = (again.len() as u64, first.len() as u64);
    for record in
        ended.iter().filter(|one| one.closed_by == ClosedBy::Peer && one.cause == Cause::PeerCloseHeader)
    {
        *facts.calls_at_peer_close.entry(record.messages).or_default() += 1;
    }
    let opened: Vec<_> = ended
        .iter()
        .filter_map(|record| Some((record.ended.checked_sub(record.age)?, record.connect_time)))
        .chain(open.iter().map(|life| (life.opened, life.connect_time)))
        .filter(|(moment, _)| *moment >= from)
        .collect();
    facts.connect_ms = opened.iter().map(|(_, took)| millis(*took)).collect();
    facts.opens = per_second(opened.iter().map(|(moment, _)| *moment), from, to);
    facts.evicted_then_missed = missed(ended, opened.iter().map(|(moment, _)| *moment));
    facts
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn per_second(opened: impl Iterator<Item = Instant>, from: Instant, to: Instant) -> Vec<u32> {
    let seconds = to.saturating_duration_since(from).as_secs() as usize + 1;
    let mut counts = vec![0; seconds];
    for moment in opened {
        let second = moment.saturating_duration_since(from).as_secs() as usize;
        counts[second.min(seconds - 1)] += 1;
    }
    counts
}

/// Connections closed for want of room, for each of which a new one was opened within a second.
fn missed(ended: &[EndRecord], opened: impl Iterator<Item = Instant>) -> u64 {
    let mut opened: BTreeMap<Instant, u32> = opened.fold(BTreeMap::new(), |mut all, moment| {
        *all.entry(moment).or_default() += 1;
        all
    });
    let evicted = ended.iter().filter(|record| record.cause == Cause::CapacityEvict);
    let is_missed = |record: &&EndRecord| {
        let soon = record.ended..=record.ended + Duration::from_secs(1);
        let found = opened.range_mut(soon).find(|(_, left)| **left > 0);
        found.map(|(_, left)| *left -= 1).is_some()
    };
    evicted.filter(is_missed).count() as u64
}
