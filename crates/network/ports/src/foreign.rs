//! Ports of other programs, as they were when somebody looked last.

/// Ports of other programs towards one destination. Those in TIME_WAIT come free by themselves; of the others nothing is known
/// until the next look.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    held: u32,
    /// When the TIME_WAIT among them end, in order.
    ends: Vec<u64>,
}

impl Foreign {
    /// One more: in TIME_WAIT until then, or held by somebody.
    pub(crate) fn add(&mut self, end: Option<u64>) {
        match end {
            Some(end) => self.ends.push(end),
            None => self.held += 1,
        }
    }

    /// To be called when all are in.
    pub(crate) fn sort(&mut self) {
        self.ends.sort_unstable();
    }

    /// How many there are, as far as is known.
    pub(crate) fn at(&self, now: u64) -> u64 {
        u64::from(self.held) + self.ends_after(now).len() as u64
    }

    /// Does somebody hold one?
    pub(crate) fn has_open(&self) -> bool {
        self.held > 0
    }

    /// When those in TIME_WAIT come free, in order.
    pub(crate) fn ends_after(&self, now: u64) -> impl ExactSizeIterator<Item = u64> + '_ {
        self.ends[self.ends.partition_point(|end| *end <= now)..].iter().copied()
    }
}
