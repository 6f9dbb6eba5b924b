//! A socket that stays on its worker: read and written without a lock or an atomic counter on the way.

use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use millstream_runtime::{Interest, Watch};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use tokio::io::ReadBuf;
use tokio::net::{TcpStream, UnixStream};

use crate::Stream;

/// A connected socket in the reactor of the worker it was accepted for.
pub struct Socket {
    watch: Watch, // first: the reactor forgets it before it is closed
    fd: OwnedFd,
    family: Family,
    /// Reads and writes since the last one that had to wait.
    streak: u8,
}

/// What a socket is, to those who need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Tcp,
    Unix,
}

/// Reads or writes that go through at once, before the other connections of the worker get their turn (tokio's budget is
/// as large).
const MOST_AT_ONCE: u8 = 128;

impl Socket {
    /// Has this thread's worker watch a connected socket that does not block. Where the thread is no worker's, tokio's
    /// reactor takes it.
    pub(crate) fn register(fd: OwnedFd, family: Family) -> io::Result<Stream> {
        match Watch::new(&fd)? {
            Some(watch) => Ok(Stream::Socket(Self { watch, fd, family, streak: 0 })),
            None => by_tokio(fd, family),
        }
    }

    /// Is this the thread of its worker? Elsewhere it can't be used: see [`Socket::leave`].
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.watch.is_here()
    }

    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// Moves it to the reactor of another thread: that of the runtime there.
    pub(crate) fn leave(self) -> io::Result<Stream> {
        let Self { watch, fd, family, .. } = self;
        watch.release(&fd)?;
        by_tokio(fd, family)
    }

    #[inline]
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_turn(cx));
        loop {
            ready!(self.poll_ready(Interest::Read, cx));
            let into = buf.initialize_unfilled();
            match self.try_recv(into, RecvFlags::empty()) {
                Ok(count) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    #[inline]
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, from.len(), |fd| send(fd, from, SendFlags::NOSIGNAL))
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = from.iter().map(|slice| slice.len()).sum();
        self.poll_send(cx, length, |fd| {
            sendmsg(fd, from, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
        })
    }

    #[inline]
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        send: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        loop {
            ready!(self.poll_ready(Interest::Write, cx));
            match self.try_send(length, &send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    /// Is there nothing to read, and the task of `cx` the one to be woken when there is?
    #[inline]
    pub(crate) fn is_waiting(&self, cx: &Context<'_>) -> bool {
        self.watch.is_here() && self.watch.is_waiting(Interest::Read, cx)
    }

    /// Waits until there is something to read: bytes, the end, or an error. For whoever peeks.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_ready(Interest::Read, cx)
    }

    /// What `look` finds, unless the reactor knows of nothing; no waker is touched.
    pub(crate) fn try_look<T>(&self, look: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>) -> io::Result<T> {
        if !self.watch.is_ready(Interest::Read) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let looked = look(self.fd.as_fd());
        if matches!(&looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.watch.clear(Interest::Read);
        }
        looked
    }

    /// Reads what is there, without a waker.
    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.watch.is_ready(Interest::Read) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.try_recv(into, RecvFlags::empty())
    }

    /// Writes what the kernel takes at once, without a waker.
    pub(crate) fn try_write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.try_send(from.len(), |fd| send(fd, from, SendFlags::NOSIGNAL))
    }

    /// Sends a FIN; we can still read.
    pub(crate) fn shut_down(&self) -> io::Result<()> {
        match socket2::SockRef::from(&self.fd).shutdown(Shutdown::Write) {
            // The peer was first.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            done => done,
        }
    }

    #[inline]
    fn poll_ready(&mut self, interest: Interest, cx: &mut Context<'_>) -> Poll<()> {
        let polled = self.watch.poll_ready(interest, cx);
        if polled.is_pending() {
            self.streak = 0;
        }
        polled
    }

    /// Does this connection leave the others their turn?
    #[inline]
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.streak < MOST_AT_ONCE {
            self.streak += 1;
            return Poll::Ready(());
        }
        self.streak = 0;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Without looking at the readiness, but keeping it true.
    #[inline]
    fn try_recv(&mut self, into: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        let length = into.len();
        loop {
            match recv(&self.fd, &mut *into, flags) {
                // A short read has emptied the socket: what comes later makes an edge. No extra read that finds nothing.
                Ok((_, count)) => {
                    if count > 0 && count < length {
                        self.watch.clear(Interest::Read);
                        self.streak = 0;
                    }
                    return Ok(count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    self.watch.clear(Interest::Read);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[inline]
    fn try_send(
        &self,
        length: usize,
        send: impl Fn(BorrowedFd<'_>) -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match send(self.fd.as_fd()) {
                // A short write has filled the socket: room makes an edge.
                Ok(count) => {
                    if count < length {
                        self.watch.clear(Interest::Write);
                    }
                    return Ok(count);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    self.watch.clear(Interest::Write);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Socket({:?}, {:?})", self.fd, self.family)
    }
}

fn by_tokio(fd: OwnedFd, family: Family) -> io::Result<Stream> {
    match family {
        Family::Tcp => TcpStream::from_std(fd.into()).map(Stream::Tcp),
        Family::Unix => UnixStream::from_std(fd.into()).map(Stream::Unix),
    }
}
