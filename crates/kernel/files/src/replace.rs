//! A file put in the place of another, all or nothing.
//!
//! The order, whoever writes the bytes: [`Temporary::make`] makes a file beside the old one that only we may open; the bytes are
//! written; [`Temporary::take_place`] gives it the old one's owner, group and permissions, brings it to the disk, renames, and brings the
//! folder to the disk.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
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
    /// The old one as it was when this was made.
    old: Option<Old>,
    is_in_place: bool,
}

impl Temporary {
    /// An empty one beside `target`.
    pub(crate) fn make(target: &Path) -> Result<Self, Stopped> {
        let old = look_at(target).map_err(at("replace: look at the old one"))?;
        let folder_path = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let folder = File::open(folder_path).map_err(at("replace: open the folder"))?;
        // The kernel gives a new file what new files get there. The bytes of one that has an old one are nobody's until it has its mode:
        // who opens it before keeps it open.
        let mode = if old.is_some() { OURS_ALONE } else { NEW };
        let (file, path) = create_beside(folder_path, mode).map_err(at("replace: make a file beside it"))?;
        Ok(Self { path, file, target: target.to_owned(), folder, old, is_in_place: false })
    }

    /// Now that it has all its bytes. `may_rename` is asked once, at the last moment at which the old file is as it was.
    pub(crate) fn take_place(mut self, may_rename: impl FnOnce() -> bool) -> Result<(), Stopped> {
        // After the bytes: a write takes the set-user-ID bit away.
        if let Some(old) = &self.old {
            keep(&self.file, old).map_err(at("replace: keep its permissions"))?;
        }
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

/// What the new file is to have of the old one.
struct Old {
    owner: u32,
    group: u32,
    mode: u32,
}

impl Old {
    fn new(file: &Metadata, kept: u32) -> Self {
        Self { owner: file.uid(), group: file.gid(), mode: file.mode() & kept }
    }
}

/// The file that is replaced, or that the link leads to which is; `None` where the new one is to be as new files are.
fn look_at(target: &Path) -> io::Result<Option<Old>> {
    let old = match fs::symlink_metadata(target) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let kind = old.file_type();
    if kind.is_symlink() {
        return look_behind(target);
    }
    if kind.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    if !kind.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a regular file nor a link"));
    }
    Ok(Some(Old::new(&old, MODE)))
}

/// What a link leads to, if that is a regular file.
fn look_behind(link: &Path) -> io::Result<Option<Old>> {
    match fs::metadata(link) {
        // Whoever made the link may have no right to a file with such bits here.
        Ok(old) => Ok(old.is_file().then(|| Old::new(&old, RWX))),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Owner and group as far as we may give them, and the permissions that mean the same with those.
fn keep(file: &File, old: &Old) -> io::Result<()> {
    let &Old { owner, group, mode } = old;
    // What became of it is asked below.
    let _ = fchown(file, Some(owner), Some(group)).or_else(|_| fchown(file, None, Some(group)));
    let new = file.metadata()?;
    let is_same = (new.uid(), new.gid()) == (owner, group);
    // Else a program that ran as somebody else would run as us.
    let kept = if is_same { MODE } else { RWX };
    file.set_permissions(Permissions::from_mode(mode & kept))
}

/// The permissions of a file, with and without the bits for set-user-ID, set-group-ID and sticky: inode(7).
const MODE: u32 = 0o7777;
const RWX: u32 = 0o777;
const OURS_ALONE: u32 = 0o600;
/// Before the process's mask.
const NEW: u32 = 0o666;

fn create_beside(folder: &Path, mode: u32) -> io::Result<(File, PathBuf)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Relaxed);
        let path = folder.join(format!(".millstream-{}-{number}.tmp", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
            Ok(file) => return Ok((file, path)),
            // Left behind by a process of the same number that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream_peers::Folder;

    use super::*;

    #[test]
    fn bytes_of_a_secret_file_are_nobodys_before_it_takes_its_place() {
        let folder = Folder::new();
        let path = folder.write("a", "old");
        for mode in [0o600, 0o604, 0o777] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
            let temporary = Temporary::make(&path).unwrap_or_else(|stopped| panic!("{}", stopped.error));
            let mode_of = |file: &File| file.metadata().expect("it is open").mode() & MODE;
            assert_eq!(mode_of(&temporary.file), OURS_ALONE);
            let file = temporary.file.try_clone().expect("it is open");
            temporary.take_place(|| true).unwrap_or_else(|stopped| panic!("{}", stopped.error));
            assert_eq!(mode_of(&file), mode);
        }
    }
}
