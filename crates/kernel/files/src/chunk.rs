//! Buffers for chunks of files, used again and again by the thread that drops them.

use std::cell::RefCell;

use bytes::Bytes;

/// The most a [`Chunk`] holds, and what a peer that reads slowly holds of our memory. Measured with 64 HTTP clients of 1 MB files, 128 KiB
/// cost a quarter less CPU, and a single client of a large file showed no difference: the smaller bound won.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Buffers a thread keeps: 512 KiB. What lies between file and socket at one time on a busy worker.
const KEPT: usize = 8;

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer for a piece of a file. Its memory returns to the stock of the thread that drops it, also when it has become [`Bytes`].
///
/// ```
/// use millstream_files::Chunk;
/// let mut chunk = Chunk::take(10);
/// chunk.as_mut()[..3].copy_from_slice(b"abc");
/// assert_eq!(chunk.into_bytes(3), "abc");
/// ```
pub struct Chunk {
    buffer: Option<Box<[u8]>>,
    size: usize,
}

impl Chunk {
    /// Of `size` bytes, at most [`CHUNK_BYTES`], with whatever they held before.
    pub fn take(size: usize) -> Self {
        let kept = BUFFERS.with_borrow_mut(Vec::pop);
        let buffer = kept.unwrap_or_else(|| vec![0; CHUNK_BYTES].into_boxed_slice());
        Self { buffer: Some(buffer), size: size.min(CHUNK_BYTES) }
    }

    /// Its first `count` bytes.
    pub fn into_bytes(mut self, count: usize) -> Bytes {
        self.size = count.min(self.size);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.buffer.as_deref().expect("taken only in drop")[..self.size]
    }
}

impl AsMut<[u8]> for Chunk {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_deref_mut().expect("taken only in drop")[..self.size]
    }
}

impl std::fmt::Debug for Chunk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunk").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        // When the thread ends its stock may be gone already: then the memory is simply freed.
        let _ = BUFFERS.try_with(|buffers| {
            let mut buffers = buffers.borrow_mut();
            if buffers.len() < KEPT {
                buffers.push(buffer);
            }
        });
    }
}
