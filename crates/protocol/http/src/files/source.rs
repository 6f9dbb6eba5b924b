//! An open file as bytes: from memory at once, or from the disk on a thread that may wait for it.

use std::io::IoSliceMut;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2};

use super::root::Reach;

/// An open regular file.
#[derive(Clone, Debug)]
pub(crate) struct Source(Arc<OwnedFd>);

impl Source {
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self(Arc::new(file))
    }

    /// The same open file, for those who read it otherwise.
    ///
    /// # Errors
    /// When the process has too many files open.
    pub(crate) fn reopened(&self) -> std::io::Result<std::fs::File> {
        self.0.try_clone().map(std::fs::File::from)
    }

    /// Fills `space` from `offset` on, and says how much of it; less only at the end of the file or, from memory, where memory ends.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] when nothing of it is in memory and the disk is out of reach.
    pub(crate) fn read(&self, space: &mut [u8], offset: u64, reach: Reach) -> Result<usize, Errno> {
        match reach {
            Reach::Memory => self.read_memory(space, offset),
            Reach::Disk => self.read_disk(space, offset),
        }
    }

    fn read_memory(&self, space: &mut [u8], offset: u64) -> Result<usize, Errno> {
        if space.is_empty() {
            return Ok(0);
        }
        let read = preadv2(&self.0, &mut [IoSliceMut::new(space)], offset, ReadWriteFlags::NOWAIT);
        read.map_err(|error| match error {
            // This file system can't say what is in memory, or the sandbox knows no preadv2.
            Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM | Errno::INTR => Errno::AGAIN,
            other => other,
        })
    }

    fn read_disk(&self, space: &mut [u8], offset: u64) -> Result<usize, Errno> {
        let mut filled = 0;
        while filled < space.len() {
            match pread(&self.0, &mut space[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
