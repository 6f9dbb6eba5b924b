//! How many sessions are needed beyond their idle timeout, and whose time is up. The rules stand in [`bucket`](super).

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed as StdRelaxed;
use std::time::Instant;

use super::Bucket;
use crate::lent::{Entry, EntryId, Evicted};
use crate::stock::Late;
use crate::sync::Ordering::Relaxed;
use crate::{EvictCause, Pooled};

/// The numbers that decide which of those past their idle timeout stay.
struct Need {
    needed: usize,
    places: usize,
    ending: usize,
}

impl Need {
    /// Is one of these among the needed? One in the last tenth of its lifetime does not count beside another, whose time
    /// would be over while the first one's successor is there already.
    fn covers(&self, is_ending: bool) -> bool {
        let besides = if is_ending { 0 } else { self.ending };
        self.needed > 0 && self.places <= self.needed + besides
    }
}

impl<S: Pooled> Bucket<S> {
    /// Sets how many sessions stay open although their idle timeout is over, for as long as their peers
    /// ([`give_back_until`](crate::Lent::give_back_until)) and their lifetimes allow. While more are open, those past
    /// their idle timeout end: first those in the last tenth of their lifetime, then the ones idle for longest. 0
    /// unless set: all end.
    pub fn set_needed(&self, count: usize) {
        self.needed.store(count, StdRelaxed);
    }

    /// How many sessions stay open although their idle timeout is over.
    pub fn needed(&self) -> usize {
        self.needed.load(StdRelaxed)
    }

    /// Takes from stock what has lain there, or lived, for long enough.
    pub fn sweep(self: &Arc<Self>, now: Instant) -> Vec<Evicted<S>> {
        let (mut expired, mut late) = (Vec::new(), Vec::new());
        let mut candidates = (self.needed() > 0).then_some(&mut late);
        for stock in &self.shards {
            stock.take_expired(now, &self.ending, candidates.as_deref_mut(), &mut expired);
        }
        let mut evicted = self.evict_expired(expired, now);
        let surplus = self.surplus(late, evicted.len());
        if !surplus.is_empty() {
            let mut expired = Vec::new();
            self.shards.iter().for_each(|stock| stock.take_these(&surplus, &mut expired));
            evicted.extend(self.evict_expired(expired, now));
        }
        evicted
    }

    /// Why a session may not be in stock any longer, if so.
    #[inline]
    pub(super) fn time_is_up(&self, entry: &Entry<S>, now: Instant) -> Option<EvictCause> {
        if entry.expires <= now {
            Some(EvictCause::Lifetime)
        } else if entry.until <= now && !self.is_kept(entry, now) {
            Some(EvictCause::IdleTimeout)
        } else {
            None
        }
    }

    /// Stays one that is past its idle timeout?
    #[cold]
    fn is_kept(&self, entry: &Entry<S>, now: Instant) -> bool {
        now < entry.latest() && self.need(0).covers(entry.mark.is_some())
    }

    /// The numbers now, with `gone` places less than are still held.
    fn need(&self, gone: usize) -> Need {
        let places = self.places.load(Relaxed).saturating_sub(gone);
        Need { needed: self.needed(), places, ending: self.ending.count() }
    }

    /// Which of the `late` ones are more than needed.
    fn surplus(&self, mut late: Vec<Late>, gone: usize) -> Vec<EntryId> {
        let mut need = self.need(gone);
        late.sort_unstable();
        late.retain(|one| {
            let is_surplus = !need.covers(one.is_ending());
            if is_surplus {
                need.places = need.places.saturating_sub(1);
                need.ending = need.ending.saturating_sub(usize::from(one.is_ending()));
            }
            is_surplus
        });
        let mut ids: Vec<_> = late.into_iter().map(|one| one.id).collect();
        ids.sort_unstable();
        ids
    }

    fn evict_expired(self: &Arc<Self>, expired: Vec<Box<Entry<S>>>, now: Instant) -> Vec<Evicted<S>> {
        self.left_stock(expired.len());
        let evict = |entry: Box<Entry<S>>| {
            let is_old = entry.expires <= now;
            self.evict(entry, if is_old { EvictCause::Lifetime } else { EvictCause::IdleTimeout })
        };
        expired.into_iter().map(evict).collect()
    }
}
