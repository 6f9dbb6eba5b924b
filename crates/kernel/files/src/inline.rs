//! What lies in memory, done at once on the caller's thread, with calls that fail rather than wait (`RWF_NOWAIT`).

use std::io;

use rustix::io::{Errno, ReadWriteFlags};

use crate::handle::Handle;
use crate::operation::{Next, Progress, Work, call};

/// Does what can be done without waiting; says how the operation ended, if it did.
///
/// Whatever error comes up, the next backend meets it again and reports it.
#[inline]
pub(crate) fn attempt<W: Work>(
    handle: &Handle,
    work: &mut W,
    offset: u64,
    progress: &mut Progress,
) -> Option<io::Result<usize>> {
    use std::os::fd::AsFd;
    loop {
        let step = work.step(progress.done);
        if !handle.may_try(&step) {
            return None;
        }
        let next = Next { fd: handle.file().as_fd(), offset: offset + progress.done as u64, step };
        match call(next, ReadWriteFlags::NOWAIT) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                handle.learn_waits(&work.step(progress.done));
                return None;
            }
            Err(_) => return None,
            Ok(count) => {
                if let Some(end) = progress.on_result(Ok(count)) {
                    return Some(end);
                }
            }
        }
    }
}

/// Longer operations leave the caller's thread: copying this much takes a worker about 25 µs (10 GB/s, a guess).
pub(crate) const INLINE_BYTES_MOST: usize = 256 * 1024;
