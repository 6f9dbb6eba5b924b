//! One shard's part of the stock: idle sessions, the one given back last on top.
//!
//! Rules:
//! 1. `list` is touched under its lock only. Nothing of the user's runs there: sessions are moved in and out whole.
//! 2. `len` is stored under the lock, as the last thing, and read by anybody. Who reads 0 may skip the lock.
//! 3. A session pushed by somebody, who then runs a `SeqCst` fence, is seen in `len` by whoever runs a fence after
//!    that: the partner of this fence stands in the rules of `bucket`.
//! 4. Once `closed`, nothing is pushed any more.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed as StdRelaxed;
use std::time::Instant;

use crate::ending::Ending;
use crate::lent::{Entry, EntryId};
use crate::sync::{AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering::Relaxed, lock};

/// One shard's idle sessions, on cache lines of its own (128 bytes: x86 fetches lines in pairs).
#[repr(align(128))]
pub(crate) struct Stock<S> {
    list: Mutex<List<S>>,
    len: AtomicUsize,
    /// The fewest there have been since somebody asked. A std atomic also under loom: it decides nothing.
    low: std::sync::atomic::AtomicUsize,
    reused: AtomicU64,
}

struct List<S> {
    /// Oldest in front.
    slots: VecDeque<Slot<S>>,
    closed: bool,
}

/// What searches look at stands beside the pointer, so that they stay in one run of memory.
struct Slot<S> {
    id: EntryId,
    until: Instant,
    ending_from: Instant,
    entry: Box<Entry<S>>,
}

/// One past its idle timeout. In the order in which they end: those in the last tenth of their lifetime before the
/// others, then what lies here for longest.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Late {
    is_lasting: bool,
    until: Instant,
    pub(crate) id: EntryId,
}

impl Late {
    /// Is it in the last tenth of its lifetime?
    pub(crate) fn is_ending(&self) -> bool {
        !self.is_lasting
    }
}

impl<S> Slot<S> {
    fn late(&self) -> Late {
        Late { is_lasting: self.entry.mark.is_none(), until: self.until, id: self.id }
    }
}

impl<S> List<S> {
    fn take_where(&mut self, is_over: impl Fn(&Slot<S>) -> bool, into: &mut Vec<Box<Entry<S>>>) {
        if self.slots.iter().any(&is_over) {
            let (over, kept): (VecDeque<_>, VecDeque<_>) = self.slots.drain(..).partition(is_over);
            self.slots = kept;
            into.extend(over.into_iter().map(|slot| slot.entry));
        }
    }
}

impl<S> Stock<S> {
    pub(crate) fn new() -> Self {
        Self {
            list: Mutex::new(List { slots: VecDeque::new(), closed: false }),
            len: AtomicUsize::new(0),
            low: std::sync::atomic::AtomicUsize::new(0),
            reused: AtomicU64::new(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// The fewest sessions that lay here since this was called last.
    pub(crate) fn take_low(&self) -> usize {
        self.low.swap(self.len(), StdRelaxed)
    }

    /// When the topmost session was given back.
    pub(crate) fn last_idle_since(&self) -> Option<Instant> {
        lock(&self.list).slots.back().map(|slot| slot.entry.idle_since)
    }

    /// Puts a session on top; gives it back when the stock is closed.
    pub(crate) fn push(&self, entry: Box<Entry<S>>) -> Result<(), Box<Entry<S>>> {
        let mut list = lock(&self.list);
        if list.closed {
            return Err(entry);
        }
        let (id, until, ending_from) = (entry.id, entry.until, entry.ending_from);
        list.slots.push_back(Slot { id, until, ending_from, entry });
        self.note_len(&list);
        Ok(())
    }

    /// Takes the session given back last.
    pub(crate) fn pop(&self) -> Option<Box<Entry<S>>> {
        self.take(|slots| slots.pop_back())
    }

    /// Takes the session that has been idle for longest.
    pub(crate) fn pop_oldest(&self) -> Option<Box<Entry<S>>> {
        self.take(|slots| slots.pop_front())
    }

    /// Takes exactly this session.
    pub(crate) fn remove(&self, id: EntryId) -> Option<Box<Entry<S>>> {
        self.take(|slots| {
            let at = slots.iter().rposition(|slot| slot.id == id)?;
            slots.remove(at)
        })
    }

    /// Takes all whose time is up, counts in `ending` those whose time comes near, and gives back memory that a burst
    /// has left. With a list of `late` ones, those past their idle timeout that may stay are put there instead.
    pub(crate) fn take_expired(
        &self,
        now: Instant,
        ending: &Ending,
        late: Option<&mut Vec<Late>>,
        into: &mut Vec<Box<Entry<S>>>,
    ) {
        if self.len() == 0 {
            return;
        }
        let mut list = lock(&self.list);
        let old = list.slots.iter_mut().filter(|slot| slot.ending_from <= now);
        old.for_each(|slot| slot.entry.look_at_age(now, ending));
        let may_stay = late.is_some();
        let is_over = |slot: &Slot<S>| slot.until <= now && !(may_stay && now < slot.entry.latest());
        list.take_where(is_over, into);
        if let Some(late) = late {
            late.extend(list.slots.iter().filter(|slot| slot.until <= now).map(Slot::late));
        }
        if list.slots.len() < list.slots.capacity() / 4 {
            let most = list.slots.len() * 2;
            list.slots.shrink_to(most);
        }
        self.note_fewer(&list);
    }

    /// Takes those that are still here of these, which are in order.
    pub(crate) fn take_these(&self, ids: &[EntryId], into: &mut Vec<Box<Entry<S>>>) {
        let mut list = lock(&self.list);
        list.take_where(|slot| ids.binary_search(&slot.id).is_ok(), into);
        self.note_fewer(&list);
    }

    /// Takes all.
    pub(crate) fn take_all(&self, into: &mut Vec<Box<Entry<S>>>) {
        let mut list = lock(&self.list);
        into.extend(list.slots.drain(..).map(|slot| slot.entry));
        self.note_fewer(&list);
    }

    /// Rule 4.
    pub(crate) fn close(&self) {
        lock(&self.list).closed = true;
    }

    /// Counts a checkout that was served from what was there.
    pub(crate) fn count_reuse(&self) {
        self.reused.fetch_add(1, Relaxed);
    }

    pub(crate) fn reused(&self) -> u64 {
        self.reused.load(Relaxed)
    }

    #[inline]
    fn take(&self, pick: impl FnOnce(&mut VecDeque<Slot<S>>) -> Option<Slot<S>>) -> Option<Box<Entry<S>>> {
        if self.len() == 0 {
            return None;
        }
        let mut list = lock(&self.list);
        let slot = pick(&mut list.slots)?;
        self.note_fewer(&list);
        Some(slot.entry)
    }

    #[inline]
    fn note_fewer(&self, list: &MutexGuard<'_, List<S>>) {
        if list.slots.len() < self.low.load(StdRelaxed) {
            self.low.store(list.slots.len(), StdRelaxed);
        }
        self.note_len(list);
    }

    #[inline]
    fn note_len(&self, list: &MutexGuard<'_, List<S>>) {
        self.len.store(list.slots.len(), Relaxed);
    }
}
