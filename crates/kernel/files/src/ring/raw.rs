//! The one module that speaks to io_uring, and so the one with `unsafe`.
//!
//! Rules:
//! 1. An operation lies in `flights` from before its first entry is made until after the completion of its last. Nothing else can reach
//!    it there, and it is in a box of its own, so that neither it nor its memory moves when `flights` grows.
//! 2. While an entry of it is queued or in the kernel, nothing of a flight is touched: `next` is called only when there is no entry,
//!    and what it shows is handed to the kernel as it is. `vectors` stay as they are from `entry` to the completion.
//! 3. A ring is dropped only when no entry is in the kernel; where that can't be reached, ring and flights are leaked instead.

use std::collections::VecDeque;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering::SeqCst, fence};

use io_uring::{IoUring, Probe, opcode, squeue, types};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use slab::Slab;

use crate::operation::{Next, Operate, Step};

/// A ring, and the operations in its hands.
pub(super) struct Ring {
    ring: ManuallyDrop<IoUring>,
    flights: ManuallyDrop<Slab<Flight>>,
    /// Those whose next entry is to be made.
    queue: VecDeque<usize>,
    /// Those whose buffers panicked when they were asked for the next entry: for the next turn to take.
    broken: Vec<Landed>,
    /// So many of them are handed over before the next turn.
    early: usize,
    /// Signalled by the kernel with completions.
    event: OwnedFd,
}

struct Flight {
    operation: Box<dyn Operate>,
    /// What the entry points to when its memory is in several pieces.
    vectors: Vec<Vector>,
}

/// A piece of memory as the kernel knows it: `struct iovec`.
#[repr(C)]
struct Vector {
    base: *const u8,
    size: usize,
}

/// An operation that has left the ring.
pub(super) struct Landed {
    pub(super) operation: Box<dyn Operate>,
    /// `None`: the ring can't do this without waiting where it must not, others have to.
    pub(super) end: Option<io::Result<usize>>,
}

impl Ring {
    /// A ring of this thread's own, for so many operations at once.
    ///
    /// # Errors
    /// When the kernel has none, forbids it, or has no memory for it.
    pub(super) fn new(in_flight: u32) -> io::Result<Self> {
        let ring = build(in_flight)?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        let flights = ManuallyDrop::new(Slab::new());
        let ring = ManuallyDrop::new(ring);
        Ok(Self { ring, flights, queue: VecDeque::new(), broken: Vec::new(), early: 1, event })
    }

    /// What becomes readable with completions.
    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.broken.is_empty()
    }

    /// Has the kernel signal completions from here on. False if there is something to do already: have a turn instead.
    pub(super) fn rest(&mut self) -> bool {
        self.ring.completion().enable_eventfd();
        // A completion is signalled, or seen here: the kernel notes it before it looks at what was just enabled.
        fence(SeqCst);
        let has_more = self.has_news() || !self.ring.completion().is_empty();
        self.queue.is_empty() && !has_more
    }

    /// Is there something that only a call to the kernel gets done?
    fn has_news(&mut self) -> bool {
        let submission = self.ring.submission();
        !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    /// Takes an operation in. The kernel is told of the first after a turn at once, of the next two together, the next four, and so on: the
    /// disk begins early and has something to do always, for few calls. The next turn tells of the rest.
    ///
    /// Measured with 64 reads in flight and a disk that ends them in crowds: 12 % more reads a second than by telling each turn, for 7 %
    /// more CPU; telling of each at once takes a third more CPU and reads no more.
    pub(super) fn push(&mut self, operation: Box<dyn Operate>) {
        let key = self.flights.insert(Flight { operation, vectors: Vec::new() });
        self.queue.push_back(key);
        if self.queue.len() >= self.early {
            self.early = (self.early * 2).min(ENTRIES as usize);
            self.fill();
            self.ring.completion().disable_eventfd();
            // What the kernel does not take now waits for the next turn.
            let _ = self.ring.submit();
        }
    }

    /// Tells the kernel what is new, and takes from it what has ended.
    ///
    /// # Errors
    /// When the kernel takes nothing at present; all stays as it is then, for the next turn.
    pub(super) fn turn(&mut self, landed: &mut Vec<Landed>) -> io::Result<()> {
        self.ring.completion().disable_eventfd();
        self.early = 1;
        loop {
            self.fill();
            landed.append(&mut self.broken);
            if self.has_news() {
                self.ring.submit()?;
            }
            self.reap(landed);
            if self.queue.is_empty() {
                return Ok(());
            }
        }
    }

    /// Makes entries, as many as there is room for.
    fn fill(&mut self) {
        let mut submission = self.ring.submission();
        while !submission.is_full()
            && let Some(key) = self.queue.pop_front()
        {
            let Some(flight) = self.flights.get_mut(key) else { continue };
            let entry = match flight.entry() {
                Ok(entry) => entry.user_data(key as u64),
                Err(panicked) => {
                    // It has no entry: nobody but us has it.
                    let operation = self.flights.remove(key).operation;
                    self.broken.push(Landed { operation, end: Some(Err(panicked)) });
                    continue;
                }
            };
            // SAFETY: what the entry points to lives and is left alone until its completion: rules 1 and 2. The ring does not go
            // away before: rule 3.
            #[allow(unsafe_code)]
            let pushed = unsafe { submission.push(&entry) };
            if pushed.is_err() {
                self.queue.push_front(key);
                break;
            }
        }
    }

    fn reap(&mut self, landed: &mut Vec<Landed>) {
        for completion in self.ring.completion() {
            let key = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
            let Some(flight) = self.flights.get_mut(key) else { continue };
            let result = match completion.result() {
                count @ 0.. => Ok(count.cast_unsigned() as usize),
                error => Err(Errno::from_raw_os_error(-error)),
            };
            let end = match result {
                Err(Errno::AGAIN) => None,
                result => match flight.operation.on_result(result) {
                    Some(end) => Some(end),
                    None => {
                        self.queue.push_back(key);
                        continue;
                    }
                },
            };
            landed.push(Landed { operation: self.flights.remove(key).operation, end });
        }
    }

    /// Cancels what can be cancelled and waits for the rest, so that no memory is in the kernel's hands any more.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    fn settle(&mut self) -> io::Result<()> {
        let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build().user_data(u64::MAX);
        // SAFETY: the entry points to nothing. Without room for it nothing is cancelled, and all is waited for.
        #[allow(unsafe_code)]
        let _ = unsafe { self.ring.submission().push(&cancel) };
        for Landed { operation, end } in self.broken.drain(..) {
            operation.finish(end.unwrap_or_else(|| Err(Errno::CANCELED.into())));
        }
        loop {
            // What has no entry is in nobody's hands.
            for key in self.queue.drain(..) {
                if self.flights.contains(key) {
                    self.flights.remove(key).operation.finish(Err(Errno::CANCELED.into()));
                }
            }
            if self.flights.is_empty() {
                return Ok(());
            }
            match self.ring.submit_and_wait(1) {
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ResourceBusy) => {}
                Err(error) => return Err(error),
            }
            let mut landed = Vec::new();
            self.reap(&mut landed);
            for Landed { operation, end } in landed {
                operation.finish(end.unwrap_or_else(|| Err(Errno::CANCELED.into())));
            }
        }
    }
}

impl Drop for Ring {
    /// Waits for the disk. The thread's end would wait just so: the kernel lets no thread go that has requests under way.
    fn drop(&mut self) {
        if let Err(error) = self.settle() {
            tracing::error!(%error, "memory of file operations is leaked: the ring can't be waited for");
            return;
        }
        // SAFETY: neither is used after this, and both are dropped once: rule 3.
        #[allow(unsafe_code)]
        unsafe {
            ManuallyDrop::drop(&mut self.ring);
            ManuallyDrop::drop(&mut self.flights);
        }
    }
}

impl Flight {
    /// The entry for what is to be done next.
    ///
    /// # Errors
    /// When the buffer panics.
    fn entry(&mut self) -> io::Result<squeue::Entry> {
        let Next { fd, offset, step } = self.operation.next()?;
        let fd = types::Fd(fd.as_raw_fd());
        let entry = match step {
            Step::Read(space) => {
                let size = space.len().min(STEP_BYTES_MOST);
                opcode::Read::new(fd, space.as_mut_ptr(), size as u32).offset(offset).build()
            }
            Step::Write(data) => {
                let size = data.len().min(STEP_BYTES_MOST);
                opcode::Write::new(fd, data.as_ptr(), size as u32).offset(offset).build()
            }
            Step::ReadMany(mut spaces) => {
                self.vectors =
                    vectors(spaces.iter_mut().map(|space| (space.as_mut_ptr().cast_const(), space.len())));
                opcode::Readv::new(fd, self.vectors.as_ptr().cast(), self.vectors.len() as u32)
                    .offset(offset)
                    .build()
            }
            Step::WriteMany(slices) => {
                self.vectors = vectors(slices.iter().map(|slice| (slice.as_ptr(), slice.len())));
                opcode::Writev::new(fd, self.vectors.as_ptr().cast(), self.vectors.len() as u32)
                    .offset(offset)
                    .build()
            }
            Step::SyncData => opcode::Fsync::new(fd).flags(types::FsyncFlags::DATASYNC).build(),
            Step::SyncAll => opcode::Fsync::new(fd).build(),
        };
        Ok(entry)
    }
}

/// The pieces, up to the size of a step.
fn vectors(pieces: impl Iterator<Item = (*const u8, usize)>) -> Vec<Vector> {
    let mut left = STEP_BYTES_MOST;
    let fitting = pieces.map_while(|(base, size)| {
        let size = size.min(left);
        left -= size;
        (size > 0).then_some(Vector { base, size })
    });
    fitting.collect()
}

/// Has the kernel a ring with all that is needed? Makes one and drops it.
///
/// # Errors
/// What it lacks.
pub(super) fn probe() -> io::Result<()> {
    let ring = build(PROBE_IN_FLIGHT)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let needed = [
        opcode::Read::CODE,
        opcode::Readv::CODE,
        opcode::Write::CODE,
        opcode::Writev::CODE,
        opcode::Fsync::CODE,
        opcode::AsyncCancel::CODE,
    ];
    // Linux 5.11. Without `nodrop` completions may be lost; before 5.8 there is no word in the ring by which signals are turned off.
    let params = ring.params();
    if !params.is_feature_nodrop()
        || !params.is_feature_ext_arg()
        || !needed.iter().all(|&code| probe.is_supported(code))
    {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel's io_uring is too old"));
    }
    Ok(())
}

/// Completions are collected when the thread asks for them, not by interrupting it (Linux 6.1); else as older kernels do it.
fn build(in_flight: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.dontfork().setup_clamp().setup_cqsize(in_flight.max(ENTRIES).next_power_of_two());
    let plain = builder.clone();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    builder.build(ENTRIES).or_else(|error| match error.kind() {
        io::ErrorKind::InvalidInput => plain.build(ENTRIES),
        _ => Err(error),
    })
}

/// Entries that one call hands over: as many new operations as a turn of a busy worker has; more take one more call.
const ENTRIES: u32 = 128;
const PROBE_IN_FLIGHT: u32 = 1;
/// Longer operations go in steps of this, so that the kernel, which copies on this thread what lies in memory, does not keep it from other
/// work: 1 MiB is copied in about 100 µs (10 GB/s, a guess).
const STEP_BYTES_MOST: usize = 1024 * 1024;
