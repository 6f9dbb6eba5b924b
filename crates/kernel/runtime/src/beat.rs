//! What a worker is doing right now, readable from outside.
//!
//! Rules:
//! 1. Only the worker's own thread writes its [`Beat`]: plain stores, no contention.
//! 2. `turn` is odd while a poll runs, even between polls. The watchdog calls a worker blocked when it sees the same odd
//!    number for too long, so a poll that ends and begins again is never mistaken for one.
//! 3. Orderings are Relaxed: the watchdog may read a label one poll too old; it only words a warning with it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// A name for what runs, made once per place in the code and copied freely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(u32);

/// All names ever made: they are made at start-up (a route, a server), not per request.
static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Label {
    /// A label that says `name` and where in the code this was called. Make it once and keep it.
    #[track_caller]
    pub fn new(name: impl AsRef<str>) -> Self {
        Self::at(name.as_ref(), Location::caller())
    }

    fn at(name: &str, place: &Location<'_>) -> Self {
        let text = format!("{name} ({}:{})", place.file(), place.line());
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.iter().position(|known| *known == text) {
            return Self(u32::try_from(known).unwrap_or(u32::MAX));
        }
        if names.len() >= MOST_LABELS {
            return Self(u32::MAX);
        }
        names.push(text);
        Self(u32::try_from(names.len() - 1).unwrap_or(u32::MAX))
    }

    /// The label for a spawn of a future of type `F` at `place`: looked up in a table of the thread's own, so that
    /// spawning often takes no lock.
    pub(crate) fn of_spawn<F>(place: &'static Location<'static>) -> Self {
        thread_local! {
            static KNOWN: RefCell<HashMap<(usize, usize), Label>> = RefCell::default();
        }
        let name = std::any::type_name::<F>();
        // Addresses of 'static things name them.
        let key = (std::ptr::from_ref(place).addr(), name.as_ptr().addr());
        KNOWN.with_borrow_mut(|known| *known.entry(key).or_insert_with(|| Self::at(name, place)))
    }

    /// The text: name and place.
    pub fn text(self) -> String {
        let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(self.0 as usize).cloned().unwrap_or_else(|| "unnamed".to_owned())
    }
}

/// A bound on labels, should somebody make them per request: later ones are "unnamed".
const MOST_LABELS: usize = 16_384;

/// What one worker is doing.
#[derive(Debug)]
pub(crate) struct Beat {
    turn: AtomicU64,
    label: AtomicU32,
}

impl Beat {
    pub(crate) fn new() -> Self {
        Self { turn: AtomicU64::new(0), label: AtomicU32::new(u32::MAX) }
    }

    #[inline]
    pub(crate) fn begin(&self, label: Label) {
        self.label.store(label.0, Relaxed);
        self.turn.store(self.turn.load(Relaxed) + 1, Relaxed);
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.turn.store(self.turn.load(Relaxed) + 1, Relaxed);
    }

    /// A finer name for what runs within the current poll.
    #[inline]
    pub(crate) fn note(&self, label: Label) {
        self.label.store(label.0, Relaxed);
    }

    /// The number of the turn, odd while a poll runs, and its label.
    pub(crate) fn read(&self) -> (u64, Label) {
        (self.turn.load(Relaxed), Label(self.label.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_is_made_once_per_place_and_name() {
        let make = || Label::new("same");
        assert_eq!(make(), make());
        assert_ne!(make(), Label::new("other"));
        assert!(make().text().starts_with("same (") && make().text().contains("beat.rs:"));
    }
}
