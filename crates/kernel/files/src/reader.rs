//! A file in chunks, read as they are taken.

use std::ops::{Bound, RangeBounds};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use millstream_base::Result;

use crate::File;
use crate::chunk::{CHUNK_BYTES, Chunk};

/// A file, or a part of it, in chunks of up to 64 KiB, read one at a time as they are taken. It is a [`Stream`] as well.
///
/// A chunk holds memory until it is dropped, nothing else does. An error is the last thing it gives.
///
/// ```
/// # use millstream_files::Files;
/// # use millstream_runtime::Engine;
/// # let folder = millstream_peers::Folder::new();
/// # let path = folder.write("page", vec![7; 100_000]);
/// # Engine::builder().workers(1).build()?.run(async move |engine| {
/// let mut reader = Files::of(&engine).reader(path).await?;
/// let mut size = 0;
/// while let Some(chunk) = reader.next().await {
///     size += chunk?.len();
/// }
/// assert_eq!(size, 100_000);
/// # Ok::<_, millstream_base::Error>(())
/// # })??;
/// # Ok::<(), millstream_base::Error>(())
/// ```
pub struct Reader {
    file: File,
    offset: u64,
    end: u64,
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = (Result<usize>, Chunk)> + Send>>;

impl Reader {
    pub(crate) fn new(file: File, range: impl RangeBounds<u64>) -> Self {
        let offset = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        Self { file, offset, end, reading: None }
    }

    /// The next chunk, never an empty one; `None` at the end.
    ///
    /// Dropping the future loses nothing: the next call goes on with the same chunk.
    ///
    /// # Errors
    /// As [`File::read_at`].
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        std::future::poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if self.offset >= self.end && self.reading.is_none() {
            return Poll::Ready(None);
        }
        let size = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let reading = self.reading.get_or_insert_with(|| {
            let (file, offset) = (self.file.clone(), self.offset);
            Box::pin(async move { file.read_at(Chunk::take(size), offset).await })
        });
        let (count, chunk) = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        let chunk = match count {
            // Fewer than asked for: the end of the file.
            Ok(0) => None,
            Ok(count) => Some(Ok(chunk.into_bytes(count))),
            Err(error) => Some(Err(error)),
        };
        match &chunk {
            Some(Ok(bytes)) => self.offset += bytes.len() as u64,
            _ => self.end = self.offset,
        }
        Poll::Ready(chunk)
    }
}

impl Stream for Reader {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        self.poll_chunk(cx)
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("file", &self.file)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}
