//! How many sessions are in the last tenth of their lifetime: each of them wants a successor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The last part of a lifetime in which a successor is wanted: twice as long as that in which a session is
/// [ending](crate::Lent::is_ending), so that the successor is there before.
pub(crate) const ENDING_PART: u32 = 10;

/// The count of one bucket. A std atomic also under loom: it decides nothing in the pool.
#[derive(Debug, Default)]
pub(crate) struct Ending(Arc<AtomicUsize>);

/// One session that is counted, until it is dropped.
#[derive(Debug)]
pub(crate) struct Mark(Arc<AtomicUsize>);

impl Ending {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }

    pub(crate) fn mark(&self) -> Mark {
        self.0.fetch_add(1, Relaxed);
        Mark(Arc::clone(&self.0))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
