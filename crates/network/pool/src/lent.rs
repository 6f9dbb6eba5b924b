//! What a caller holds: a session lent, a place to fill, or a session that was evicted and is to be closed.
//!
//! Each of the three gives its place below the limit back when it is dropped, and only after its session has gone: so
//! there are never more sessions than places.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::ending::{Ending, Mark};
use crate::{Bucket, EvictCause, Pooled};

/// Names a session within its pool, for as long as the pool lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId(pub(crate) u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A session with what the pool knows of it, in one box for life. It owns a place of its bucket.
pub(crate) struct Entry<S> {
    pub(crate) id: EntryId,
    /// The bucket's generation when it was opened.
    pub(crate) generation: u64,
    pub(crate) opened: Instant,
    /// End of its lifetime.
    pub(crate) expires: Instant,
    pub(crate) idle_since: Instant,
    /// When it must leave the stock, unless it is needed; never after `latest`.
    pub(crate) until: Instant,
    /// How long it may lie in stock at most: as long as its peer allows.
    pub(crate) keep: Duration,
    /// How long it had been idle before this use.
    pub(crate) idle_for: Duration,
    pub(crate) uses: u64,
    /// Begin of the last tenth of its lifetime.
    pub(crate) ending_from: Instant,
    /// There once it is in that.
    pub(crate) mark: Option<Mark>,
    pub(crate) session: S,
}

impl<S> Entry<S> {
    fn lifetime(&self) -> Duration {
        self.expires.saturating_duration_since(self.opened)
    }

    /// When it must leave the stock although it is needed.
    pub(crate) fn latest(&self) -> Instant {
        self.idle_since.checked_add(self.keep).map_or(self.expires, |latest| latest.min(self.expires))
    }

    /// Counts it in `ending` once it is in the last part of its lifetime.
    #[inline]
    pub(crate) fn look_at_age(&mut self, now: Instant, ending: &Ending) {
        if self.ending_from <= now && self.mark.is_none() {
            self.mark = Some(ending.mark());
        }
    }
}

/// A session lent to one caller. Dropping it without [`give_back`](Self::give_back) closes the session.
pub struct Lent<S: Pooled> {
    /// `None` only while `self` is being consumed.
    entry: Option<Box<Entry<S>>>,
    bucket: Arc<Bucket<S>>,
}

impl<S: Pooled> Lent<S> {
    pub(crate) fn new(mut entry: Box<Entry<S>>, bucket: Arc<Bucket<S>>) -> Self {
        entry.uses += 1;
        Self { entry: Some(entry), bucket }
    }

    /// The session's name, the same for as long as it lives.
    pub fn id(&self) -> EntryId {
        self.entry().id
    }

    /// Is it in the last twentieth of its lifetime? Its holder may let the peer know, and have it close.
    #[inline]
    pub fn is_ending(&self, now: Instant) -> bool {
        let (left, whole) = (self.entry().expires.saturating_duration_since(now), self.entry().lifetime());
        left <= whole / 20
    }

    /// The bucket it belongs to. A watch that lives in the session keeps a [`Weak`](std::sync::Weak) of it for
    /// [`take_idle`](Bucket::take_idle): an [`Arc`] there would keep both alive for ever.
    pub fn bucket(&self) -> &Arc<Bucket<S>> {
        &self.bucket
    }

    /// When it was put into the pool.
    pub fn opened(&self) -> Instant {
        self.entry().opened
    }

    /// How many checkouts it has served, this one included.
    pub fn uses(&self) -> u64 {
        self.entry().uses
    }

    /// Did it serve a checkout before this one?
    pub fn is_reused(&self) -> bool {
        self.uses() > 1
    }

    /// How long it lay in stock before this checkout; zero when it is new or came straight from another caller.
    pub fn idle_for(&self) -> Duration {
        self.entry().idle_for
    }

    /// Gives the session back: to the oldest waiter, else to the stock of `shard`, for the pool's idle timeout.
    /// It is closed instead when its lifetime is over, or when more are open or idle than may be.
    pub fn give_back(self, shard: usize, now: Instant) {
        self.give_back_until(shard, now, Duration::MAX);
    }

    /// The same, to lie idle no longer than `keep`, for a peer that closes earlier than the pool would.
    pub fn give_back_until(mut self, shard: usize, now: Instant, keep: Duration) {
        if let Some(entry) = self.entry.take() {
            self.bucket.put_back(entry, shard, now, keep);
        }
    }

    /// Closes the session: [`Pooled::evicted`] gets it, then its place goes to whoever is next.
    pub fn close(mut self, cause: EvictCause) {
        if let Some(entry) = self.entry.take() {
            self.bucket.end(entry, cause);
        }
    }

    /// Takes the session out of the pool, counted as [`EvictCause::Detached`]. Its place stays taken until the permit
    /// is dropped or filled again.
    pub fn detach(mut self) -> (S, Permit<S>) {
        let entry = self.entry.take().expect("only consuming methods take the entry");
        self.bucket.count_evicted(EvictCause::Detached);
        (entry.session, Permit::new(Arc::clone(&self.bucket)))
    }

    fn entry(&self) -> &Entry<S> {
        self.entry.as_ref().expect("only consuming methods take the entry")
    }
}

impl<S: Pooled> Deref for Lent<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.entry().session
    }
}

impl<S: Pooled> DerefMut for Lent<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.entry.as_mut().expect("only consuming methods take the entry").session
    }
}

impl<S: Pooled> Drop for Lent<S> {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            self.bucket.end(entry, EvictCause::Dropped);
        }
    }
}

impl<S: Pooled> fmt::Debug for Lent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("id", &self.id()).field("uses", &self.uses()).finish_non_exhaustive()
    }
}

/// A place below the limit, to open a session in. Dropping it gives the place to the oldest waiter, who then opens.
#[must_use = "dropping a permit gives its place to somebody else"]
pub struct Permit<S: Pooled> {
    /// `None` only while `self` is being consumed.
    bucket: Option<Arc<Bucket<S>>>,
}

impl<S: Pooled> Permit<S> {
    /// Takes over a place that the caller has reserved, or that a session leaves behind.
    pub(crate) fn new(bucket: Arc<Bucket<S>>) -> Self {
        Self { bucket: Some(bucket) }
    }

    /// The session is open: it takes the place, and is lent for its first use.
    pub fn fill(mut self, session: S, now: Instant) -> Lent<S> {
        let bucket = self.bucket.take().expect("only consuming methods take the bucket");
        let entry = bucket.open(session, now);
        Lent::new(entry, bucket)
    }

    /// A session from stock, if one has come back since the place was granted; the place is then given up. To be
    /// asked where opening has not begun yet, or has failed.
    ///
    /// # Errors
    ///
    /// The permit itself, when the stock is empty or others wait.
    pub fn or_idle(self, shard: usize, now: Instant) -> Result<Lent<S>, Self> {
        self.bucket().try_checkout(shard, now).ok_or(self)
    }

    /// Takes the place out of the bucket: there may be no more sessions than there are now without it, until
    /// [`Bucket::set_max_open`] says otherwise. For whoever could not open because a resource is short.
    pub fn withdraw(mut self) {
        if let Some(bucket) = self.bucket.take() {
            bucket.withdraw_place();
        }
    }

    /// The bucket it belongs to.
    pub fn bucket(&self) -> &Arc<Bucket<S>> {
        self.bucket.as_ref().expect("only consuming methods take the bucket")
    }
}

impl<S: Pooled> Drop for Permit<S> {
    fn drop(&mut self) {
        if let Some(bucket) = self.bucket.take() {
            bucket.release_place();
        }
    }
}

impl<S: Pooled> fmt::Debug for Permit<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// A session that has left the stock and is to be closed by the caller, as it sees fit. Its place is free only when
/// this is dropped; [`Pooled::evicted`] gets the session then, unless it was taken out.
#[must_use = "dropping it closes the session"]
pub struct Evicted<S: Pooled> {
    /// `None` only while `self` is being consumed. Dropped in this order: session, then place.
    parts: Option<(S, Permit<S>)>,
    cause: EvictCause,
}

impl<S: Pooled> Evicted<S> {
    pub(crate) fn new(session: S, place: Permit<S>, cause: EvictCause) -> Self {
        Self { parts: Some((session, place)), cause }
    }

    /// Why it left.
    pub fn cause(&self) -> EvictCause {
        self.cause
    }

    /// The session, the cause, and the place, which is to be dropped when the session is closed.
    pub fn into_parts(mut self) -> (S, EvictCause, Permit<S>) {
        let (session, place) = self.parts.take().expect("only consuming methods take the parts");
        (session, self.cause, place)
    }
}

impl<S: Pooled> Deref for Evicted<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.parts.as_ref().expect("only consuming methods take the parts").0
    }
}

impl<S: Pooled> Drop for Evicted<S> {
    fn drop(&mut self) {
        if let Some((session, _place)) = self.parts.take() {
            session.evicted(self.cause);
        }
    }
}

impl<S: Pooled> fmt::Debug for Evicted<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evicted").field("cause", &self.cause).finish_non_exhaustive()
    }
}
