//! A file written in chunks that takes the place of another when it is finished.
//!
//! Rules:
//! 1. A [`Candidate`] is kept by its [`Replacement`], by the open file, and with that by each operation on it. So it is removed after the
//!    kernel is done with the last write: to remove a name waits for a write to that file, and everybody in the folder waits with it.
//! 2. Whoever settles it first decides: the thread that is about to rename, or the drop of a [`Replacement`] or of what finishes it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use millstream_base::{Error, Result};
use rustix::io::Errno;

use crate::files::run_on_thread;
use crate::handle::failed;
use crate::replace::{Stopped, Temporary, WRITE};
use crate::{File, Files, Writer};

/// A new file for a path, written in chunks: small pieces are gathered to 64 KiB, larger ones are written as they are. Call
/// [`finish`](Self::finish): until then whoever opens the path finds what was there before.
///
/// Dropping it at any time, also while a write is under way, leaves the old file as it was. The temporary file is removed soon after, by
/// a thread for calls that block, once the kernel is done with that write. An engine that ends waits for this; where it has ended, it is
/// removed at once. It stays behind only if the process is killed first; its name, `.millstream-*.tmp`, says what it is.
///
/// ```
/// # use millstream_files::Files;
/// # use millstream_runtime::Engine;
/// # let folder = millstream_peers::Folder::new();
/// # let path = folder.write("page", "old");
/// # Engine::builder().workers(1).build()?.run(async move |engine| {
/// let files = Files::of(&engine);
/// let mut page = files.replacement(&path).await?;
/// for chunk in ["what ", "comes ", "in"] {
///     page.write(chunk.into()).await?;
/// }
/// assert_eq!(files.read(&path, 100).await?, b"old");
/// assert_eq!(page.finish().await?, 13);
/// assert_eq!(files.read(&path, 100).await?, b"what comes in");
/// # Ok::<_, millstream_base::Error>(())
/// # })??;
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub struct Replacement {
    target: PathBuf,
    writer: Writer,
    wanted: Wanted,
}

impl Replacement {
    pub(crate) async fn begin(files: &Files, target: PathBuf) -> Result<Self> {
        let (given, its) = (target.clone(), files.clone());
        match files.call(move || Candidate::make(its, &given)).await {
            Ok((candidate, file, path)) => {
                let file = File::of_candidate(candidate.clone(), file, path);
                Ok(Self { target, writer: file.writer(0), wanted: Wanted(candidate) })
            }
            Err(Stopped { step, error }) => Err(failed(&target, step, error)),
        }
    }

    /// Takes bytes in; writes when there are enough.
    ///
    /// Dropping the future while it writes leaves nobody knowing what was written: neither `write` nor [`finish`](Self::finish) succeeds
    /// after that.
    ///
    /// # Errors
    /// As [`File::write_all_at`]; [`Kind::Cancelled`](millstream_base::Kind::Cancelled) after a write that failed or was dropped.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.writer.write(bytes).await.map_err(|error| unwritten(&self.target, error))
    }

    /// Writes the rest, brings the file to the disk, gives it its name, brings the folder to the disk; says how many bytes it has. All
    /// but the first of these happen on one thread, whatever the backend.
    ///
    /// Dropping the future leaves the old file as it was, unless the renaming has begun: then the new one takes its place.
    ///
    /// # Errors
    /// As [`write`](Self::write). The old file is as it was, unless the error says that only the folder could not be brought to the disk.
    pub async fn finish(self) -> Result<u64> {
        let Self { target, writer, wanted } = self;
        let size = writer.finish().await.map_err(|error| unwritten(&target, error))?;
        let candidate = wanted.0.clone();
        let replaced = wanted.0.files.call(move || candidate.take_place()).await;
        replaced.map_err(|Stopped { step, error }| failed(&target, step, error))?;
        Ok(size)
    }
}

impl std::fmt::Debug for Replacement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replacement").field("target", &self.target).finish_non_exhaustive()
    }
}

#[cold]
fn unwritten(target: &Path, error: Error) -> Error {
    let target = target.to_string_lossy().into_owned();
    Error::new(error.kind(), error.origin(), WRITE).with_target(target).with_source(error)
}

/// Somebody wants the candidate to take its place, until this is dropped.
struct Wanted(Arc<Candidate>);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// The temporary file, until it takes its place or nobody uses it any more.
pub(crate) struct Candidate {
    pub(crate) files: Files,
    temporary: Mutex<Option<Temporary>>,
    is_settled: AtomicBool,
}

impl Candidate {
    /// One beside `target`, opened, and where it is.
    fn make(files: Files, target: &Path) -> Result<(Arc<Self>, fs::File, PathBuf), Stopped> {
        let temporary = Temporary::make(target)?;
        // Closed before the other, which is closed by the thread that removes it.
        let (file, path) = (temporary.file.try_clone()?, temporary.path.clone());
        let temporary = Mutex::new(Some(temporary));
        Ok((Arc::new(Self { files, temporary, is_settled: AtomicBool::new(false) }), file, path))
    }

    fn take_place(&self) -> Result<(), Stopped> {
        let temporary = self.temporary.lock().unwrap_or_else(PoisonError::into_inner).take();
        let given_up = || std::io::Error::from(Errno::CANCELED);
        let wanted = temporary.filter(|_| !self.is_settled.load(Relaxed)).ok_or_else(given_up)?;
        wanted.take_place(|| self.settle())
    }

    /// Is this the first time?
    fn settle(&self) -> bool {
        !self.is_settled.swap(true, Relaxed)
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let temporary = self.temporary.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if temporary.is_some() {
            run_on_thread(Some(self.files.worker()), move || drop(temporary));
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_peers::{Folder, eventually};
    use millstream_runtime::Engine;

    use super::*;

    fn made(files: &Files, folder: &Folder) -> (Arc<Candidate>, File, PathBuf) {
        let made = Candidate::make(files.clone(), &folder.write("a", "old"));
        let (candidate, file, path) = made.unwrap_or_else(|stopped| panic!("{}", stopped.error));
        (candidate.clone(), File::of_candidate(candidate, file, path.clone()), path)
    }

    #[test]
    fn temporary_is_there_as_long_as_an_operation_is_under_way() {
        let engine = Engine::builder().workers(1).build().expect("threads can be started");
        let (folder, files) = (Folder::new(), Files::of(&engine));
        let (candidate, file, path) = made(&files, &folder);
        // An operation keeps the file as a clone does.
        let (kept, weak) = (file.clone(), Arc::downgrade(&candidate));
        drop((Wanted(candidate), file));
        assert!(weak.strong_count() == 1 && path.exists());
        drop(kept);
        eventually("it is removed", || !path.exists());
    }

    #[test]
    fn candidate_given_up_does_not_take_its_place() {
        let engine = Engine::builder().workers(1).build().expect("threads can be started");
        let (folder, files) = (Folder::new(), Files::of(&engine));
        let (candidate, _file, path) = made(&files, &folder);
        drop(Wanted(candidate.clone()));
        assert!(candidate.take_place().is_err());
        let (candidate, _file, other) = made(&files, &folder);
        let temporary = candidate.temporary.lock().expect("nobody panicked").take().expect("it is there");
        // Given up while its bytes were brought to the disk.
        drop(Wanted(candidate.clone()));
        assert!(temporary.take_place(|| candidate.settle()).is_err());
        assert!(!path.exists() && !other.exists());
        assert_eq!(fs::read(folder.path().join("a")).expect("it is there"), b"old");
    }

    #[test]
    fn candidate_that_takes_its_place_can_t_be_given_up() {
        let engine = Engine::builder().workers(1).build().expect("threads can be started");
        let (folder, files) = (Folder::new(), Files::of(&engine));
        let (candidate, file, path) = made(&files, &folder);
        assert!(candidate.take_place().is_ok());
        // Somebody else's by now.
        fs::write(&path, "").expect("the folder is ours");
        drop((Wanted(candidate), file, engine));
        assert!(path.exists());
        assert_eq!(fs::read(folder.path().join("a")).expect("it is there"), b"");
    }
}
