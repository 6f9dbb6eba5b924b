//! An open file: reads and writes at offsets.

use std::collections::TryReserveError;
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_base::{Error, Limit, Result};
use rustix::io::Errno;

use crate::handle::{Handle, failed};
use crate::inline::{self, INLINE_BYTES_MOST};
use crate::operation::{Operation, Progress, Wish, Work, contained};
use crate::replacement::Candidate;
use crate::stats::{Backend, Outcome};
use crate::work::{Fill, FillMany, Sync, Write, WriteMany};
use crate::{Files, Reader, Writer};

/// An open file, read and written at offsets. Clones are the same open file; it is closed when the last one is dropped and what is
/// under way on it has ended.
///
/// Memory is given to an operation and comes back with its result, also with an error. A dropped future does not stop what the kernel
/// has begun: the memory stays with the operation until its end, and a write may still happen.
///
/// Operations on one file may overtake each other: wait for one before the next where their order matters.
///
/// ```
/// # use millstream_files::Files;
/// # use millstream_runtime::Engine;
/// # let folder = millstream_peers::Folder::new();
/// # let path = folder.path().join("log");
/// # Engine::builder().workers(1).build()?.run(async move |engine| {
/// let file = Files::of(&engine).create(path).await?;
/// let (written, _) = file.write_all_at("a line\n", 0).await;
/// written?;
/// file.sync_data().await?;
/// assert_eq!(file.len().await?, 7);
/// # Ok::<_, millstream_base::Error>(())
/// # })??;
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone)]
pub struct File(Arc<Handle>);

impl File {
    pub(crate) fn new(files: Files, file: std::fs::File, path: PathBuf, is_direct: bool) -> Self {
        Self(Arc::new(Handle::new(files, file, path, is_direct)))
    }

    pub(crate) fn of_candidate(candidate: Arc<Candidate>, file: std::fs::File, path: PathBuf) -> Self {
        Self(Arc::new(Handle::of_candidate(candidate, file, path)))
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Fills all of `buf` from `offset` on; says how many bytes there were, fewer than fit only at the end of the file (or before an
    /// error, which the next read meets).
    ///
    /// Dropping the future changes nothing; `buf` is dropped once the kernel is done with it.
    ///
    /// # Errors
    /// [`Kind::Io`](millstream_base::Kind::Io) with the kernel's error as its source ([`Error::io_kind`]),
    /// [`Kind::Cancelled`](millstream_base::Kind::Cancelled) when the engine has stopped, [`Kind::Panic`](millstream_base::Kind::Panic)
    /// when `buf` panics where it is asked for its memory, which happens again for each step of the operation; some of it may be done
    /// then.
    pub async fn read_at<B>(&self, buf: B, offset: u64) -> (Result<usize>, B)
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        let (result, Fill(buf)) = self.transfer(Fill(buf), offset, Wish::Some).await;
        (self.some("read", offset, result), buf)
    }

    /// As [`read_at`](Self::read_at), but the file's end before the buffer's is an error ([`std::io::ErrorKind::UnexpectedEof`]).
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn read_exact_at<B>(&self, buf: B, offset: u64) -> (Result<()>, B)
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        let (result, Fill(buf)) = self.transfer(Fill(buf), offset, Wish::All).await;
        (self.whole("read", offset, result, io::ErrorKind::UnexpectedEof), buf)
    }

    /// Fills all of `bufs`, one after the other, from `offset` on; says how many bytes there were, as [`read_at`](Self::read_at) does.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn read_vectored_at<B>(&self, bufs: Vec<B>, offset: u64) -> (Result<usize>, Vec<B>)
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        let (result, FillMany(bufs)) = self.transfer(FillMany(bufs), offset, Wish::Some).await;
        (self.some("read", offset, result), bufs)
    }

    /// Writes `buf` at `offset`; says how many bytes were written, fewer than all only before an error, which the next write meets.
    /// The file grows as needed.
    ///
    /// Dropping the future leaves some, all or none of it written; `buf` is dropped once the kernel is done with it.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn write_at<B>(&self, buf: B, offset: u64) -> (Result<usize>, B)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let (result, Write(buf)) = self.transfer(Write(buf), offset, Wish::Some).await;
        (self.some("write", offset, result), buf)
    }

    /// As [`write_at`](Self::write_at), but less than all is an error.
    ///
    /// Dropping the future leaves some, all or none of it written.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at). Some of it may be written then.
    pub async fn write_all_at<B>(&self, buf: B, offset: u64) -> (Result<()>, B)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let (result, Write(buf)) = self.transfer(Write(buf), offset, Wish::All).await;
        (self.whole("write", offset, result, io::ErrorKind::WriteZero), buf)
    }

    /// Writes `bufs`, one after the other, at `offset`; says how many bytes were written, as [`write_at`](Self::write_at) does.
    ///
    /// Dropping the future leaves some, all or none of it written.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn write_vectored_at<B>(&self, bufs: Vec<B>, offset: u64) -> (Result<usize>, Vec<B>)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let (result, WriteMany(bufs)) = self.transfer(WriteMany(bufs), offset, Wish::Some).await;
        (self.some("write", offset, result), bufs)
    }

    /// Brings to the disk what was written, and what is needed to read it again.
    ///
    /// Dropping the future lets that go on.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at). What was written before may be lost then.
    pub async fn sync_data(&self) -> Result<()> {
        self.sync(Sync::Data).await
    }

    /// As [`sync_data`](Self::sync_data), with all that the file system keeps of it: times, permissions.
    ///
    /// Dropping the future lets that go on.
    ///
    /// # Errors
    /// As [`sync_data`](Self::sync_data).
    pub async fn sync_all(&self) -> Result<()> {
        self.sync(Sync::All).await
    }

    async fn sync(&self, what: Sync) -> Result<()> {
        let (result, _) = self.transfer(what, 0, Wish::All).await;
        result.map(drop).map_err(|error| failed(self.path(), "sync", error))
    }

    /// How many bytes it has.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn len(&self) -> Result<u64> {
        Ok(self.metadata().await?.len())
    }

    /// Has it no bytes?
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.len().await? == 0)
    }

    /// What the file system keeps of it.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn metadata(&self) -> Result<std::fs::Metadata> {
        let handle = self.0.clone();
        let called = self.0.files.call(move || handle.file().metadata()).await;
        called.map_err(|error| failed(self.path(), "look at it", error))
    }

    /// Cuts it to this many bytes, or has it grow to them by zeros that take no room.
    ///
    /// Dropping the future does that, or nothing.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub async fn set_len(&self, size: u64) -> Result<()> {
        let handle = self.0.clone();
        let called = self.0.files.call(move || handle.file().set_len(size)).await;
        called.map_err(|error| failed(self.path(), format!("set its length to {size}"), error))
    }

    /// Its bytes in this range in chunks, for a body. To the end of the file, wherever that is then, if the range is open.
    pub fn reader(&self, range: impl RangeBounds<u64>) -> Reader {
        Reader::new(self.clone(), range)
    }

    /// Writes what it is given from `offset` on, in chunks.
    pub fn writer(&self, offset: u64) -> Writer {
        Writer::new(self.clone(), offset)
    }

    pub(crate) async fn read_whole(&self, most: usize) -> Result<Vec<u8>> {
        let len = usize::try_from(self.len().await?).unwrap_or(usize::MAX);
        let limit = Limit::new("a file", most, "bytes");
        limit.check(len).map_err(|error| error.with_target(self.path().to_string_lossy().into_owned()))?;
        let (mut bytes, mut end) = (Vec::new(), 0);
        let no_memory =
            |error: TryReserveError| failed(self.path(), format!("read {len} bytes or more"), error);
        // Address space alone: there is no need to move the bytes later, and what can't ever be there fails at once.
        bytes.try_reserve_exact(len.saturating_add(1)).map_err(no_memory)?;
        loop {
            let size = size_of_step(end, len, most);
            bytes.try_reserve(size).map_err(no_memory)?;
            bytes.resize(end + size, 0);
            let (count, back) = self.read_at(Tail { bytes, begin: end }, end as u64).await;
            bytes = back.bytes;
            let count = count?;
            end += count;
            if count < size {
                bytes.truncate(end);
                return Ok(bytes);
            }
            limit
                .check(end)
                .map_err(|error| error.with_target(self.path().to_string_lossy().into_owned()))?;
        }
    }

    /// At once what can be done so, else in line for whoever may wait for the disk.
    async fn transfer<W: Work>(&self, mut work: W, offset: u64, wish: Wish) -> (io::Result<Moved>, W) {
        // What is done at once must not keep the task from letting others have their turn.
        tokio::task::coop::consume_budget().await;
        let mut size = 0;
        let handle = &*self.0;
        let tried = contained(|| {
            size = work.size();
            let mut progress = Progress::new(size, wish);
            let result = self.at_once(&mut work, offset, size, &mut progress);
            result.ok_or(progress)
        });
        let (result, work) = match tried.unwrap_or_else(|panicked| Ok(Err(panicked))) {
            Ok(result) => {
                let outcome = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
                handle.stats().count(Backend::Inline, outcome);
                (result, work)
            }
            Err(progress) => {
                let (backend, place) = handle.files.place().await;
                let (operation, answer) =
                    Operation::new(self.0.clone(), work, offset, progress, backend, place);
                handle.files.submit(backend, operation);
                answer.await.expect("an operation answers before it is gone")
            }
        };
        (result.map(|count| Moved { count, size }), work)
    }

    /// What needs no waiting, or makes no sense.
    #[inline]
    fn at_once<W: Work>(
        &self,
        work: &mut W,
        offset: u64,
        size: usize,
        progress: &mut Progress,
    ) -> Option<io::Result<usize>> {
        let handle = &*self.0;
        let is_transfer = size > 0;
        if offset > OFFSET_MOST {
            Some(Err(Errno::INVAL.into()))
        } else if is_transfer && size <= INLINE_BYTES_MOST && handle.files.is_inline() {
            inline::attempt(handle, work, offset, progress)
        } else if work.is_nothing() {
            Some(Ok(0))
        } else {
            None
        }
    }

    #[cold]
    fn failed(&self, what: &str, offset: u64, error: impl Into<io::Error>) -> Error {
        failed(self.path(), format!("{what} at {offset}"), error)
    }

    fn some(&self, what: &str, offset: u64, result: io::Result<Moved>) -> Result<usize> {
        result.map(|moved| moved.count).map_err(|error| self.failed(what, offset, error))
    }

    fn whole(&self, what: &str, offset: u64, result: io::Result<Moved>, short: io::ErrorKind) -> Result<()> {
        match result {
            Ok(Moved { count, size }) if count >= size => Ok(()),
            Ok(Moved { count, size }) => Err(self.failed(
                &format!("{what} of {size} bytes, of which there were {count},"),
                offset,
                short,
            )),
            Err(error) => Err(self.failed(what, offset, error)),
        }
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("File").field(&self.path()).finish()
    }
}

/// So many bytes, of so many.
struct Moved {
    count: usize,
    size: usize,
}

/// How many bytes are asked for behind `end` of a file that said it has `len`, and of which at most so many are wanted.
fn size_of_step(end: usize, len: usize, most: usize) -> usize {
    match len.checked_sub(end) {
        // One byte more than it has: its end is seen by the same read.
        Some(left) => end.max(STEP_BYTES).min(left.saturating_add(1)),
        // Files of /proc have no length, and some grow.
        None => end.max(GROW_BYTES_LEAST).min((most - end).saturating_add(1)),
    }
}

/// The bytes of a vector from somewhere on.
struct Tail {
    bytes: Vec<u8>,
    begin: usize,
}

impl AsMut<[u8]> for Tail {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.begin..]
    }
}

/// The kernel's offsets are signed.
const OFFSET_MOST: u64 = i64::MAX.cast_unsigned();
/// What a file is asked for first: shorter ones are read at once, and no more memory than this is written to for a length that is not true. A
/// guess.
const STEP_BYTES: usize = 256 * 1024 * 1024;
/// What a file that has no length is asked for next: a guess, most of them are shorter.
const GROW_BYTES_LEAST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_file_is_read_in_few_steps_none_of_them_larger_than_what_was_read() {
        const MIB: usize = 1024 * 1024;
        for (len, most, steps) in [
            (0, 0, &[1][..]),
            (1000, 1000, &[1001]),
            (STEP_BYTES - 1, usize::MAX, &[STEP_BYTES]),
            (STEP_BYTES, usize::MAX, &[STEP_BYTES, 1]),
            (1000 * MIB, 2000 * MIB, &[256 * MIB, 256 * MIB, 488 * MIB + 1, 1000 * MIB]),
            // These grow, or told no length.
            (0, usize::MAX, &[1, 4096, 4097, 8194]),
            (0, 5000, &[1, 4096, 904]),
            (1000, 1005, &[1001, 5]),
        ] {
            let mut end = 0;
            for &step in steps {
                assert_eq!(size_of_step(end, len, most), step, "at {end} of {len}, {most} at most");
                end += step;
            }
        }
        assert_eq!(size_of_step(0, usize::MAX, usize::MAX), STEP_BYTES);
    }
}
