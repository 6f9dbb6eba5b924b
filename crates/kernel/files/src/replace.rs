//! A file put in the place of another, all or nothing.
//!
//! The order, whoever writes the bytes: [`Temporary::make`] makes a file beside the old one, with its permissions; the bytes are
//! written; [`Temporary::take_place`] brings them to the disk, renames, and brings the folder to the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::io::Errno;

/// At which step it failed, and why.
pub(crate) struct Stopped {
    pub(crate) step: &'static str,
    pub(crate) error: io::Error,
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self { step: "replace", error }
    }
}

fn at(step: &'static str) -> impl Fn(io::Error) -> Stopped {
    move |error| Stopped { step, error }
}

/// Does it on this thread.
pub(crate) fn replace(target: &Path, bytes: &[u8]) -> Result<(), Stopped> {
    let mut temporary = Temporary::make(target)?;
    temporary.file.write_all(bytes).map_err(at(WRITE))?;
    temporary.take_place(|| true)
}

/// The step that is somebody else's.
pub(crate) const WRITE: &str = "replace: write";

/// The file that is to be the new one. Removed when dropped, unless it has become that; then its bytes are freed, which takes the longer
/// the more there are.
pub(crate) struct Temporary {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    target: PathBuf,
    folder: File,
    is_in_place: bool,
}

impl Temporary {
    /// An empty one beside `target`, with its permissions.
    pub(crate) fn make(target: &Path) -> Result<Self, Stopped> {
        if target.is_dir() {
            return Err(io::Error::from(Errno::ISDIR).into());
        }
        let folder_path = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = File::open(folder_path).map_err(at("replace: open the folder"))?;
        let (file, path) = create_beside(folder_path).map_err(at("replace: make a file beside it"))?;
        let temporary = Self { path, file, target: target.to_owned(), folder, is_in_place: false };
        match fs::metadata(target) {
            Ok(old) => {
                let kept = temporary.file.set_permissions(old.permissions());
                kept.map_err(at("replace: keep its permissions"))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at("replace: look at the old one")(error)),
        }
        Ok(temporary)
    }

    /// Now that it has all its bytes. `may_rename` is asked once, at the last moment at which the old file is as it was.
    pub(crate) fn take_place(mut self, may_rename: impl FnOnce() -> bool) -> Result<(), Stopped> {
        // The new bytes first, then the name: after a crash the name must not lead to half of them.
        self.file.sync_all().map_err(at("replace: bring it to the disk"))?;
        if !may_rename() {
            return Err(io::Error::from(Errno::CANCELED).into());
        }
        fs::rename(&self.path, &self.target).map_err(at("replace: rename"))?;
        self.is_in_place = true;
        let synced = self.folder.sync_all();
        synced.map_err(at("replaced, but the folder could not be brought to the disk"))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.is_in_place {
            // What can't be removed stays; its name says what it is.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn create_beside(folder: &Path) -> io::Result<(File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Relaxed);
        let path = folder.join(format!(".millstream-{}-{number}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            // Left behind by a process of the same number that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}
