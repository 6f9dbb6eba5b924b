//! One read, write or sync: what the kernel is to do next, what it said, and whom the answer goes to.
//!
//! Rules:
//! 1. An operation owns its memory and its file from when it is made until the kernel is done with both. Whoever waits for it has
//!    neither: dropping the waiter changes nothing here.
//! 2. Memory that [`Operate::next`] showed is touched by nobody but the kernel until [`Operate::on_result`].
//! 3. An operation answers exactly once, with its memory: by [`Operate::finish`], else when it is dropped.
//! 4. No panic of the user's code leaves an operation: neither that of a buffer that is asked for its memory or dropped, nor a waker's.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use millstream_base::{Error, Kind, Origin, panic_text};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::handle::Handle;
use crate::stats::{Backend, Outcome};

/// What the kernel is to do next.
pub(crate) enum Step<'a> {
    Read(&'a mut [u8]),
    ReadMany(Vec<IoSliceMut<'a>>),
    Write(&'a [u8]),
    WriteMany(Vec<IoSlice<'a>>),
    /// To the disk: the data alone, or what the file system knows of it as well.
    SyncData,
    SyncAll,
}

/// What an operation is about: memory to fill, memory to write, or none.
pub(crate) trait Work: Send + 'static {
    /// Bytes that it is about; 0 for a sync.
    fn size(&mut self) -> usize;

    /// Is there nothing to do at all?
    fn is_nothing(&mut self) -> bool {
        self.size() == 0
    }

    /// What is left to do when so many bytes are done.
    fn step(&mut self, done: usize) -> Step<'_>;
}

/// How it ended, and its memory.
pub(crate) type Answer<W> = (io::Result<usize>, W);

/// How far an operation has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) done: usize,
    size: usize,
    wish: Wish,
}

/// What the caller makes of an error after some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// It is left to the next operation, as `read` and `write` do it.
    Some,
    /// It is told: less than everything is of no use.
    All,
}

impl Progress {
    pub(crate) fn new(size: usize, wish: Wish) -> Self {
        Self { done: 0, size, wish }
    }

    /// The end, if what the kernel said is one: everything done, the end of the file, or an error.
    pub(crate) fn on_result(&mut self, result: Result<usize, Errno>) -> Option<io::Result<usize>> {
        match result {
            Err(Errno::INTR) => return None,
            Ok(0) => return Some(Ok(self.done)),
            Ok(count) => self.done += count,
            Err(_) if self.done > 0 && self.wish == Wish::Some => return Some(Ok(self.done)),
            Err(error) => return Some(Err(error.into())),
        }
        (self.done >= self.size).then_some(Ok(self.done))
    }
}

/// A step, and where.
pub(crate) struct Next<'a> {
    pub(crate) fd: BorrowedFd<'a>,
    pub(crate) offset: u64,
    pub(crate) step: Step<'a>,
}

/// An operation as those see it who carry it out.
pub(crate) trait Operate: Send {
    /// # Errors
    /// When the buffer panics: the operation is to be finished with that.
    fn next(&mut self) -> io::Result<Next<'_>>;

    /// Takes in what became of the step; says how it ends, if it does.
    fn on_result(&mut self, result: Result<usize, Errno>) -> Option<io::Result<usize>>;

    /// Changes who carries it out.
    fn hand_to(&mut self, backend: Backend);

    /// Answers whoever waits, if somebody does.
    fn finish(self: Box<Self>, result: io::Result<usize>);
}

/// Work under way.
pub(crate) struct Operation<W: Work> {
    handle: Arc<Handle>,
    offset: u64,
    progress: Progress,
    backend: Backend,
    /// Until it has answered.
    rest: Option<(W, oneshot::Sender<Answer<W>>)>,
    /// Its place among those in flight, until the kernel is done.
    _place: OwnedSemaphorePermit,
}

impl<W: Work> Operation<W> {
    /// Goes on where `progress` is.
    pub(crate) fn new(
        handle: Arc<Handle>,
        work: W,
        offset: u64,
        progress: Progress,
        backend: Backend,
        place: OwnedSemaphorePermit,
    ) -> (Box<Self>, oneshot::Receiver<Answer<W>>) {
        let (give, take) = oneshot::channel();
        handle.stats().begin();
        let rest = Some((work, give));
        (Box::new(Self { handle, offset, progress, backend, rest, _place: place }), take)
    }

    fn answer(&mut self, result: io::Result<usize>) {
        let Some((work, give)) = self.rest.take() else { return };
        let outcome = match &result {
            _ if give.is_closed() => Outcome::Unwanted,
            Ok(_) => Outcome::Done,
            Err(_) => Outcome::Failed,
        };
        // Before the answer: whoever has it finds it counted.
        self.handle.stats().end(self.backend, outcome);
        // Where nobody waits any more, the memory is dropped here. The waker and that drop are the user's: the panic hook has told what
        // they did, and nobody else waits for it.
        drop(contained(|| drop(give.send((result, work)))));
    }
}

impl<W: Work> Operate for Operation<W> {
    fn next(&mut self) -> io::Result<Next<'_>> {
        let (work, _) = self.rest.as_mut().expect("it is asked only until it has answered");
        let done = self.progress.done;
        let step = contained(move || work.step(done))?;
        Ok(Next { fd: self.handle.file().as_fd(), offset: self.offset + done as u64, step })
    }

    fn on_result(&mut self, result: Result<usize, Errno>) -> Option<io::Result<usize>> {
        self.progress.on_result(result)
    }

    fn hand_to(&mut self, backend: Backend) {
        self.backend = backend;
    }

    fn finish(mut self: Box<Self>, result: io::Result<usize>) {
        self.answer(result);
    }
}

impl<W: Work> Drop for Operation<W> {
    fn drop(&mut self) {
        self.answer(Err(Errno::CANCELED.into()));
    }
}

/// Does a step on this thread.
pub(crate) fn call(next: Next<'_>, flags: ReadWriteFlags) -> Result<usize, Errno> {
    let Next { fd, offset, step } = next;
    match step {
        Step::Read(space) => preadv2(fd, &mut [IoSliceMut::new(space)], offset, flags),
        Step::ReadMany(mut spaces) => preadv2(fd, &mut spaces, offset, flags),
        Step::Write(data) => pwritev2(fd, &[IoSlice::new(data)], offset, flags),
        Step::WriteMany(slices) => pwritev2(fd, &slices, offset, flags),
        Step::SyncData => rustix::fs::fdatasync(fd).map(|()| 0),
        Step::SyncAll => rustix::fs::fsync(fd).map(|()| 0),
    }
}

/// Does all of an operation on this thread, which waits for the disk.
pub(crate) fn work_off(mut operation: Box<dyn Operate>) {
    loop {
        let called = operation.next().map(|next| call(next, ReadWriteFlags::empty()));
        let end = match called {
            Ok(result) => operation.on_result(result),
            Err(panicked) => Some(Err(panicked)),
        };
        if let Some(end) = end {
            return operation.finish(end);
        }
    }
}

/// Calls code of the user's.
///
/// # Errors
/// [`Kind::Panic`] within, with the panic's text, when it panics.
#[inline]
pub(crate) fn contained<T>(call: impl FnOnce() -> T) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let text = panic_text(&*panic).unwrap_or("no text");
        let error = Error::new(Kind::Panic, Origin::Caller, format!("a buffer panicked: {text}"));
        // What was thrown may panic in its own drop.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
            std::mem::forget(again);
        }
        io::Error::other(error)
    })
}
