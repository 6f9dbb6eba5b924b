//! Who carries operations out, and how many at once.

/// Who carries operations out. All give the same results.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// What lies in memory at once, on the caller's thread; the rest by a ring where the kernel has one, else by threads.
    #[default]
    Auto,
    /// What lies in memory at once, on the caller's thread; the rest by threads.
    Inline,
    /// Everything by the rings of the workers (io_uring).
    Ring,
    /// Everything by threads that may block.
    Pool,
}

/// Settings of [`Files`](crate::Files).
///
/// ```
/// use millstream_files::{Backend, Options};
/// let options = Options::default().backend(Backend::Pool).threads(8);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) backend: Backend,
    pub(crate) in_flight: usize,
    pub(crate) threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { backend: Backend::Auto, in_flight: 1024, threads: 64 }
    }
}

impl Options {
    /// Who carries operations out; [`Backend::Auto`] by default.
    #[must_use]
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// How many operations the rings hold at once, all workers together; the next wait in line. 1 to 16,384, by default 1,024: what an
    /// NVMe disk's queue holds (1,023 with Linux's driver), and with buffers of 64 KiB 64 MiB of memory.
    #[must_use]
    pub fn in_flight(mut self, count: usize) -> Self {
        self.in_flight = count;
        self
    }

    /// How many operations are on threads at once; the next wait in line. 1 to 512, by default 64: a guess, enough to keep a disk busy,
    /// and few of the 512 threads that the engine has for all calls that block.
    #[must_use]
    pub fn threads(mut self, count: usize) -> Self {
        self.threads = count;
        self
    }
}
