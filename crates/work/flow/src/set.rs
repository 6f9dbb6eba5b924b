//! Futures polled by one task, each only when it was woken.
//!
//! Rules:
//! 1. `Signal::is_queued` is true from when an index is put into a queue until just before its future is polled: an index is in at most
//!    one of `Set::batch` and `Shared::woken`. It is swapped, not stored, before the poll: who found it true had done what the poll is
//!    to see, and the swap is what makes that seen.
//! 2. A slot's signal outlives its future and serves the next one: a late wake of the old costs the new one a poll.
//! 3. Wakers are called, cloned and dropped outside of the lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use millstream_base::Result;

use crate::new_waker::NewWaker;
use crate::task::{BoxFuture, contained, discard};

/// Futures, each with a key; their outcomes come in the order in which they end. A panic is an error.
pub(crate) struct Set<T> {
    slots: Vec<Slot<T>>,
    /// Indexes of slots without a future.
    free: Vec<u32>,
    /// To be polled, in this order.
    batch: VecDeque<u32>,
    /// Since it last let others have their turn.
    polls: usize,
    shared: Arc<Shared>,
}

struct Slot<T> {
    key: usize,
    future: Option<BoxFuture<Result<T>>>,
    signal: Arc<Signal>,
    waker: Waker,
}

/// A future that was polled once.
pub(crate) enum Begun<T> {
    Ended(Result<T>),
    Pending(BoxFuture<Result<T>>),
}

/// Tells a set that one of its futures was woken.
struct Signal {
    index: u32,
    is_queued: AtomicBool,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared(Mutex<Woken>);

#[derive(Default)]
struct Woken {
    indexes: Vec<u32>,
    /// Who polls the set; taken by the first who is woken since.
    parent: Option<Waker>,
}

/// So many polls, and others get their turn.
const MOST_POLLS: usize = 256;

impl<T> Set<T> {
    pub(crate) fn new() -> Self {
        let (slots, free, batch) = (Vec::new(), Vec::new(), VecDeque::new());
        Self { slots, free, batch, polls: 0, shared: Arc::default() }
    }

    /// How many have not ended.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds one; it is polled at the next [`poll`](Self::poll).
    pub(crate) fn insert(&mut self, key: usize, future: BoxFuture<Result<T>>) {
        let index = self.free.pop().unwrap_or_else(|| self.add_slot());
        let slot = &mut self.slots[index as usize];
        (slot.key, slot.future) = (key, Some(future));
        if !slot.signal.is_queued.swap(true, SeqCst) {
            self.batch.push_back(index);
        }
    }

    /// Has one begin at once, and adds what is left of it; its outcome if that is nothing.
    #[inline]
    pub(crate) fn begin(
        &mut self,
        key: usize,
        begin: impl FnOnce(&mut Context<'_>) -> Begun<T>,
    ) -> Option<Result<T>> {
        let index = self.free.pop().unwrap_or_else(|| self.add_slot());
        let slot = &mut self.slots[index as usize];
        match begin(&mut Context::from_waker(&slot.waker)) {
            Begun::Ended(outcome) => {
                self.free.push(index);
                Some(outcome)
            }
            Begun::Pending(future) => {
                (slot.key, slot.future) = (key, Some(future));
                None
            }
        }
    }

    /// Polls one at once, and adds it if it does not end; its outcome if it does.
    pub(crate) fn poll_first(&mut self, key: usize, mut future: BoxFuture<Result<T>>) -> Option<Result<T>> {
        self.begin(key, |cx| match contained(future.as_mut(), cx) {
            Poll::Ready(outcome) => {
                discard(future);
                Begun::Ended(outcome)
            }
            Poll::Pending => Begun::Pending(future),
        })
    }

    /// Drops all.
    pub(crate) fn clear(&mut self) {
        for index in 0..self.slots.len() {
            if let Some(future) = self.slots[index].future.take() {
                self.free.push(u32::try_from(index).expect("slots are counted so"));
                discard(future);
            }
        }
    }

    /// The next outcome with its key; `None` when there are no futures.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Result<T>)>> {
        while self.len() > 0 {
            if self.polls == MOST_POLLS {
                self.polls = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let Some(index) = self.batch.pop_front() else {
                if !self.fetch(cx) {
                    self.polls = 0;
                    return Poll::Pending;
                }
                continue;
            };
            self.polls += 1;
            let slot = &mut self.slots[index as usize];
            slot.signal.is_queued.swap(false, SeqCst);
            let Some(future) = &mut slot.future else { continue };
            if let Poll::Ready(outcome) = contained(future.as_mut(), &mut Context::from_waker(&slot.waker)) {
                let (key, future) = (slot.key, slot.future.take());
                self.free.push(index);
                discard(future);
                return Poll::Ready(Some((key, outcome)));
            }
        }
        Poll::Ready(None)
    }

    /// Takes over whom was woken; if nobody was, leaves the waker. Was anybody?
    fn fetch(&mut self, cx: &Context<'_>) -> bool {
        let mut new = NewWaker::default();
        loop {
            let mut woken = self.shared.lock();
            if !woken.indexes.is_empty() {
                self.batch.extend(woken.indexes.drain(..));
                return true;
            }
            if new.put(woken, |woken| &mut woken.parent, cx) {
                return false;
            }
        }
    }

    fn add_slot(&mut self) -> u32 {
        let index = u32::try_from(self.slots.len()).expect("fewer futures than 2^32");
        let signal =
            Arc::new(Signal { index, is_queued: AtomicBool::new(false), shared: self.shared.clone() });
        let waker = Waker::from(signal.clone());
        self.slots.push(Slot { key: 0, future: None, signal, waker });
        index
    }
}

impl<T> Drop for Set<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Woken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, SeqCst) {
            return;
        }
        let parent = {
            let mut woken = self.shared.lock();
            woken.indexes.push(self.index);
            woken.parent.take()
        };
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn outputs_come_as_they_end() {
        let mut set = Set::new();
        let gates: Vec<_> = (0..4).map(|_| Arc::new(tokio::sync::Notify::new())).collect();
        for (key, gate) in gates.iter().cloned().enumerate() {
            set.insert(
                key,
                Box::pin(async move {
                    gate.notified().await;
                    Ok(())
                }),
            );
        }
        for key in [2, 0, 3, 1] {
            gates[key].notify_one();
            let ended = poll_fn(|cx| set.poll(cx)).await;
            assert!(matches!(ended, Some((ended, Ok(()))) if ended == key), "{ended:?}");
        }
        assert!(poll_fn(|cx| set.poll(cx)).await.is_none() && set.len() == 0);
        assert_eq!(set.slots.len(), 4);
    }

    #[tokio::test]
    async fn only_those_woken_are_polled() {
        let mut set = Set::new();
        let polls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = polls.clone();
        set.insert(
            0,
            Box::pin(poll_fn(move |_| {
                count.fetch_add(1, SeqCst);
                Poll::<Result<()>>::Pending
            })),
        );
        for key in 1..100 {
            set.insert(
                key,
                Box::pin(async {
                    tokio::task::yield_now().await;
                    Ok(())
                }),
            );
            poll_fn(|cx| set.poll(cx)).await;
        }
        assert_eq!((polls.load(SeqCst), set.slots.len()), (1, 2));
        set.clear();
        assert!(poll_fn(|cx| set.poll(cx)).await.is_none());
    }

    #[tokio::test]
    async fn others_get_their_turn_though_all_are_always_ready() {
        let mut set = Set::new();
        set.insert(
            0,
            Box::pin(poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::<Result<()>>::Pending
            })),
        );
        let polled = poll_fn(|cx| Poll::Ready(set.poll(cx).is_pending())).await;
        assert!(polled, "it came back though one is ready");
    }

    #[test]
    fn wakes_from_other_threads_are_not_lost() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        runtime.block_on(async {
            let mut set = Set::new();
            for key in 0..1000 {
                let task = tokio::spawn(async move {
                    tokio::task::yield_now().await;
                    key
                });
                set.insert(key, Box::pin(async move { Ok(task.await.expect("no panic")) }));
            }
            let mut sum = 0;
            while let Some((key, output)) = poll_fn(|cx| set.poll(cx)).await {
                assert_eq!(key, *output.as_ref().expect("no error"));
                sum += key;
            }
            assert_eq!(sum, 499_500);
        });
    }
}
