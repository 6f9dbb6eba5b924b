//! What is known of one watched socket.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use rustix::event::epoll::{EventData, EventFlags};
use slab::Slab;

use super::home::{CURRENT, Home};
use super::watch::Interest;

/// What is known of one watched socket.
///
/// Written on its worker's thread alone, so loads and stores are plain ones; atomics only because a [`super::Watch`] may
/// be moved. `others` has a lock for the few wakers that belong to no task of the worker.
pub(super) struct Source {
    pub(super) home: Arc<Home>,
    token: Token,
    ready: AtomicU8,
    /// The worker's task that waits to read, to write: its key and 1; 0 for none. Kept after a wake: it costs nothing,
    /// and a task that waits again finds itself noted. The task may have ended since: then nobody, or whoever has the
    /// key now, is polled for nothing.
    tasks: [AtomicUsize; 2],
    /// Which of `others` there may be.
    has_others: AtomicU8,
    others: Mutex<[Option<Waker>; 2]>,
}

/// Names a source; a name is not used again soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    key: u32,
    generation: u32,
}

/// All watched sockets of a worker.
#[derive(Default)]
pub(super) struct Sources {
    list: Slab<Arc<Source>>,
    generation: u32,
}

/// Whom an event wakes.
#[derive(Default)]
pub(super) struct Woken {
    /// Keys of tasks, and 1; 0 for none.
    pub(super) tasks: [usize; 2],
    /// To be called when nothing is borrowed.
    pub(super) others: [Option<Waker>; 2],
}

/// Bits of [`Source::ready`].
pub(super) const READABLE: u8 = 1;
pub(super) const WRITABLE: u8 = 2;
/// The peer's end was seen: there is no second edge for it, so it stays readable.
const READ_CLOSED: u8 = 4;
/// The same for writing.
const WRITE_CLOSED: u8 = 8;

impl Token {
    #[inline]
    pub(super) fn of(data: EventData) -> Self {
        let data = data.u64();
        #[allow(clippy::cast_possible_truncation)] // the two halves of what `data` put together
        Self { key: data as u32, generation: (data >> 32) as u32 }
    }

    pub(super) fn data(self) -> EventData {
        EventData::new_u64(u64::from(self.generation) << 32 | u64::from(self.key))
    }
}

impl Sources {
    pub(super) const fn new() -> Self {
        Self { list: Slab::new(), generation: 0 }
    }

    /// A new source, not ready for anything yet; `None` beyond four billion.
    pub(super) fn add(&mut self, home: Arc<Home>) -> Option<Arc<Source>> {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.list.vacant_entry();
        let token = Token { key: u32::try_from(entry.key()).ok()?, generation: self.generation };
        let source = Arc::new(Source {
            home,
            token,
            ready: AtomicU8::new(0),
            tasks: [const { AtomicUsize::new(0) }; 2],
            has_others: AtomicU8::new(0),
            others: Mutex::default(),
        });
        entry.insert(source.clone());
        Some(source)
    }

    #[inline]
    pub(super) fn get(&self, token: Token) -> Option<&Source> {
        self.list.get(token.key as usize).map(|source| &**source).filter(|source| source.token == token)
    }

    /// Forgets a source. What it gives back may run user code when dropped: drop it outside the borrow.
    #[must_use]
    pub(super) fn remove(&mut self, token: Token) -> Option<Arc<Source>> {
        self.get(token)?;
        Some(self.list.remove(token.key as usize))
    }
}

impl Source {
    pub(super) fn token(&self) -> Token {
        self.token
    }

    #[inline]
    pub(super) fn is_ready(&self, interest: Interest) -> bool {
        self.ready.load(Relaxed) & interest.bit() != 0
    }

    /// The socket had no more: ready again at the next edge.
    #[inline]
    pub(super) fn clear(&self, interest: Interest) {
        let closed = match interest {
            Interest::Read => READ_CLOSED,
            Interest::Write => WRITE_CLOSED,
        };
        let ready = self.ready.load(Relaxed);
        if ready & closed == 0 {
            self.ready.store(ready & !interest.bit(), Relaxed);
        }
    }

    /// Will the next edge wake the task of `cx`?
    #[inline]
    pub(super) fn wakes(&self, interest: Interest, cx: &Context<'_>) -> bool {
        let known = self.tasks[interest.index()].load(Relaxed);
        let (flag, key) = CURRENT.get();
        known == key + 1 && cx.waker().data().addr() == flag
    }

    /// Has the next edge wake the task of `cx`, instead of whomever it was to wake so far.
    #[inline]
    pub(super) fn register(&self, interest: Interest, cx: &Context<'_>) {
        if self.wakes(interest, cx) {
            return;
        }
        let (flag, key) = CURRENT.get();
        let is_own = cx.waker().data().addr() == flag;
        self.tasks[interest.index()].store(if is_own { key + 1 } else { 0 }, Relaxed);
        if !is_own || self.has_others.load(Relaxed) & interest.bit() != 0 {
            self.set_other(interest, (!is_own).then_some(cx.waker()));
        }
    }

    #[cold]
    fn set_other(&self, interest: Interest, waker: Option<&Waker>) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut others[interest.index()];
        let is_known = matches!((&*place, waker), (Some(known), Some(waker)) if known.will_wake(waker));
        let replaced = if is_known { None } else { std::mem::replace(place, waker.cloned()) };
        drop(others);
        self.has_others.store(self.has_others.load(Relaxed) | interest.bit(), Relaxed);
        drop(replaced); // it may run user code: the lock is free again
    }

    /// Takes an event in; says whom it wakes.
    #[inline]
    pub(super) fn on_event(&self, flags: EventFlags) -> Woken {
        let news = ready_bits(flags);
        self.ready.store(self.ready.load(Relaxed) | news, Relaxed);
        let mut woken = Woken::default();
        for interest in [Interest::Read, Interest::Write] {
            if news & interest.bit() != 0 {
                woken.tasks[interest.index()] = self.tasks[interest.index()].load(Relaxed);
            }
        }
        if self.has_others.load(Relaxed) & news != 0 {
            self.take_others(news, &mut woken);
        }
        woken
    }

    #[cold]
    fn take_others(&self, news: u8, woken: &mut Woken) {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        for interest in [Interest::Read, Interest::Write] {
            if news & interest.bit() != 0 {
                woken.others[interest.index()] = others[interest.index()].take();
            }
        }
        self.has_others.store(self.has_others.load(Relaxed) & !news, Relaxed);
    }
}

#[inline]
fn ready_bits(flags: EventFlags) -> u8 {
    let mut bits = 0;
    if flags.contains(EventFlags::IN) {
        bits |= READABLE;
    }
    if flags.contains(EventFlags::OUT) {
        bits |= WRITABLE;
    }
    if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
        bits |= READABLE | READ_CLOSED;
    }
    if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
        bits |= WRITABLE | WRITE_CLOSED;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Arc<Home> {
        Home::new().expect("epoll is there")
    }

    #[test]
    fn token_survives_the_kernel() {
        let token = Token { key: 7, generation: u32::MAX };
        assert_eq!(Token::of(token.data()), token);
    }

    #[test]
    fn end_of_the_peer_stays_readable() {
        let mut sources = Sources::new();
        let source = sources.add(home()).expect("room");
        source.on_event(EventFlags::IN);
        source.clear(Interest::Read);
        assert!(!source.is_ready(Interest::Read));
        source.on_event(EventFlags::IN | EventFlags::RDHUP);
        source.clear(Interest::Read);
        assert!(source.is_ready(Interest::Read));
        assert!(!source.is_ready(Interest::Write));
    }

    #[test]
    fn name_of_a_source_that_is_gone_means_nobody() {
        let mut sources = Sources::new();
        let home = home();
        let old = sources.add(home.clone()).expect("room").token();
        assert!(sources.remove(old).is_some());
        let new = sources.add(home).expect("room").token();
        assert_eq!((old.key, new.key), (0, 0));
        assert!(sources.get(old).is_none());
        assert!(sources.remove(old).is_none());
    }

    #[test]
    fn foreign_waker_is_called_once_and_the_last_one_counts() {
        use std::sync::atomic::AtomicU32;
        struct Counted(AtomicU32);
        impl std::task::Wake for Counted {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let wakers = [(); 2].map(|()| Arc::new(Counted(AtomicU32::new(0))));
        let source = Sources::new().add(home()).expect("room");
        for counted in &wakers {
            source.register(Interest::Read, &Context::from_waker(&counted.clone().into()));
        }
        for _ in 0..2 {
            source.on_event(EventFlags::OUT).others.into_iter().flatten().for_each(Waker::wake);
            source.on_event(EventFlags::IN).others.into_iter().flatten().for_each(Waker::wake);
        }
        assert_eq!(wakers.map(|counted| counted.0.load(Relaxed)), [0, 1]);
    }
}
