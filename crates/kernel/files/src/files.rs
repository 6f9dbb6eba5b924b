//! An engine's way to files: who carries operations out, and how many at once.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_base::registry::Sample;
use millstream_base::{EngineId, Error, Result};
use millstream_runtime::{Engine, Worker};
use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::handle::failed;
use crate::operation::{Operate, contained, work_off};
use crate::options::{Backend as Wanted, Options};
use crate::replace::{self, Stopped};
use crate::ring::Rings;
use crate::stats::{Backend, Outcome, Stats};
use crate::{File, OpenOptions, Reader, Replacement};

/// An engine's way to files. Clones share their limits; none keeps the engine alive.
///
/// All of it works on any thread and any runtime. On a worker of the engine, what lies in memory is done at once there, and what does
/// not is done by the worker's own ring.
///
/// ```
/// use millstream_files::Files;
/// use millstream_runtime::Engine;
/// # let folder = millstream_peers::Folder::new();
/// # let path = folder.path().join("greeting");
/// let engine = Engine::builder().workers(1).build()?;
/// let text = engine.run(async move |engine| {
///     let files = Files::of(&engine);
///     files.replace(&path, "hello, world").await?;
///     let file = files.open(&path).await?;
///     let (count, buf) = file.read_at(vec![0; 5], 7).await;
///     assert_eq!(count?, 5);
///     Ok::<_, millstream_base::Error>(buf)
/// })??;
/// assert_eq!(text, b"world");
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone)]
pub struct Files(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    engine: EngineId,
    workers: Box<[Worker]>,
    stats: Arc<Stats>,
    is_inline: bool,
    rings: Option<Rings>,
    ring_places: Arc<Semaphore>,
    threads: Arc<Semaphore>,
}

/// What the whole engine shares.
struct Shared {
    stats: Arc<Stats>,
}

impl Shared {
    fn new(engine: &Engine) -> Self {
        let stats = Arc::new(Stats::new(engine));
        let source = stats.clone();
        engine.registry().register(Arc::new(move |into: &mut Vec<Sample>| source.collect(into)));
        Self { stats }
    }
}

/// The one that [`Files::of`] gives.
struct Usual(Files);

impl Files {
    /// The engine's own, with [`Options::default`].
    pub fn of(engine: &Engine) -> Self {
        let stats = engine.shared(Shared::new).stats.clone();
        let usual = engine.shared(|engine| {
            let files = Self::new(engine, &Options::default(), stats);
            Usual(files.expect("the default options are within their limits, and may do without a ring"))
        });
        usual.0.clone()
    }

    /// One with other settings. It has limits of its own; what it does is counted with the rest of the engine's.
    ///
    /// # Errors
    /// [`Kind::Invalid`](millstream_base::Kind::Invalid) for a setting out of its range; [`Kind::Io`](millstream_base::Kind::Io) for
    /// [`Backend::Ring`](crate::Backend::Ring) where the kernel has none, or forbids it.
    pub fn with(engine: &Engine, options: &Options) -> Result<Self> {
        Self::new(engine, options, engine.shared(Shared::new).stats.clone())
    }

    fn new(engine: &Engine, options: &Options, stats: Arc<Stats>) -> Result<Self> {
        let Options { backend, in_flight, threads } = *options;
        if !(1..=IN_FLIGHT_MOST).contains(&in_flight) {
            return Err(Error::invalid(format!("in_flight must be 1 to {IN_FLIGHT_MOST}, not {in_flight}")));
        }
        if !(1..=THREADS_MOST).contains(&threads) {
            return Err(Error::invalid(format!("threads must be 1 to {THREADS_MOST}, not {threads}")));
        }
        let rings = match backend {
            Wanted::Inline | Wanted::Pool => None,
            Wanted::Ring => Some(
                Rings::probe(engine.workers(), in_flight)
                    .map_err(|error| Error::io(error).with_target("io_uring"))?,
            ),
            Wanted::Auto => Rings::probe(engine.workers(), in_flight)
                .inspect_err(
                    |error| tracing::debug!(%error, "no ring: files are read and written by threads"),
                )
                .ok(),
        };
        Ok(Self(Arc::new(Inner {
            engine: engine.id(),
            workers: engine.workers().into(),
            stats,
            is_inline: matches!(backend, Wanted::Auto | Wanted::Inline),
            rings,
            ring_places: Arc::new(Semaphore::new(in_flight)),
            threads: Arc::new(Semaphore::new(threads)),
        })))
    }

    /// Opens a file to read it.
    ///
    /// Dropping the future opens nothing, or closes what was opened.
    ///
    /// # Errors
    /// [`Kind::Io`](millstream_base::Kind::Io); [`Error::io_kind`] tells what is missing or forbidden. What is neither a regular file
    /// nor a block device is refused.
    pub async fn open(&self, path: impl Into<PathBuf>) -> Result<File> {
        self.open_with(path, OpenOptions::new().read()).await
    }

    /// Opens a file to read and write it, makes it if it is not there, and empties it if it is.
    ///
    /// Dropping the future does nothing, or all of that.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn create(&self, path: impl Into<PathBuf>) -> Result<File> {
        self.open_with(path, OpenOptions::new().read().write().create().truncate()).await
    }

    /// Opens a file in this way.
    ///
    /// Dropping the future does nothing, or all that the options say.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_with(&self, path: impl Into<PathBuf>, options: OpenOptions) -> Result<File> {
        let path = path.into();
        let is_direct = options.is_direct();
        let given = path.clone();
        match self.call(move || options.open(&given)).await {
            Ok(file) => Ok(File::new(self.clone(), file, path, is_direct)),
            Err(error) => Err(failed(&path, "open", error)),
        }
    }

    /// Takes a regular file or a block device that is open already. `path` is what errors name.
    pub fn adopt(&self, file: std::fs::File, path: impl Into<PathBuf>) -> File {
        let is_direct = OpenOptions::opened_direct(&file);
        File::new(self.clone(), file, path.into(), is_direct)
    }

    /// All of a file, of at most `most` bytes.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open), [`OutOfMemory`](io::ErrorKind::OutOfMemory) where there is no memory for it;
    /// [`Kind::Limit`](millstream_base::Kind::Limit) when it is longer.
    pub async fn read(&self, path: impl Into<PathBuf>, most: usize) -> Result<Vec<u8>> {
        self.open(path).await?.read_whole(most).await
    }

    /// Fills `buf` from the file at `path`, from `offset` on: [`File::read_at`] for one read.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn read_at_path<B>(&self, path: impl Into<PathBuf>, buf: B, offset: u64) -> (Result<usize>, B)
    where
        B: AsMut<[u8]> + Send + 'static,
    {
        match self.open(path).await {
            Ok(file) => file.read_at(buf, offset).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// Writes all of `buf` into the file at `path`, which is made if it is not there, at `offset`.
    ///
    /// Dropping the future leaves written what was written by then, or all.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn write_at_path<B>(&self, path: impl Into<PathBuf>, buf: B, offset: u64) -> (Result<()>, B)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        match self.open_with(path, OpenOptions::new().write().create()).await {
            Ok(file) => file.write_all_at(buf, offset).await,
            Err(error) => (Err(error), buf),
        }
    }

    /// Puts a file of these bytes in the place of the one at `path`, if there is one: whoever opens it, even after a crash, finds the
    /// old bytes or the new ones, and all of them. A link at `path` is replaced, whatever it leads to, and not that.
    ///
    /// Its permissions stay, or those of the file that the link leads to; where there is none they are those of new files. Its owner and
    /// group stay as far as the process may give them; where they don't, or there is a link, the bits for set-user-ID, set-group-ID and
    /// sticky go. Access control lists and other attributes don't stay. Nobody else can open the new file before it has these permissions.
    ///
    /// The new bytes are written to a file `.millstream-*.tmp` in the same folder, which is removed on failure, brought to the disk,
    /// renamed, and the folder is brought to the disk. It is done on one thread, whatever the backend.
    ///
    /// Dropping the future lets the replacement go on to its end, unless it has not begun.
    ///
    /// # Errors
    /// As [`open`](Self::open), also for what is there and neither a regular file nor a link; and [`Kind::Panic`](millstream_base::Kind::Panic) when `bytes` does. The old file is as it was, unless the error says that only the folder could not be brought to the disk.
    pub async fn replace<B>(&self, path: impl Into<PathBuf>, bytes: B) -> Result<()>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let path = path.into();
        let given = path.clone();
        let replaced = self.call(move || replace::replace(&given, contained(|| bytes.as_ref())?)).await;
        replaced.map_err(|Stopped { step, error }| failed(&path, step, error))
    }

    /// A new file for `path` that is written in chunks and takes the place of the one there, if there is one, when it is finished: what
    /// [`replace`](Self::replace) does with bytes that are not all there at once.
    ///
    /// A file `.millstream-*.tmp` is made in the same folder. At the end it gets the permissions, the owner and the group that the old one
    /// has now.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`replace`](Self::replace).
    pub async fn replacement(&self, path: impl Into<PathBuf>) -> Result<Replacement> {
        Replacement::begin(self, path.into()).await
    }

    /// The bytes of the file at `path` in chunks, for a body.
    ///
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn reader(&self, path: impl Into<PathBuf>) -> Result<Reader> {
        Ok(self.open(path).await?.reader(..))
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.0.stats
    }

    /// The one whose threads block.
    pub(crate) fn worker(&self) -> &Worker {
        &self.0.workers[0]
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.0.is_inline
    }

    /// Waits in line for a place with whoever carries out what waits for the disk.
    pub(crate) async fn place(&self) -> (Backend, OwnedSemaphorePermit) {
        let inner = &self.0;
        match &inner.rings {
            Some(rings) if rings.are_there() => (Backend::Ring, self.wait_for(&inner.ring_places).await),
            _ => (Backend::Pool, self.wait_for(&inner.threads).await),
        }
    }

    async fn wait_for(&self, places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        // Nobody passes those who wait: a place that is given back is theirs (tokio's semaphore is fair).
        if let Ok(place) = places.clone().try_acquire_owned() {
            return place;
        }
        let _waiting = self.stats().wait();
        places.clone().acquire_owned().await.expect("it is never closed")
    }

    /// Begins an operation that has its place.
    pub(crate) fn submit(&self, backend: Backend, operation: Box<dyn Operate>) {
        match (backend, &self.0.rings) {
            (Backend::Ring, Some(rings)) => rings.submit(self.0.engine, operation),
            _ => run_on_thread(Some(self.worker()), move || work_off(operation)),
        }
    }

    /// Runs a call that blocks on a thread, in its turn.
    pub(crate) async fn call<T, E>(
        &self,
        call: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<io::Error> + Send + 'static,
    {
        let place = self.wait_for(&self.0.threads).await;
        let mut counted = Counted(self.0.stats.clone(), Outcome::Unwanted);
        counted.0.begin();
        let engine = self.worker().engine().ok_or_else(|| io::Error::from(Errno::CANCELED))?;
        let called = engine.blocking(move || {
            let result = call();
            counted.1 = if result.is_ok() { Outcome::Done } else { Outcome::Failed };
            drop((counted, place));
            result
        });
        drop(engine);
        called.await.unwrap_or_else(|error| {
            let is_stopped = error.is_cancelled();
            Err(if is_stopped { Errno::CANCELED.into() } else { io::Error::other(error) }.into())
        })
    }
}

/// Counts a call on a thread when it has ended, or was dropped.
struct Counted(Arc<Stats>, Outcome);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.end(Backend::Pool, self.1);
    }
}

/// Where the engine has ended the work is dropped; an operation says so then.
pub(crate) fn run_on_thread(worker: Option<&Worker>, work: impl FnOnce() + Send + 'static) {
    if let Some(engine) = worker.and_then(Worker::engine) {
        drop(engine.blocking(work));
    }
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let inner = &self.0;
        f.debug_struct("Files")
            .field("is_inline", &inner.is_inline)
            .field("has_rings", &inner.rings.as_ref().is_some_and(Rings::are_there))
            .finish_non_exhaustive()
    }
}

/// The kernel takes up to 32,768 entries of completions (`IORING_MAX_CQ_ENTRIES` is 65,536); beyond this memory is the question.
const IN_FLIGHT_MOST: usize = 16_384;
/// The engine's threads for calls that block.
const THREADS_MOST: usize = 512;
