//! How a file is opened.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

/// How a file is opened: to read, to write, made or emptied first.
///
/// ```
/// use millstream_files::OpenOptions;
/// let options = OpenOptions::new().read().write().create().mode(0o600);
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    options: fs::OpenOptions,
    is_direct: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { options: fs::OpenOptions::new(), is_direct: false }
    }
}

impl OpenOptions {
    /// Neither to read nor to write: say which.
    pub fn new() -> Self {
        Self::default()
    }

    /// To read.
    #[must_use]
    pub fn read(mut self) -> Self {
        self.options.read(true);
        self
    }

    /// To write.
    #[must_use]
    pub fn write(mut self) -> Self {
        self.options.write(true);
        self
    }

    /// Makes it if it is not there.
    #[must_use]
    pub fn create(mut self) -> Self {
        self.options.create(true);
        self
    }

    /// Makes it, and fails if it is there.
    #[must_use]
    pub fn create_new(mut self) -> Self {
        self.options.create_new(true);
        self
    }

    /// Empties it.
    #[must_use]
    pub fn truncate(mut self) -> Self {
        self.options.truncate(true);
        self
    }

    /// The permissions of a file that is made, before the process's mask; 0o666 by default.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.options.mode(mode);
        self
    }

    /// Past the page cache (`O_DIRECT`): memory, offset and size must be multiples of the disk's block, see
    /// [`AlignedBuf`](crate::AlignedBuf).
    #[must_use]
    pub fn direct(mut self) -> Self {
        self.is_direct = true;
        self
    }

    pub(crate) fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// Opens it; only regular files and block devices, which have offsets and an end.
    pub(crate) fn open(&self, path: &Path) -> io::Result<fs::File> {
        let mut options = self.options.clone();
        // A FIFO must not hold the thread; it is refused below.
        let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        flags.set(OFlags::DIRECT, self.is_direct);
        let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(Errno::ISDIR.into());
        }
        if !kind.is_file() && !kind.is_block_device() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "neither a regular file nor a block device",
            ));
        }
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        Ok(file)
    }

    /// Was this file opened past the page cache?
    pub(crate) fn opened_direct(file: &fs::File) -> bool {
        fcntl_getfl(file).is_ok_and(|flags| flags.contains(OFlags::DIRECT))
    }
}
