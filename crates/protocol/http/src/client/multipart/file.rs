//! A file as a body, read on the engine's blocking pool wherever the body is polled.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use millstream_base::{Error, Kind, Origin, Result};
use millstream_client::Worker;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::retry_on_intr;

use crate::Body;

/// One read of the file: a guess between memory and calls of the pool.
const PIECE_BYTES: u64 = 128 * 1024;

/// A FIFO without a writer or a device must neither block the pool nor become our terminal.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens a regular file as a body of its present length.
pub(super) async fn open(worker: Worker, path: PathBuf) -> Result<Body> {
    let name = path.display().to_string();
    let opened = blocking(&worker, move || open_now(&path)).await?;
    let (file, left) = opened.map_err(|error| Error::io(error).with_target(name))?;
    Ok(Body::stream(FileBody { worker, file: Arc::new(file), offset: 0, left, reading: None }))
}

fn open_now(path: &Path) -> std::io::Result<(File, u64)> {
    let file = File::from(retry_on_intr(|| openat(CWD, path, READ, Mode::empty()))?);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((file, metadata.len()))
}

/// Runs it on the pool of the worker's engine, if that still runs.
fn blocking<T: Send + 'static>(
    worker: &Worker,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T>> + Send + 'static {
    let running = worker.engine().map(|engine| engine.blocking(work));
    let stopped = || Error::new(Kind::Cancelled, Origin::Local, "the engine has stopped");
    async move { running.ok_or_else(stopped)?.await }
}

type Reading = Pin<Box<dyn Future<Output = Result<std::io::Result<Vec<u8>>>> + Send>>;

struct FileBody {
    worker: Worker,
    file: Arc<File>,
    offset: u64,
    left: u64,
    reading: Option<Reading>,
}

impl FileBody {
    fn begin(&self) -> Reading {
        let (file, offset) = (self.file.clone(), self.offset);
        let count = usize::try_from(self.left.min(PIECE_BYTES)).expect("a piece fits into memory");
        Box::pin(blocking(&self.worker, move || {
            let mut piece = vec![0; count];
            file.read_exact_at(&mut piece, offset).map(|()| piece)
        }))
    }
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.reading.is_none() {
            self.reading = Some(self.begin());
        }
        let Some(reading) = &mut self.reading else { return Poll::Pending };
        let read = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        let piece = match read {
            Ok(Ok(piece)) => piece,
            Ok(Err(error)) => {
                self.left = 0;
                let message = "a file could not be read as far as it was long";
                let error = Error::new(Kind::Io, Origin::Local, message).with_source(error);
                return Poll::Ready(Some(Err(error)));
            }
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        self.offset += piece.len() as u64;
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
