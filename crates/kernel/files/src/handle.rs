//! An open file, kept for as long as anything uses it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use millstream_base::{Error, Kind, Origin};
use rustix::io::Errno;

use crate::Files;
use crate::operation::Step;
use crate::replacement::Candidate;
use crate::stats::Stats;

/// An open file. Each operation on it holds one more handle, so it is closed after the last of them.
pub(crate) struct Handle {
    file: fs::File,
    path: PathBuf,
    pub(crate) files: Files,
    /// What the file system can't do without waiting: reads, writes. Learned by trying.
    waits_to_read: AtomicBool,
    waits_to_write: AtomicBool,
    /// What this file is to become, or to be removed: behind the file, which is closed first.
    _candidate: Option<Arc<Candidate>>,
}

impl Handle {
    /// `is_direct` is a file past the page cache: nothing of it is ever in memory.
    pub(crate) fn new(files: Files, file: fs::File, path: PathBuf, is_direct: bool) -> Self {
        let waits = || AtomicBool::new(is_direct);
        Self { file, path, files, waits_to_read: waits(), waits_to_write: waits(), _candidate: None }
    }

    /// One that keeps its candidate.
    pub(crate) fn of_candidate(candidate: Arc<Candidate>, file: fs::File, path: PathBuf) -> Self {
        let files = candidate.files.clone();
        Self { _candidate: Some(candidate), ..Self::new(files, file, path, false) }
    }

    pub(crate) fn file(&self) -> &fs::File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn stats(&self) -> &Stats {
        self.files.stats()
    }

    fn waits(&self, step: &Step<'_>) -> Option<&AtomicBool> {
        match step {
            Step::Read(_) | Step::ReadMany(_) => Some(&self.waits_to_read),
            Step::Write(_) | Step::WriteMany(_) => Some(&self.waits_to_write),
            Step::SyncData | Step::SyncAll => None,
        }
    }

    /// May this be done without waiting, as far as known?
    pub(crate) fn may_try(&self, step: &Step<'_>) -> bool {
        self.waits(step).is_some_and(|waits| !waits.load(Relaxed))
    }

    /// The file system knows no such thing.
    pub(crate) fn learn_waits(&self, step: &Step<'_>) {
        if let Some(waits) = self.waits(step) {
            waits.store(true, Relaxed);
        }
    }
}

/// The error of `what` on the file at `path`.
#[cold]
pub(crate) fn failed(path: &Path, what: impl Into<String>, error: impl Into<std::io::Error>) -> Error {
    let error = match error.into().downcast::<Error>() {
        // Of a panic, which no system call can tell.
        Ok(told) => Error::new(told.kind(), told.origin(), what.into()).with_source(told),
        Err(error) => {
            let is_cancelled = error.raw_os_error() == Some(Errno::CANCELED.raw_os_error());
            let kind = if is_cancelled { Kind::Cancelled } else { Kind::Io };
            Error::new(kind, Origin::Local, what.into()).with_source(error)
        }
    };
    error.with_target(path.to_string_lossy().into_owned())
}
