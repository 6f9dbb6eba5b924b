//! How a computation learns that nobody wants its output any more.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Asked by a long computation now and then: one load.
///
/// It is set when the caller drops its [`Computing`](crate::Computing), and when the deadline passes.
#[derive(Debug, Default)]
pub struct CancelToken(AtomicBool);

impl CancelToken {
    /// Is the output of no use any more? Once true, always true.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub(crate) fn cancel(&self) {
        self.0.store(true, Relaxed);
    }
}
