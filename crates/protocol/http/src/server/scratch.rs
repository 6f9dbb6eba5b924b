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
        out.extend_from_slice(b"Date: ");
        clock.cache.write(out, clock.seconds);
        out.extend_from_slice(b"\r\n");
    });
}

/// The second of the wall clock, asked for once a second.
struct WallClock {
    seconds: u64,
    until: Option<Instant>,
    cache: DateCache,
}

impl WallClock {
    fn new() -> Self {
        Self { seconds: 0, until: None, cache: DateCache::new() }
    }

    #[inline]
    fn turn_to(&mut self, now: Instant) {
        if self.until.is_some_and(|until| now < until) {
            return;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.seconds = since.as_secs();
        self.until = Some(now + Duration::from_nanos(1_000_000_000 - u64::from(since.subsec_nanos())));
    }
}
