//! What operations are about: memory to fill, memory to write, in one piece or in several, or nothing but a sync.

use std::io::{IoSlice, IoSliceMut};

use crate::operation::{Step, Work};

/// Fills one piece of memory.
pub(crate) struct Fill<B>(pub(crate) B);

/// Fills several, one after the other.
pub(crate) struct FillMany<B>(pub(crate) Vec<B>);

/// Writes one piece of memory.
pub(crate) struct Write<B>(pub(crate) B);

/// Writes several, one after the other.
pub(crate) struct WriteMany<B>(pub(crate) Vec<B>);

/// Brings to the disk what was written.
pub(crate) enum Sync {
    Data,
    All,
}

impl<B: AsMut<[u8]> + Send + 'static> Work for Fill<B> {
    fn size(&mut self) -> usize {
        self.0.as_mut().len()
    }

    fn step(&mut self, done: usize) -> Step<'_> {
        Step::Read(self.0.as_mut().get_mut(done..).unwrap_or_default())
    }
}

impl<B: AsMut<[u8]> + Send + 'static> Work for FillMany<B> {
    fn size(&mut self) -> usize {
        self.0.iter_mut().map(|piece| piece.as_mut().len()).sum()
    }

    fn step(&mut self, done: usize) -> Step<'_> {
        let mut skip = done;
        let rest = self.0.iter_mut().filter_map(|piece| {
            let piece = piece.as_mut();
            let begin = skip.min(piece.len());
            skip -= begin;
            let left = &mut piece[begin..];
            (!left.is_empty()).then(|| IoSliceMut::new(left))
        });
        Step::ReadMany(rest.take(SLICES_MOST).collect())
    }
}

impl<B: AsRef<[u8]> + Send + 'static> Work for Write<B> {
    fn size(&mut self) -> usize {
        self.0.as_ref().len()
    }

    fn step(&mut self, done: usize) -> Step<'_> {
        Step::Write(self.0.as_ref().get(done..).unwrap_or_default())
    }
}

impl<B: AsRef<[u8]> + Send + 'static> Work for WriteMany<B> {
    fn size(&mut self) -> usize {
        self.0.iter().map(|piece| piece.as_ref().len()).sum()
    }

    fn step(&mut self, done: usize) -> Step<'_> {
        let mut skip = done;
        let rest = self.0.iter().filter_map(|piece| {
            let piece = piece.as_ref();
            let begin = skip.min(piece.len());
            skip -= begin;
            let left = &piece[begin..];
            (!left.is_empty()).then(|| IoSlice::new(left))
        });
        Step::WriteMany(rest.take(SLICES_MOST).collect())
    }
}

impl Work for Sync {
    fn size(&mut self) -> usize {
        0
    }

    fn is_nothing(&mut self) -> bool {
        false
    }

    fn step(&mut self, _done: usize) -> Step<'_> {
        match self {
            Self::Data => Step::SyncData,
            Self::All => Step::SyncAll,
        }
    }
}

/// As many as the kernel takes in one call: `UIO_MAXIOV`, include/uapi/linux/uio.h.
const SLICES_MOST: usize = 1024;
