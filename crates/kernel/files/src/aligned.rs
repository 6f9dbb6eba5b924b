//! Memory for files past the page cache.

/// Zeros, aligned for `O_DIRECT`: the memory begins at a multiple of 4,096 bytes, which suits every disk (`statx` tells what one needs).
///
/// ```
/// let buf = millstream_files::AlignedBuf::zeroed(8192);
/// assert_eq!(buf.as_ref().as_ptr().addr() % 4096, 0);
/// assert_eq!(buf.as_ref().len(), 8192);
/// ```
#[derive(Debug)]
pub struct AlignedBuf {
    /// Never moves and never grows, so the offset holds.
    memory: Box<[u8]>,
    begin: usize,
    size: usize,
}

impl AlignedBuf {
    /// `size` bytes, all zero.
    pub fn zeroed(size: usize) -> Self {
        let memory = vec![0; size + ALIGNMENT].into_boxed_slice();
        let begin = memory.as_ptr().align_offset(ALIGNMENT);
        Self { memory, begin, size }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.begin..self.begin + self.size]
    }
}

impl AsMut<[u8]> for AlignedBuf {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..self.begin + self.size]
    }
}

/// A page: no disk of Linux has larger blocks than that (before 6.12, and few since).
const ALIGNMENT: usize = 4096;
