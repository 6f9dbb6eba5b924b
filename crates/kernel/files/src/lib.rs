//! Files that keep no worker waiting: [`Files`] opens them, [`File`] reads and writes them at offsets, [`Reader`] and [`Writer`] in chunks,
//! a [`Replacement`] puts a new one in the place of an old one.
//!
//! - What lies in memory is done at once, on the caller's thread; what does not, by the worker's ring (io_uring), or by threads where
//!   the kernel has none ([`Backend`]). The results are the same.
//! - Memory is lent: it goes into an operation and comes back with the result. Futures may be dropped at any time.
//! - So many operations are under way at once ([`Options`]); more wait in line.
//! - Errors name the file and what was tried; [`Error::io_kind`](millstream_base::Error::io_kind) tells them apart.

mod aligned;
mod chunk;
mod file;
mod files;
mod handle;
mod inline;
mod open;
mod operation;
mod options;
mod reader;
mod replace;
mod replacement;
mod ring;
mod stats;
mod work;
mod writer;

pub use aligned::AlignedBuf;
pub use chunk::{CHUNK_BYTES, Chunk};
pub use file::File;
pub use files::Files;
pub use open::OpenOptions;
pub use options::{Backend, Options};
pub use reader::Reader;
pub use replacement::Replacement;
pub use writer::Writer;
