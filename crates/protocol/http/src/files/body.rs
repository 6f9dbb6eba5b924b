//! A file, or parts of one, as a body: read piece by piece as the peer takes it, so that memory stays flat.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use millstream_base::{Error, Kind, Origin, Result};
use millstream_files::{CHUNK_BYTES, Chunk, File, Files};
use millstream_server::Engine;
use rustix::io::Errno;

use super::root::Reach;
use super::source::Source;

/// A file, or parts of one, as a body.
pub(crate) struct FileBody {
    source: Source,
    /// The same for whoever may wait for the disk: there once something was not in memory.
    waiting: Option<File>,
    parts: VecDeque<Part>,
    left: u64,
    reading: Option<Reading>,
}

/// What a body is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Bytes that are there already: what stands between the ranges of a multipart body.
    Text(Bytes),
    /// Bytes of the file.
    Range { start: u64, length: u64 },
}

type Reading = Pin<Box<dyn Future<Output = Result<Bytes>> + Send>>;

impl Part {
    fn len(&self) -> u64 {
        match self {
            Part::Text(bytes) => bytes.len() as u64,
            Part::Range { length, .. } => *length,
        }
    }
}

impl FileBody {
    pub(crate) fn new(source: Source, parts: impl IntoIterator<Item = Part>) -> Self {
        let parts: VecDeque<_> = parts.into_iter().filter(|part| part.len() > 0).collect();
        let left = parts.iter().map(Part::len).sum();
        Self { source, waiting: None, parts, left, reading: None }
    }

    /// Reads what can be had at once; begins to wait for the rest.
    fn begin_read(&mut self, start: u64, most: usize) -> Option<Result<Bytes>> {
        let mut chunk = Chunk::take(most);
        let mut read = self.source.read(chunk.as_mut(), start, Reach::Memory);
        if read == Err(Errno::AGAIN) {
            match Engine::current() {
                Some(engine) => return self.begin_wait(&engine, chunk, start),
                // Nobody to hand it to: somebody reads this body outside of an engine.
                None => read = self.source.read(chunk.as_mut(), start, Reach::Disk),
            }
        }
        Some(read.map(|count| chunk.into_bytes(count)).map_err(|error| Error::io(error.into())))
    }

    fn begin_wait(&mut self, engine: &Engine, chunk: Chunk, start: u64) -> Option<Result<Bytes>> {
        let file = match &self.waiting {
            Some(file) => file.clone(),
            None => match self.source.reopened() {
                Ok(file) => self.waiting.insert(Files::of(engine).adopt(file, "a file that is sent")).clone(),
                Err(error) => return Some(Err(Error::io(error))),
            },
        };
        self.reading = Some(Box::pin(async move {
            let (count, chunk) = file.read_at(chunk, start).await;
            count.map(|count| chunk.into_bytes(count))
        }));
        None
    }

    fn finish_read(&mut self, read: Result<Bytes>) -> Result<Frame<Bytes>> {
        let bytes = read?;
        let Some(Part::Range { start, length }) = self.parts.front_mut() else { return Err(shrunk()) };
        let count = bytes.len() as u64;
        if count == 0 || count > *length {
            return Err(shrunk());
        }
        *start += count;
        *length -= count;
        self.left -= count;
        if *length == 0 {
            self.parts.pop_front();
        }
        Ok(Frame::data(bytes))
    }

    /// Nothing follows an error.
    fn stop(&mut self) {
        self.parts.clear();
        self.reading = None;
    }
}

/// The client was told a length that can't be kept: it must see that, and never padding.
fn shrunk() -> Error {
    Error::new(Kind::Io, Origin::Local, "a file became shorter while it was sent")
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let read = if let Some(reading) = &mut self.reading {
            let read = ready!(reading.as_mut().poll(cx));
            self.reading = None;
            Some(read)
        } else {
            None
        };
        let read = match read {
            Some(read) => read,
            None => match self.parts.front() {
                None => return Poll::Ready(None),
                Some(Part::Text(bytes)) => {
                    let bytes = bytes.clone();
                    self.parts.pop_front();
                    self.left -= bytes.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(&Part::Range { start, length }) => {
                    let most = usize::try_from(length).unwrap_or(usize::MAX).min(CHUNK_BYTES);
                    match self.begin_read(start, most) {
                        Some(read) => read,
                        None => return self.poll_frame(cx),
                    }
                }
            },
        };
        let frame = self.finish_read(read);
        if frame.is_err() {
            self.stop();
        }
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
