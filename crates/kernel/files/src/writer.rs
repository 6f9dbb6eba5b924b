//! A file written in chunks, one behind the other.

use bytes::{Bytes, BytesMut};
use millstream_base::{Error, Kind, Origin, Result};

use crate::File;
use crate::chunk::CHUNK_BYTES;

/// Writes what it is given behind each other: small pieces are gathered to 64 KiB, larger ones are written as they are. Call
/// [`finish`](Self::finish): what was gathered and not written is lost when it is dropped.
///
/// ```
/// # use millstream_files::Files;
/// # use millstream_runtime::Engine;
/// # let folder = millstream_peers::Folder::new();
/// # let path = folder.path().join("upload");
/// # Engine::builder().workers(1).build()?.run(async move |engine| {
/// let file = Files::of(&engine).create(path).await?;
/// let mut writer = file.writer(0);
/// for chunk in ["what ", "comes ", "in"] {
///     writer.write(chunk.into()).await?;
/// }
/// assert_eq!(writer.finish().await?, 13);
/// file.sync_data().await?;
/// # Ok::<_, millstream_base::Error>(())
/// # })??;
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer {
    file: File,
    offset: u64,
    gathered: BytesMut,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sound,
    /// A write is under way, failed, or was dropped: nobody knows what the file holds behind `offset`.
    Unknown,
}

impl Writer {
    pub(crate) fn new(file: File, offset: u64) -> Self {
        Self { file, offset, gathered: BytesMut::new(), state: State::Sound }
    }

    /// Takes bytes in; writes when there are enough.
    ///
    /// Dropping the future while it writes leaves some of it written; the writer takes nothing more then.
    ///
    /// # Errors
    /// As [`File::write_all_at`]; [`Kind::Cancelled`] after a write that failed or was dropped.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.check()?;
        if self.gathered.len() + bytes.len() <= CHUNK_BYTES {
            self.gathered.extend_from_slice(&bytes);
            return Ok(());
        }
        self.flush().await?;
        if bytes.len() < CHUNK_BYTES {
            self.gathered.extend_from_slice(&bytes);
            return Ok(());
        }
        self.put(bytes).await
    }

    /// Writes what was gathered; says where the file's next byte would go. It does not wait for the disk: see [`File::sync_data`].
    ///
    /// Dropping the future leaves some of it written.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn finish(mut self) -> Result<u64> {
        self.check()?;
        self.flush().await?;
        Ok(self.offset)
    }

    fn check(&self) -> Result<()> {
        if self.state == State::Sound {
            return Ok(());
        }
        let error = Error::new(Kind::Cancelled, Origin::Caller, "an earlier write failed or was dropped");
        Err(error.with_target(self.file.path().to_string_lossy().into_owned()))
    }

    async fn flush(&mut self) -> Result<()> {
        let gathered = self.gathered.split().freeze();
        self.put(gathered).await
    }

    async fn put(&mut self, bytes: Bytes) -> Result<()> {
        let size = bytes.len() as u64;
        self.state = State::Unknown;
        self.file.write_all_at(bytes, self.offset).await.0?;
        self.state = State::Sound;
        self.offset += size;
        Ok(())
    }
}
