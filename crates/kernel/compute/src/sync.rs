//! The primitives that loom replaces in this crate's own tests.

#[cfg(not(all(test, feature = "loom")))]
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};

#[cfg(all(test, feature = "loom"))]
pub(crate) use loom::sync::{Condvar, Mutex, MutexGuard};

use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Nothing of the user's runs under a lock of ours, so none is left half changed by a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Under loom it is always a millisecond: what is done must be the same each time that it tries an order.
pub(crate) fn elapsed(since: Instant) -> Duration {
    if cfg!(all(test, feature = "loom")) { Duration::from_millis(1) } else { since.elapsed() }
}
