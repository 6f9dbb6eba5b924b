//! Where a body is written: standard output, or a file that gets its name when it is whole.
//!
//! Writing blocks, so each body has a thread for it; what waits between the two is at most [`PIECES`] pieces.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use millstream::{Error, Kind, Origin, Result};
use tokio::sync::{mpsc, oneshot};

/// The end to write to. Dropped before [`Sink::finish`], a file does not get its name.
pub(crate) struct Sink {
    give: mpsc::Sender<Order>,
    done: oneshot::Receiver<Result<()>>,
}

enum Order {
    Piece(Bytes),
    Whole,
}

/// Pieces on their way to the disk: enough to keep it busy, 64 KiB each at most.
const PIECES: usize = 16;
/// Small pieces are put together up to this size, unless nothing follows at once.
const BUFFER_BYTES: usize = 128 * 1024;

/// A file in the making.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// What it is called until it is whole.
    pub(crate) part: PathBuf,
    /// What it is called then; the same for what is no file (`/dev/null`, a pipe).
    pub(crate) whole: PathBuf,
    /// How many bytes of the part stay.
    pub(crate) keeps: u64,
    /// Is a part that is broken off of use to a later try?
    pub(crate) is_resumable: bool,
}

/// Counts the threads that write, so that the program's end can wait for them.
pub(crate) struct Writers(std::sync::mpsc::Sender<()>);

impl Writers {
    /// What to hand to sinks, and what to wait with: it is cut off when they are gone.
    pub(crate) fn new() -> (Self, std::sync::mpsc::Receiver<()>) {
        let (alive, gone) = std::sync::mpsc::channel();
        (Self(alive), gone)
    }
}

impl Sink {
    /// Standard output.
    pub(crate) fn stdout(writers: &Writers) -> Self {
        let work = |take| write(io::stdout(), take).map(drop);
        Self::start(work, "standard output".into(), writers)
    }

    /// A file.
    pub(crate) fn file(draft: Draft, writers: &Writers) -> Self {
        let name = draft.part.clone();
        let work = move |take| {
            let written = open(&draft).and_then(|file| write(file, take));
            match written {
                _ if draft.part == draft.whole => written.map(drop),
                Ok(End::Whole) => std::fs::rename(&draft.part, &draft.whole),
                other => {
                    if !draft.is_resumable {
                        // Of no use to anybody; what went wrong before is what there is to say.
                        let _ = std::fs::remove_file(&draft.part);
                    }
                    other.map(drop)
                }
            }
        };
        Self::start(work, name, writers)
    }

    fn start<F>(work: F, name: PathBuf, writers: &Writers) -> Self
    where
        F: FnOnce(mpsc::Receiver<Order>) -> io::Result<()> + Send + 'static,
    {
        let (give, take) = mpsc::channel(PIECES);
        let (tell, done) = oneshot::channel();
        let alive = writers.0.clone();
        std::thread::spawn(move || {
            let written = work(take);
            drop(alive);
            // Nobody asks any more: the call was given up.
            let _ = tell.send(written.map_err(|error| failed(error, &name)));
        });
        Self { give, done }
    }

    /// Writes a piece; waits while the disk is behind. Dropping the future writes it or not.
    pub(crate) async fn write(&mut self, piece: Bytes) -> Result<()> {
        if self.give.send(Order::Piece(piece)).await.is_ok() {
            return Ok(());
        }
        Err(self.why().await)
    }

    /// The body is whole: gives the file its name. Dropping the future does it or not.
    pub(crate) async fn finish(mut self) -> Result<()> {
        if self.give.send(Order::Whole).await.is_err() {
            return Err(self.why().await);
        }
        (&mut self.done).await.unwrap_or_else(|_| Err(lost()))
    }

    async fn why(&mut self) -> Error {
        match (&mut self.done).await {
            Ok(Err(error)) => error,
            _ => lost(),
        }
    }
}

/// How the pieces ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    BrokenOff,
}

/// Writes what comes until it ends.
fn write(out: impl Write, mut take: mpsc::Receiver<Order>) -> io::Result<End> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    loop {
        let order = match take.try_recv() {
            Ok(order) => Some(order),
            Err(_) => {
                // Nothing follows at once: what is there goes out.
                out.flush()?;
                take.blocking_recv()
            }
        };
        match order {
            Some(Order::Piece(piece)) => out.write_all(&piece)?,
            Some(Order::Whole) => return out.flush().map(|()| End::Whole),
            None => return out.flush().map(|()| End::BrokenOff),
        }
    }
}

fn open(draft: &Draft) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    if draft.part != draft.whole {
        // The part is ours: a link there was made by somebody else.
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    let mut file = options.open(&draft.part)?;
    if draft.part != draft.whole {
        file.set_len(draft.keeps)?;
        file.seek(SeekFrom::Start(draft.keeps))?;
    }
    Ok(file)
}

/// The error that says what could not be written.
pub(crate) fn failed(error: io::Error, name: &Path) -> Error {
    let kind = if error.kind() == io::ErrorKind::BrokenPipe { Kind::Closed } else { Kind::Io };
    Error::new(kind, Origin::Local, format!("can't write {}", name.display())).with_source(error)
}

fn lost() -> Error {
    Error::new(Kind::Panic, Origin::Local, "the thread that writes got lost")
}

/// Did whoever read our output stop reading?
pub(crate) fn is_unread(error: &Error) -> bool {
    error.kind() == Kind::Closed && error.origin() == Origin::Local
}

/// Where a file is made: beside `path`, under its name with an end; a link is followed, and what is no regular file is
/// written as it is.
pub(crate) fn draft(path: &Path) -> Draft {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_special = std::fs::metadata(&whole).is_ok_and(|found| !found.is_file());
    let part = if is_special { whole.clone() } else { with_end(&whole, super::plan::PART) };
    Draft { part, whole, keeps: 0, is_resumable: false }
}

/// The path with something behind its name.
pub(crate) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
