//! How a computation learns that nobody wants its output any more.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Asked by a long computation now and then: two loads. Copies tell the same, also on other threads.
///
/// It is set when the caller drops its [`Computing`](crate::Computing), when the deadline passes, and when the pool ends.
#[derive(Clone, Copy, Debug)]
pub struct CancelToken<'a> {
    own: &'a AtomicBool,
    pool: &'a AtomicBool,
}

impl<'a> CancelToken<'a> {
    pub(crate) fn new(own: &'a AtomicBool, pool: &'a AtomicBool) -> Self {
        Self { own, pool }
    }

    /// Is the output of no use any more? Once true, always true.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.own.load(Relaxed) || self.pool.load(Relaxed)
    }
}
