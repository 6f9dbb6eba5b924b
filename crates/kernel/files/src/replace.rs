//! A file put in the place of another, all or nothing.

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

/// Does it on this thread.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Stopped> {
    let fail = |step| move |error| Stopped { step, error };
    if path.is_dir() {
        return Err(io::Error::from(Errno::ISDIR).into());
    }
    let folder_path = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = File::open(folder_path).map_err(fail("replace: open the folder"))?;
    let (mut file, temporary) =
        Temporary::make(folder_path).map_err(fail("replace: make a file beside it"))?;
    match fs::metadata(path) {
        Ok(old) => file.set_permissions(old.permissions()).map_err(fail("replace: keep its permissions"))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail("replace: look at the old one")(error)),
    }
    file.write_all(bytes).map_err(fail("replace: write"))?;
    // The new bytes first, then the name: after a crash the name must not lead to half of them.
    file.sync_all().map_err(fail("replace: bring it to the disk"))?;
    temporary.become_file(path).map_err(fail("replace: rename"))?;
    folder.sync_all().map_err(fail("replaced, but the folder could not be brought to the disk"))
}

/// The file that is to be the new one. Removed when dropped, unless it has become that.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn make(folder: &Path) -> io::Result<(File, Self)> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Relaxed);
            let path = folder.join(format!(".millstream-{}-{number}.tmp", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((file, Self(Some(path)))),
                // Left behind by a process of the same number that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn become_file(mut self, path: &Path) -> io::Result<()> {
        self.0.iter().try_for_each(|temporary| fs::rename(temporary, path))?;
        self.0 = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What can't be removed stays; its name says what it is.
        self.0.iter().for_each(|temporary| drop(fs::remove_file(temporary)));
    }
}
