//! Chunked bodies: RFC 9112 §7.1.
//!
//! Stricter than its grammar: no blanks around a chunk size, an extension needs a name, and extensions may not cost more
//! than the data they come with, beyond an allowance.

mod decode;
mod encode;
mod trailers;

pub use decode::{ChunkEvent, ChunkedDecoder};
pub use encode::{CHUNK_END, encode_chunk, encode_chunk_head, encode_last_chunk};

/// How much a chunked body may cost beside its data.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Bytes of chunk extensions beyond the number of data bytes that came with them: 16 KiB, as in hyper, where it is
    /// for the whole body.
    pub extension_bytes: u32,
    /// Bytes of the trailer section: 8 KiB.
    pub trailer_bytes: u32,
    /// Number of trailer fields: 64.
    pub trailer_fields: u32,
}

impl ChunkLimits {
    /// The defaults, as a constant.
    pub const DEFAULT: Self =
        Self { extension_bytes: 16 * 1024, trailer_bytes: 8 * 1024, trailer_fields: 64 };
}

impl Default for ChunkLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
