//! How long a flow's computations follow each other on one thread before the queue's other jobs get their turn.

use std::time::{Duration, Instant};

/// As long as a turn of a queue may last.
const SLICE: Duration = Duration::from_micros(100);
/// The clock is looked at after 1, 2, 4, ... computations, and each so many.
const LOOK_EVERY: u32 = 64;

/// A thread's slice of time.
pub(crate) struct Slice {
    begun: Instant,
    ran: u32,
    look_at: u32,
}

impl Slice {
    pub(crate) fn begin() -> Self {
        Self { begun: Instant::now(), ran: 0, look_at: 1 }
    }

    /// One computation more has run. Is it others' turn?
    pub(crate) fn is_over(&mut self) -> bool {
        self.ran += 1;
        if self.ran < self.look_at {
            return false;
        }
        self.look_at = self.look_at.saturating_add(self.look_at.min(LOOK_EVERY));
        self.begun.elapsed() > SLICE
    }
}
