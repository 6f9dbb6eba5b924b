//! What a worker's reactor shows to other threads, and what it keeps for its own.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use rustix::event::epoll::{self, CreateFlags};
use rustix::fs::OFlags;

use super::source::{Sources, Token};
use super::task::Tasks;

/// A worker's reactor as other threads see it.
pub(crate) struct Home {
    /// Never 0, never used twice in a process.
    id: u64,
    pub(super) epoll: OwnedFd,
    notes: Mutex<Notes>,
    has_notes: AtomicBool,
    driver: Mutex<Option<Waker>>,
}

/// What other threads have left.
#[derive(Default)]
pub(super) struct Notes {
    /// Tasks that were woken.
    pub(super) woken: Vec<usize>,
    /// Sources whose sockets have gone.
    pub(super) gone: Vec<Token>,
}

/// What only the worker's own thread touches.
pub(super) struct Here {
    pub(super) home: RefCell<Option<Arc<Home>>>,
    pub(super) sources: RefCell<Sources>,
    pub(super) tasks: RefCell<Tasks>,
    /// The driver runs, or will without another wake.
    pub(super) is_awake: Cell<bool>,
}

thread_local! {
    pub(super) static HERE: Here = const {
        Here {
            home: RefCell::new(None),
            sources: RefCell::new(Sources::new()),
            tasks: RefCell::new(Tasks::new()),
            is_awake: Cell::new(false),
        }
    };
    /// The [`Home::id`] of this thread; 0 outside a worker.
    static ID: Cell<u64> = const { Cell::new(0) };
    /// The task that is polled now: the address of its flag, and its key.
    pub(super) static CURRENT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Home {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        // Nothing of it ever blocks; tokio takes no other kind.
        rustix::fs::fcntl_setfl(&epoll, OFlags::NONBLOCK)?;
        Ok(Arc::new(Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            epoll,
            notes: Mutex::default(),
            has_notes: AtomicBool::new(false),
            driver: Mutex::new(None),
        }))
    }

    /// Is this the reactor of the current thread?
    #[inline]
    pub(super) fn is_here(&self) -> bool {
        ID.get() == self.id
    }

    /// Leaves a note for the worker, from any thread.
    pub(super) fn leave_note(&self, write: impl FnOnce(&mut Notes)) {
        write(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        self.has_notes.store(true, Release);
        self.wake_driver();
    }

    /// The notes left since the last time, if there are any.
    #[inline]
    pub(super) fn take_notes(&self) -> Option<Notes> {
        // A note that is written after this look wakes the driver again.
        if !self.has_notes.load(Acquire) {
            return None;
        }
        self.has_notes.store(false, Relaxed);
        Some(std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    pub(super) fn set_driver(&self, waker: &Waker) {
        *self.driver.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    pub(super) fn wake_driver(&self) {
        let waker = self.driver.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The current thread is the worker of this reactor from here on.
pub(crate) fn enter(home: &Arc<Home>) {
    HERE.with(|here| {
        ID.set(home.id);
        *here.home.borrow_mut() = Some(home.clone());
    });
}

/// Drops all tasks, then forgets the reactor.
pub(crate) fn leave() {
    HERE.with(|here| {
        // A task that is dropped may drop sockets and spawn others: round after round, until none is left.
        loop {
            let tasks = here.tasks.take();
            if tasks.is_empty() {
                break;
            }
            drop(tasks);
        }
        ID.set(0);
        drop(here.home.take());
        drop(here.sources.take());
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_taken_once() {
        let home = Home::new().expect("epoll is there");
        assert!(home.take_notes().is_none());
        home.leave_note(|notes| notes.woken.push(7));
        assert_eq!(home.take_notes().map(|notes| notes.woken), Some(vec![7]));
        assert!(home.take_notes().is_none());
    }
}
