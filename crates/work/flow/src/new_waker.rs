//! Leaving a waker behind a lock.

use std::sync::MutexGuard;
use std::task::{Context, Waker};

/// A waker on its way into a place behind a lock. What user code there is in it, its clone and the drop of the one before, runs outside of
/// the lock.
#[derive(Default)]
pub(crate) struct NewWaker(Option<Waker>);

impl NewWaker {
    /// Puts it into its place, unless one that wakes the same is there. False if it had to be cloned first: the lock was let go for
    /// that, so look again at what you wait for.
    pub(crate) fn put<T>(
        &mut self,
        mut guard: MutexGuard<'_, T>,
        place: impl FnOnce(&mut T) -> &mut Option<Waker>,
        cx: &Context<'_>,
    ) -> bool {
        let place = place(&mut guard);
        if place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            return true;
        }
        if let Some(new) = self.0.take() {
            let old = place.replace(new);
            drop(guard);
            drop(old);
            return true;
        }
        drop(guard);
        self.0 = Some(cx.waker().clone());
        false
    }
}
