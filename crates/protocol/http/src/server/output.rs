//! What is to be sent: small pieces gathered in one buffer, large ones beside it, written together.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use millstream_transport::Conn;
use tokio::io::AsyncWrite;

use super::scratch;

/// A body up to this size is copied behind its head: cheaper than a second slice for writev.
pub(crate) const COPY_BYTES: usize = 16 * 1024;
/// Slices in one writev.
const SLICES: usize = 32;

/// Bytes on their way out, in order: `queue`, then `tail`.
#[derive(Default)]
pub(crate) struct Output {
    queue: VecDeque<Bytes>,
    queued: usize,
    tail: Vec<u8>,
    /// Bytes of `tail` that are sent already, while `queue` is empty.
    sent: usize,
}

impl Output {
    /// The buffer that small pieces are appended to.
    #[inline]
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        if self.tail.capacity() == 0 {
            self.tail = scratch::take_output();
        }
        &mut self.tail
    }

    /// Appends a piece: copied when small.
    #[inline]
    pub(crate) fn push(&mut self, data: Bytes) {
        if data.len() <= COPY_BYTES {
            self.tail().extend_from_slice(&data);
        } else {
            self.push_large(data);
        }
    }

    fn push_large(&mut self, data: Bytes) {
        if self.tail.len() > self.sent {
            let mut head = Bytes::from(std::mem::take(&mut self.tail));
            head.advance(self.sent);
            self.queued += head.len();
            self.queue.push_back(head);
        } else {
            self.tail.clear();
        }
        self.sent = 0;
        self.queued += data.len();
        self.queue.push_back(data);
    }

    /// Bytes not sent yet.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.queued + self.tail.len() - self.sent
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes until nothing is left or the peer takes no more. Gives how many bytes went out.
    pub(crate) fn poll_send(&mut self, conn: &mut Conn, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let count = ready!(self.poll_write_queue(conn, cx))?;
            self.advance(count)?;
        }
        while self.sent < self.tail.len() {
            let count = ready!(Pin::new(&mut *conn).poll_write(cx, &self.tail[self.sent..]))?;
            self.advance(count)?;
        }
        self.tail.clear();
        self.sent = 0;
        Pin::new(conn).poll_flush(cx)
    }

    fn poll_write_queue(&mut self, conn: &mut Conn, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut count = 0;
        for data in self.queue.iter().take(SLICES - 1) {
            slices[count] = IoSlice::new(data);
            count += 1;
        }
        if self.queue.len() < SLICES {
            slices[count] = IoSlice::new(&self.tail[self.sent..]);
            count += 1;
        }
        Pin::new(conn).poll_write_vectored(cx, &slices[..count])
    }

    fn advance(&mut self, mut count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(front) = self.queue.front_mut() {
            let step = count.min(front.len());
            front.advance(step);
            self.queued -= step;
            count -= step;
            if !front.is_empty() {
                return Ok(());
            }
            self.queue.pop_front();
        }
        self.sent += count;
        Ok(())
    }

    /// Gives the worker's buffer back when nothing is left to send.
    #[inline]
    pub(crate) fn release(&mut self) {
        if self.tail.capacity() + self.queue.capacity() > 0 && self.is_empty() {
            self.release_all();
        }
    }

    fn release_all(&mut self) {
        if self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
        if self.tail.capacity() > 0 {
            scratch::put_output(std::mem::take(&mut self.tail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_base::EngineId;
    use millstream_transport::LifeTable;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn output_that_is_sent_keeps_no_memory() {
        let table = LifeTable::new(EngineId::next(), 1);
        let (client, mut server) = Conn::pair(1 << 20, &table);
        for pieces in [&[10][..], &[100_000], &[10, 100_000], &[10, 100_000, 10]] {
            let mut output = Output::default();
            pieces.iter().for_each(|size| output.push(Bytes::from(vec![0; *size])));
            std::future::poll_fn(|cx| output.poll_send(&mut server, cx)).await.expect("sent");
            output.release();
            assert_eq!((output.tail.capacity(), output.queue.capacity()), (0, 0), "{pieces:?}");
        }
        drop(client);
    }

    #[tokio::test]
    async fn pieces_of_all_sizes_arrive_in_order_through_a_narrow_pipe() {
        let table = LifeTable::new(EngineId::next(), 1);
        let (mut client, mut server) = Conn::pair(1000, &table);
        let mut output = Output::default();
        let mut expected = Vec::new();
        for (n, size) in [5usize, 20_000, 3, 0, 16 * 1024, 16 * 1024 + 1, 70_000, 1].into_iter().enumerate() {
            let piece = vec![n as u8; size];
            expected.extend_from_slice(&piece);
            output.push(Bytes::from(piece));
            assert_eq!(output.len(), expected.len());
        }
        let reader = tokio::spawn(async move {
            let mut got = vec![0; expected.len()];
            client.read_exact(&mut got).await.expect("all of it");
            assert!(got == expected);
        });
        std::future::poll_fn(|cx| output.poll_send(&mut server, cx)).await.expect("sent");
        assert!(output.is_empty());
        reader.await.expect("as sent");
    }
}
