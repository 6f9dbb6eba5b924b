//! Opening below a directory, and never outside of it.
//!
//! Two ways that agree, both safe against a link that is changed while we look at it:
//! - `openat2` with `RESOLVE_BENEATH` (Linux 5.6): the kernel refuses every step that leaves the root, and with
//!   `RESOLVE_CACHED` (5.12) it says at once whether the answer needs the disk;
//! - a walk, one directory at a time without following links, reading each link ourselves: for older kernels and for
//!   sandboxes that don't know `openat2`.
//!
//! Links within the root are followed when they are relative and stay below it; absolute ones are refused, also those
//! that point back inside.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;

/// A directory below which files are opened.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    way: Way,
    opened: Mutex<Opened>,
}

/// The root as it was when we last looked.
#[derive(Debug)]
struct Opened {
    directory: Arc<OwnedFd>,
    looked: Instant,
}

/// How names are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the kernel.
    Beneath,
    /// By us, step by step.
    Walk,
}

/// How far an attempt may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only what is in memory; [`Errno::AGAIN`] when that is not enough. For workers.
    Memory,
    /// The disk too, which may take long. For the blocking pool.
    Disk,
}

impl Root {
    pub(crate) fn open(path: PathBuf) -> Result<Self, Errno> {
        let directory = openat(CWD, &path, DIRECTORY, Mode::empty())?;
        let probe = openat2(&directory, ".", DIRECTORY, Mode::empty(), BENEATH);
        let way = if probe.is_ok() { Way::Beneath } else { Way::Walk };
        Ok(Self {
            path,
            way,
            opened: Mutex::new(Opened { directory: Arc::new(directory), looked: Instant::now() }),
        })
    }

    /// The same root, resolved in this way whatever the kernel can.
    #[cfg(test)]
    pub(crate) fn with_way(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    /// Opens what lies at this path below the root, to read; empty is the root itself.
    pub(crate) fn file(&self, path: &str, reach: Reach) -> Result<OwnedFd, Errno> {
        self.resolve(path, READ, reach)
    }

    /// Opens it only to ask what it is.
    pub(crate) fn entry(&self, path: &str) -> Result<OwnedFd, Errno> {
        self.resolve(path, OFlags::PATH.union(OFlags::CLOEXEC), Reach::Disk)
    }

    fn resolve(&self, path: &str, flags: OFlags, reach: Reach) -> Result<OwnedFd, Errno> {
        let directory = self.directory(reach)?;
        let path = if path.is_empty() { "." } else { path };
        match (self.way, reach) {
            (Way::Beneath, Reach::Memory) => {
                openat2(&directory, path, flags, Mode::empty(), BENEATH.union(ResolveFlags::CACHED))
            }
            (Way::Beneath, Reach::Disk) => {
                let open = || openat2(&directory, path, flags, Mode::empty(), BENEATH);
                // A rename somewhere may have made the kernel unsure; it asks to try again.
                (1..TRIES)
                    .map(|_| open())
                    .find(|result| !matches!(result, Err(Errno::AGAIN)))
                    .unwrap_or_else(open)
            }
            (Way::Walk, Reach::Memory) => Err(Errno::AGAIN),
            (Way::Walk, Reach::Disk) => walk(directory, path, flags),
        }
    }

    /// The root itself. It is looked for anew now and then: a deployment may have put another in its place.
    fn directory(&self, reach: Reach) -> Result<Arc<OwnedFd>, Errno> {
        let now = Instant::now();
        {
            let opened = self.lock();
            if now.saturating_duration_since(opened.looked) < LOOK_EVERY {
                return Ok(opened.directory.clone());
            }
        }
        if reach == Reach::Memory {
            return Err(Errno::AGAIN);
        }
        let fresh = openat(CWD, &self.path, DIRECTORY, Mode::empty());
        let mut opened = self.lock();
        opened.looked = now;
        if let Ok(fresh) = fresh {
            opened.directory = Arc::new(fresh);
        }
        Ok(opened.directory.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Resolves as `RESOLVE_BENEATH` does, with the means of any kernel.
fn walk(root: Arc<OwnedFd>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut behind: Vec<Arc<OwnedFd>> = Vec::new();
    let mut here = root;
    let mut links = 0;
    // The next step stands last.
    let mut steps: Vec<Vec<u8>> = split(path.as_bytes()).collect();
    while let Some(step) = steps.pop() {
        match &step[..] {
            b"." => continue,
            b".." => {
                here = behind.pop().ok_or(Errno::XDEV)?;
                continue;
            }
            _ => {}
        }
        let found = openat(&here, &step[..], ENTRY, Mode::empty())?;
        match FileType::from_raw_mode(fstat(&found)?.st_mode) {
            FileType::Symlink => {
                links += 1;
                let target = readlinkat(&found, "", Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    return Err(Errno::XDEV);
                }
                if links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                steps.extend(split(&target));
            }
            FileType::Directory => behind.push(std::mem::replace(&mut here, Arc::new(found))),
            _ if !steps.is_empty() => return Err(Errno::NOTDIR),
            // Opened by name once more: if it has become a link since, that fails, and nothing was followed.
            _ => return openat(&here, &step[..], flags | OFlags::NOFOLLOW, Mode::empty()),
        }
    }
    openat(here.as_fd(), ".", flags, Mode::empty())
}

/// The steps of a path, the last first.
fn split(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.rsplit(|&byte| byte == b'/').filter(|step| !step.is_empty()).map(<[u8]>::to_vec)
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A FIFO or a device must neither block us nor become our terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const ENTRY: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
/// As in the kernel.
const MOST_LINKS: u32 = 40;
/// How often `openat2` is asked again; a guess, since one try is nearly always enough.
const TRIES: u32 = 16;
/// How late a root that was swapped may be noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
