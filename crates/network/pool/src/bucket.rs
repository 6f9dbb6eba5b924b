//! All sessions of one key: the places below the limit, the stock in shards, the callers that wait.
//!
//! Rules:
//! 1. A *place* is the right to have one session. `places` counts them; it is raised only by `reserve`, which never
//!    passes `max_open`, and each place is owned by exactly one [`Permit`], [`Entry`], or [`Offer::Place`]. So
//!    sessions never outnumber `max_open` (after that was lowered: what was open then, and only shrinking).
//! 2. `queue` is touched under its lock only. `waiting` is stored under that lock and read by anybody.
//! 3. Nothing of the user's runs under a lock: no `is_usable`, no waking, no cloning or dropping of a waker or a
//!    session. Never are two locks held at once, so there is no order among them.
//! 4. No waiter is left while there is something for it. Who brings something (a push into a stock, a place given up,
//!    a higher limit) stores it, runs a `SeqCst` fence, then reads `waiting`. Who joins stores `waiting`, runs a
//!    `SeqCst` fence, then reads `len` of each stock, `places` and `max_open`. The fences are partners: one of the two
//!    sees the other, and calls `serve`. What is in nobody's stock is in somebody's hands, who will come through here.
//! 5. Waiters before stock: with `waiting` above 0 a caller joins the queue, and what comes back goes to the oldest,
//!    or in overload to the newest.
//!    A caller that read 0 while the first waiter joins may still take from the stock: a tie, decided either way.
//! 6. Stock before places: who has reserved a place looks through all shards once more and gives the place up if it
//!    finds something. A session on its way between two hands is in neither.
//! 7. A session whose watch fires between its holder's last look and the push stays in stock until the next checkout
//!    looks at it: harmless, since nobody gets it.
//! 8. Several who give back at once after the limit was lowered may all see one session too many and close theirs:
//!    one more than needed ends, never one less.
//! 9. `needed` may change, and places come and go, between a look at them and what follows: several who end what is
//!    past its idle timeout at once may each find one too many, and a session more ends than had to.
//! 10. All other loads and stores are `Relaxed`: sessions travel under the locks, and the numbers alone decide nothing
//!     but what rule 4 makes safe.

mod needed;
mod waiters;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed as StdRelaxed;
use std::task::Waker;
use std::time::{Duration, Instant};

use millstream_base::Deadline;

use crate::ending::{ENDING_PART, Ending};
use crate::lent::{Entry, EntryId, Evicted, Lent, Permit};
use crate::queue::{Offer, Queue};
use crate::shared::Shared;
use crate::stats::Counts;
use crate::stock::Stock;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Mutex, Ordering::Relaxed, lock};
use crate::{Checkout, EvictCause, Grant, Pooled, Stats};

/// All sessions of one key. Keep the [`Arc`] for as long as calls are made: a bucket that nobody keeps and that has no
/// sessions is forgotten.
pub struct Bucket<S> {
    // Read by each checkout, written only off the fast path.
    waiting: AtomicUsize,
    places: AtomicUsize,
    max_open: AtomicUsize,
    generation: AtomicU64,
    closed: AtomicBool,
    shards: Box<[Stock<S>]>,
    shared: Arc<Shared>,
    // Written by callers that wait.
    queue: Line<Mutex<Queue<S>>>,
    /// Sessions in stock; kept only where `max_idle` is set, so that others do not meet at this cell.
    idle: AtomicUsize,
    ending: Ending,
    /// A std atomic also under loom: it decides nothing there.
    needed: std::sync::atomic::AtomicUsize,
    /// Written when sessions are opened, and read now and then.
    peak: std::sync::atomic::AtomicUsize,
    counts: Counts,
}

/// On cache lines of its own.
#[repr(align(128))]
struct Line<T>(T);

impl<S: Pooled> Bucket<S> {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let target = shared.options.newest_first_after;
        Self {
            waiting: AtomicUsize::new(0),
            places: AtomicUsize::new(0),
            max_open: AtomicUsize::new(shared.options.max_open),
            generation: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            shards: (0..shared.options.shards).map(|_| Stock::new()).collect(),
            shared,
            queue: Line(Mutex::new(Queue::new(target))),
            idle: AtomicUsize::new(0),
            ending: Ending::default(),
            needed: std::sync::atomic::AtomicUsize::new(0),
            peak: std::sync::atomic::AtomicUsize::new(0),
            counts: Counts::new(),
        }
    }

    /// A session from stock, first from that of `shard`; `None` when there is none or when others wait for one.
    pub fn try_checkout(self: &Arc<Self>, shard: usize, now: Instant) -> Option<Lent<S>> {
        if self.waiting.load(Relaxed) > 0 {
            return None; // Rule 5.
        }
        self.take_usable(shard, Some(now)).map(|entry| self.lend(entry, shard))
    }

    /// A place to open one more session in than there are, if the limit allows and nobody waits: for opening ahead of need.
    pub fn try_reserve(self: &Arc<Self>) -> Option<Permit<S>> {
        let is_free = self.waiting.load(Relaxed) == 0 && self.reserve();
        is_free.then(|| Permit::new(Arc::clone(self)))
    }

    /// A session, or a place to open one in, as soon as there is one and all who came earlier are served. In overload
    /// ([`newest_first_after`](crate::PoolOptions::newest_first_after)) whoever came last is served first.
    ///
    /// The future needs no runtime and has no deadline of its own. Dropping it leaves the queue; what it had been
    /// granted goes to the next.
    ///
    /// # Errors
    ///
    /// [`Kind::Limit`](millstream_base::Kind::Limit) when too many wait;
    /// [`Kind::Cancelled`](millstream_base::Kind::Cancelled) when the pool is closed, also while waiting.
    pub fn checkout(self: &Arc<Self>, shard: usize, now: Instant) -> Checkout<S> {
        Checkout::new(Arc::clone(self), shard, now)
    }

    /// Takes exactly this session if it is in stock: its watch has seen that it is of no use any more.
    pub fn take_idle(self: &Arc<Self>, id: EntryId) -> Option<Evicted<S>> {
        let entry = self.shards.iter().find_map(|stock| stock.remove(id))?;
        self.left_stock(1);
        Some(self.evict(entry, EvictCause::PeerClosed))
    }

    /// Lends exactly this session if it is in stock: its watch wants a closer look. Who joins the queue
    /// meanwhile gets it when it is given back.
    pub fn lend_idle(self: &Arc<Self>, id: EntryId) -> Option<Lent<S>> {
        let entry = self.shards.iter().find_map(|stock| stock.remove(id))?;
        self.left_stock(1);
        Some(Lent::new(entry, Arc::clone(self)))
    }

    /// Takes all from stock; what is lent is closed when it is given back. New ones may be opened: for changed
    /// credentials, or a target that has moved.
    pub fn close_all(self: &Arc<Self>) -> Vec<Evicted<S>> {
        self.generation.fetch_add(1, Relaxed);
        self.take_all(EvictCause::Drain)
    }

    /// Sets how many sessions may be open. If more are, idle ones are closed now and lent ones as they come back.
    pub fn set_max_open(self: &Arc<Self>, max_open: usize) {
        {
            let queue = lock(&self.queue.0);
            if queue.is_closed() {
                return;
            }
            self.max_open.store(max_open, Relaxed);
        }
        while self.places.load(Relaxed) > max_open {
            let Some(entry) = self.shards.iter().find_map(Stock::pop_oldest) else { break };
            self.left_stock(1);
            self.end(entry, EvictCause::Capacity);
        }
        self.serve_if_waiting(0, None);
    }

    /// How many sessions may be open.
    pub fn max_open(&self) -> usize {
        self.max_open.load(Relaxed)
    }

    /// Sessions and places to open one in that are taken now.
    pub fn places(&self) -> usize {
        self.places.load(Relaxed)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Sessions in the last tenth of their lifetime, as far as they were given back or swept since. Whoever does not
    /// want to be without them opens others in time.
    pub fn ending(&self) -> usize {
        self.ending.count()
    }

    /// The most sessions that were lent at once since this was called last. A little more where several shards were
    /// low at different moments, a little less where sessions ended meanwhile.
    pub fn take_peak(&self) -> usize {
        self.fold_peak();
        self.peak.swap(0, StdRelaxed)
    }

    /// All that are open and did not lie in stock at its lowest were lent. The lows begin anew.
    fn fold_peak(&self) {
        let low: usize = self.shards.iter().map(Stock::take_low).sum();
        self.peak.fetch_max(self.counts.alive().saturating_sub(low), StdRelaxed);
    }

    /// The numbers now.
    pub fn stats(&self) -> Stats {
        let idle = self.shards.iter().map(Stock::len).sum();
        let reused = self.shards.iter().map(Stock::reused).sum();
        self.counts.stats(self.places.load(Relaxed), idle, self.waiting.load(Relaxed), reused)
    }

    /// Closes for good: takes all from stock, refuses whoever waits or comes; what is lent is closed when it is given
    /// back.
    pub(crate) fn close(self: &Arc<Self>, cause: EvictCause) -> Vec<Evicted<S>> {
        let wakers = {
            let mut queue = lock(&self.queue.0);
            let wakers = queue.close();
            self.waiting.store(0, Relaxed);
            self.max_open.store(0, Relaxed);
            self.closed.store(true, Relaxed);
            wakers
        };
        self.shards.iter().for_each(Stock::close);
        wakers.into_iter().for_each(Waker::wake);
        self.take_all(cause)
    }

    /// When a session that is in stock was last given back.
    pub(crate) fn last_idle_since(&self) -> Option<Instant> {
        self.shards.iter().filter_map(Stock::last_idle_since).max()
    }

    pub(crate) fn count_evicted(&self, cause: EvictCause) {
        self.counts.evicted(cause);
    }

    /// Wraps a new session, which takes over a place.
    pub(crate) fn open(&self, session: S, now: Instant) -> Box<Entry<S>> {
        let id = self.shared.next_id();
        let lifetime = self.shared.lifetime_of(id);
        let expires = Deadline::after(now, lifetime).moment();
        self.fold_peak(); // before there is one more than those that the lows are about
        self.counts.dialled();
        Box::new(Entry {
            id,
            generation: self.generation.load(Relaxed),
            opened: now,
            expires,
            idle_since: now,
            until: expires,
            keep: Duration::MAX,
            idle_for: Duration::ZERO,
            uses: 0,
            ending_from: Deadline::after(now, lifetime - lifetime / ENDING_PART).moment(),
            mark: None,
            session,
        })
    }

    /// What a checkout does first; `None` when it has to wait.
    pub(crate) fn begin(self: &Arc<Self>, shard: usize, now: Instant) -> Option<Grant<S>> {
        if self.waiting.load(Relaxed) > 0 {
            return None; // Rule 5.
        }
        if let Some(entry) = self.take_usable(shard, Some(now)) {
            return Some(Grant::Session(self.lend(entry, shard)));
        }
        self.reserve().then(|| self.settle(Permit::new(Arc::clone(self)), shard, now))
    }

    /// A session comes back from its holder.
    pub(crate) fn put_back(
        self: &Arc<Self>,
        mut entry: Box<Entry<S>>,
        shard: usize,
        now: Instant,
        keep: Duration,
    ) {
        entry.keep = keep;
        let keep = keep.min(self.shared.options.idle_timeout);
        entry.idle_since = now;
        entry.idle_for = Duration::ZERO;
        entry.look_at_age(now, &self.ending);
        entry.until = now.checked_add(keep).map_or(entry.expires, |until| until.min(entry.expires));
        if let Some(cause) = self.outdated(&entry).or_else(|| self.time_is_up(&entry, now)) {
            self.end(entry, cause);
        } else if self.places.load(Relaxed) > self.max_open.load(Relaxed) {
            self.end(entry, EvictCause::Capacity);
        } else {
            self.pass_on(entry, shard, Some(now));
        }
    }

    /// Ends a session; its place goes to whoever is next once the session is gone.
    pub(crate) fn end(self: &Arc<Self>, entry: Box<Entry<S>>, cause: EvictCause) {
        drop(self.evict(entry, cause));
    }

    /// A place is free: it goes to the waiter whose turn it is, who opens; without waiters it is given up.
    pub(crate) fn release_place(self: &Arc<Self>) {
        if self.shrink() {
            return;
        }
        if self.waiting.load(Relaxed) > 0 && self.hand(Offer::Place, None).is_none() {
            return;
        }
        self.places.fetch_sub(1, Relaxed);
        self.serve_if_waiting(0, None);
    }

    /// A place goes, and the limit with it. Whoever waits goes on waiting.
    pub(crate) fn withdraw_place(&self) {
        let _queue = lock(&self.queue.0); // as all who change the limit
        let left = self.places.fetch_sub(1, Relaxed) - 1;
        self.max_open.fetch_min(left, Relaxed);
    }

    #[expect(clippy::boxed_local, reason = "all who have an entry have it boxed")]
    fn evict(self: &Arc<Self>, entry: Box<Entry<S>>, cause: EvictCause) -> Evicted<S> {
        self.counts.evicted(cause);
        Evicted::new(entry.session, Permit::new(Arc::clone(self)), cause)
    }

    fn take_all(self: &Arc<Self>, cause: EvictCause) -> Vec<Evicted<S>> {
        let mut all = Vec::new();
        self.shards.iter().for_each(|stock| stock.take_all(&mut all));
        self.left_stock(all.len());
        all.into_iter().map(|entry| self.evict(entry, cause)).collect()
    }

    fn lend(self: &Arc<Self>, entry: Box<Entry<S>>, shard: usize) -> Lent<S> {
        self.stock(shard).count_reuse();
        Lent::new(entry, Arc::clone(self))
    }

    /// Rule 6.
    fn settle(self: &Arc<Self>, place: Permit<S>, shard: usize, now: Instant) -> Grant<S> {
        match self.take_usable(shard, Some(now)) {
            Some(entry) => Grant::Session(self.lend(entry, shard)),
            None => Grant::Dial(place),
        }
    }

    /// The topmost usable session, from the stock of `shard` first, then from the others; what is unfit is ended.
    fn take_usable(self: &Arc<Self>, shard: usize, now: Option<Instant>) -> Option<Box<Entry<S>>> {
        let first = self.index(shard);
        let (before, after) = self.shards.split_at(first);
        for stock in after.iter().chain(before) {
            while let Some(mut entry) = stock.pop() {
                self.left_stock(1);
                match self.unfit(&mut entry, now) {
                    None => {
                        entry.idle_for = now.map_or(Duration::ZERO, |now| now - entry.idle_since);
                        return Some(entry);
                    }
                    Some(cause) => self.end(entry, cause),
                }
            }
        }
        None
    }

    /// Why a session can't be lent, if so. Without `now` its age is not looked at: it has just come back.
    fn unfit(self: &Arc<Self>, entry: &mut Entry<S>, now: Option<Instant>) -> Option<EvictCause> {
        self.outdated(entry)
            .or_else(|| now.and_then(|now| self.time_is_up(entry, now)))
            .or_else(|| (!self.is_usable(&mut entry.session)).then_some(EvictCause::StaleOnCheckout))
    }

    /// Asks the session. If it panics, unwinding drops the entry; its place must not go with it.
    fn is_usable(self: &Arc<Self>, session: &mut S) -> bool {
        let guard = PanicGuard(self);
        let is_usable = session.is_usable();
        std::mem::forget(guard);
        is_usable
    }

    fn outdated(&self, entry: &Entry<S>) -> Option<EvictCause> {
        let outdated = entry.generation != self.generation.load(Relaxed) || self.closed.load(Relaxed);
        outdated.then_some(EvictCause::Drain)
    }

    /// To the waiter whose turn it is, else into the stock of `shard`.
    fn pass_on(self: &Arc<Self>, entry: Box<Entry<S>>, shard: usize, now: Option<Instant>) {
        let mut offer = Offer::Session(entry);
        if self.waiting.load(Relaxed) > 0 {
            match self.hand(offer, now) {
                None => return,
                Some(back) => offer = back,
            }
        }
        self.keep(offer, shard);
        self.serve_if_waiting(shard, now);
    }

    /// Into the stock, or back below the limit. The caller runs a fence and looks at `waiting` next: rule 4.
    fn keep(self: &Arc<Self>, offer: Offer<S>, shard: usize) {
        let Offer::Session(entry) = offer else {
            self.places.fetch_sub(1, Relaxed);
            return;
        };
        if !self.enter_stock() {
            return self.end(entry, EvictCause::Capacity);
        }
        if let Err(entry) = self.stock(shard).push(entry) {
            self.left_stock(1);
            self.end(entry, EvictCause::Drain);
        }
    }

    /// Raises `places` if the limit allows: rule 1.
    fn reserve(&self) -> bool {
        let below = |places| (places < self.max_open.load(Relaxed)).then_some(places + 1);
        self.places.fetch_update(Relaxed, Relaxed, below).is_ok()
    }

    /// Gives a place up for good if there are more than the limit, which was lowered.
    fn shrink(&self) -> bool {
        let above = |places| (places > self.max_open.load(Relaxed)).then(|| places - 1);
        self.places.fetch_update(Relaxed, Relaxed, above).is_ok()
    }

    fn enter_stock(&self) -> bool {
        let Some(most) = self.shared.options.max_idle else { return true };
        let below = |idle| (idle < most).then_some(idle + 1);
        self.idle.fetch_update(Relaxed, Relaxed, below).is_ok()
    }

    fn left_stock(&self, count: usize) {
        if self.shared.options.max_idle.is_some() {
            self.idle.fetch_sub(count, Relaxed);
        }
    }

    fn stock(&self, shard: usize) -> &Stock<S> {
        &self.shards[self.index(shard)]
    }

    /// Any number will do for a shard; small ones cost no division.
    fn index(&self, shard: usize) -> usize {
        if shard < self.shards.len() { shard } else { shard % self.shards.len() }
    }
}

/// Dropped only by a panic of [`Pooled::is_usable`].
struct PanicGuard<'a, S: Pooled>(&'a Arc<Bucket<S>>);

impl<S: Pooled> Drop for PanicGuard<'_, S> {
    fn drop(&mut self) {
        self.0.counts.evicted(EvictCause::Failed);
        self.0.release_place();
    }
}

impl<S: Pooled> std::fmt::Debug for Bucket<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
