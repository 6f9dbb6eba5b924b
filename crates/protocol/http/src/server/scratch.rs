//! Buffers of a worker that its connections use in turn, so that an idle connection holds none.
//!
//! A buffer is taken out while it is used and put back afterwards: no borrow is held while user code runs, and a
//! connection that still needs one at the end of its turn simply keeps it.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::codec::DateCache;

/// One read of a socket. Larger than what usually lies there, so that a read that does not fill it tells the reactor
/// that nothing is left and saves a syscall.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// An output buffer larger than this is not kept.
const KEPT_OUTPUT: usize = 256 * 1024;

thread_local! {
    static INPUT: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static OUTPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static CLOCK: RefCell<WallClock> = RefCell::new(WallClock::new());
}

/// The worker's read buffer, or a new one should another connection be reading this very moment.
#[inline]
pub(crate) fn take_input() -> Box<[u8]> {
    INPUT.take().unwrap_or_else(|| vec![0; READ_BYTES].into_boxed_slice())
}

#[inline]
pub(crate) fn put_input(buffer: Box<[u8]>) {
    INPUT.set(Some(buffer));
}

/// The worker's write buffer, empty.
#[inline]
pub(crate) fn take_output() -> Vec<u8> {
    OUTPUT.take()
}

#[inline]
pub(crate) fn put_output(mut buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_OUTPUT {
        buffer.clear();
        OUTPUT.set(buffer);
    }
}

/// Appends the Date field of this second.
#[inline]
pub(crate) fn write_date(out: &mut Vec<u8>, now: Instant) {
    CLOCK.with_borrow_mut(|clock| {
        clock.turn_to(now);
        out.extend_from_slice(&clock.block[..DATE_LINE_BYTES]);
    });
}

/// Appends the Date field of this second, and what a kept connection announces: one copy.
#[inline]
pub(crate) fn write_date_and_keep_alive(out: &mut Vec<u8>, now: Instant, idle_seconds: u64) {
    CLOCK.with_borrow_mut(|clock| {
        clock.turn_to(now);
        if clock.idle_seconds != idle_seconds {
            clock.announce(idle_seconds);
        }
        out.extend_from_slice(&clock.block);
    });
}

/// A number that changes when the Date does.
#[inline]
pub(crate) fn second_of(now: Instant) -> u64 {
    CLOCK.with_borrow_mut(|clock| {
        clock.turn_to(now);
        clock.refreshed
    })
}

/// `Date: ` with 29 bytes and CRLF.
const DATE_LINE_BYTES: usize = 37;

/// The second of the wall clock, asked for once a second, and the lines that hold for it.
struct WallClock {
    until: Option<Instant>,
    /// How often it was asked for.
    refreshed: u64,
    cache: DateCache,
    idle_seconds: u64,
    /// The Date line, then the lines of a kept connection.
    block: Vec<u8>,
}

impl WallClock {
    fn new() -> Self {
        Self { until: None, refreshed: 0, cache: DateCache::new(), idle_seconds: 0, block: Vec::new() }
    }

    #[inline]
    fn turn_to(&mut self, now: Instant) {
        if self.until.is_none_or(|until| now >= until) {
            self.refresh(now);
        }
    }

    #[cold]
    fn refresh(&mut self, now: Instant) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.until = Some(now + Duration::from_nanos(1_000_000_000 - u64::from(since.subsec_nanos())));
        self.refreshed += 1;
        self.block.clear();
        self.block.extend_from_slice(b"Date: ");
        self.cache.write(&mut self.block, since.as_secs());
        self.block.extend_from_slice(b"\r\n");
        debug_assert_eq!(self.block.len(), DATE_LINE_BYTES);
        self.announce(self.idle_seconds);
    }

    #[cold]
    fn announce(&mut self, idle_seconds: u64) {
        self.idle_seconds = idle_seconds;
        self.block.truncate(DATE_LINE_BYTES);
        let lines = format!("Connection: keep-alive\r\nKeep-Alive: timeout={idle_seconds}\r\n");
        self.block.extend_from_slice(lines.as_bytes());
    }
}
