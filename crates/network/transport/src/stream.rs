//! The bytes of one connection, whatever carries them.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::Socket;
use crate::socket::Family;
use crate::tls::TlsStream;

/// What can carry a connection besides sockets: a pipe in a test, a tunnel.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// The bytes of one connection, without a record of its life.
pub enum Stream {
    /// Accepted on a worker, and used there: TCP or a Unix socket.
    Socket(Socket),
    /// TCP, in tokio's reactor: usable on any thread.
    Tcp(TcpStream),
    /// A Unix socket, in tokio's reactor.
    Unix(UnixStream),
    /// TLS over any of these.
    Tls(Box<TlsStream>),
    /// Anything else: [`Stream::other`].
    Other(Box<Ahead<dyn Io>>),
}

/// What there is to see on a connection that nobody reads.
#[derive(Debug)]
pub enum PeerEvent {
    /// The peer sends nothing any more.
    Fin,
    /// The connection broke.
    Reset(io::Error),
    /// Bytes wait to be read.
    Data,
}

/// A carrier that can't be peeked, with the byte that was read to see whether there is one.
pub struct Ahead<T: ?Sized> {
    seen: Seen,
    /// Who waits to read; kept so that looking does not take its place.
    waker: Option<Waker>,
    io: T,
}

#[derive(Clone, Copy)]
enum Seen {
    Nothing,
    Byte(u8),
    End,
}

impl Stream {
    /// Bytes carried by something that is no socket.
    pub fn other(io: impl Io) -> Self {
        Self::Other(Box::new(Ahead { seen: Seen::Nothing, waker: None, io }))
    }

    /// Waits until the peer closes, breaks or sends, reading nothing that a later read would miss.
    ///
    /// It shares its waker with reads: one task does one or the other. Over TLS, records are opened meanwhile, so that
    /// session tickets count as nothing and a `close_notify` counts as [`PeerEvent::Fin`].
    pub fn poll_peer(&mut self, cx: &mut Context<'_>) -> Poll<PeerEvent> {
        if let Err(error) = self.come_here() {
            return Poll::Ready(PeerEvent::Reset(error));
        }
        match self {
            Self::Socket(socket) => loop {
                ready!(socket.poll_readable(cx));
                if let Some(event) = seen(socket.try_look(|fd| peek(fd))) {
                    return Poll::Ready(event);
                }
            },
            Self::Tcp(tcp) => loop {
                if let Err(error) = ready!(tcp.poll_read_ready(cx)) {
                    return Poll::Ready(PeerEvent::Reset(error));
                }
                if let Some(event) = seen(tcp.try_io(Interest::READABLE, || peek(&*tcp))) {
                    return Poll::Ready(event);
                }
            },
            Self::Unix(unix) => loop {
                if let Err(error) = ready!(unix.poll_read_ready(cx)) {
                    return Poll::Ready(PeerEvent::Reset(error));
                }
                if let Some(event) = seen(unix.try_io(Interest::READABLE, || peek(&*unix))) {
                    return Poll::Ready(event);
                }
            },
            Self::Tls(tls) => tls.poll_peer(cx),
            Self::Other(other) => other.poll_peer(cx),
        }
    }

    /// Is it known that a read would find nothing, and that the task of `cx` is woken when it would? Then it need not be
    /// tried. False where that is not known.
    #[inline]
    pub fn is_waiting(&self, cx: &Context<'_>) -> bool {
        matches!(self, Self::Socket(socket) if socket.is_waiting(cx))
    }

    /// What [`poll_peer`](Self::poll_peer) would give now. Leaves the registered waker alone; makes no syscall while the
    /// reactor saw nothing.
    pub fn try_peer(&mut self) -> Option<PeerEvent> {
        match self {
            Self::Socket(socket) => seen(socket.try_look(|fd| peek(fd))),
            Self::Tcp(tcp) => seen(tcp.try_io(Interest::READABLE, || peek(&*tcp))),
            Self::Unix(unix) => seen(unix.try_io(Interest::READABLE, || peek(&*unix))),
            Self::Tls(tls) => tls.try_peer(),
            Self::Other(other) => other.try_peer(),
        }
    }

    /// Asks the kernel itself, in one syscall, whether the peer closed, broke or sent: for a connection that was idle,
    /// whose event the reactor may not have seen yet. Over TLS any record counts as [`PeerEvent::Data`].
    pub fn peek_now(&self) -> Option<PeerEvent> {
        seen(peek(self.socket()?))
    }

    /// Reads what is there, without a waker.
    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.try_read(into),
            Self::Tcp(tcp) => tcp.try_read(into),
            Self::Unix(unix) => unix.try_read(into),
            Self::Tls(tls) => tls.try_read(into),
            Self::Other(other) => other.try_read(into),
        }
    }

    /// Writes what the kernel takes at once, without a waker.
    pub(crate) fn try_write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.try_write(from),
            Self::Tcp(tcp) => tcp.try_write(from),
            Self::Unix(unix) => unix.try_write(from),
            Self::Tls(_) | Self::Other(_) => {
                match Pin::new(self).poll_write(&mut Context::from_waker(Waker::noop()), from) {
                    Poll::Ready(result) => result,
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
        }
    }

    /// The socket below, where there is one.
    pub fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Socket(socket) => Some(socket.as_fd()),
            Self::Tcp(tcp) => Some(tcp.as_fd()),
            Self::Unix(unix) => Some(unix.as_fd()),
            Self::Tls(tls) => tls.inner().socket(),
            Self::Other(_) => None,
        }
    }

    /// The TCP socket below, where there is one.
    pub fn tcp(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Socket(socket) => (socket.family() == Family::Tcp).then(|| socket.as_fd()),
            Self::Tcp(tcp) => Some(tcp.as_fd()),
            Self::Tls(tls) => tls.inner().tcp(),
            Self::Unix(_) | Self::Other(_) => None,
        }
    }

    /// Moves a socket that is polled away from its worker to the reactor of the runtime there.
    #[inline]
    fn come_here(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(socket) if !socket.is_here() => self.move_here(),
            _ => Ok(()),
        }
    }

    #[cold]
    fn move_here(&mut self) -> io::Result<()> {
        match std::mem::replace(self, Self::other(tokio::io::empty())) {
            Self::Socket(socket) => {
                *self = socket.leave()?;
                Ok(())
            }
            other => {
                *self = other;
                Ok(())
            }
        }
    }
}

fn peek(socket: impl AsFd) -> io::Result<usize> {
    let mut byte = [0u8; 1];
    let (_, count) = rustix::net::recv(socket, &mut byte, RecvFlags::PEEK)?;
    Ok(count)
}

fn seen(peeked: io::Result<usize>) -> Option<PeerEvent> {
    match peeked {
        Ok(0) => Some(PeerEvent::Fin),
        Ok(_) => Some(PeerEvent::Data),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
        Err(error) => Some(PeerEvent::Reset(error)),
    }
}

impl Ahead<dyn Io> {
    fn poll_peer(&mut self, cx: &mut Context<'_>) -> Poll<PeerEvent> {
        self.keep_waker(cx);
        if let Seen::Nothing = self.seen {
            let mut byte = [0u8; 1];
            let mut buf = ReadBuf::new(&mut byte);
            if let Err(error) = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)) {
                return Poll::Ready(PeerEvent::Reset(error));
            }
            self.seen = buf.filled().first().map_or(Seen::End, |byte| Seen::Byte(*byte));
        }
        Poll::Ready(if matches!(self.seen, Seen::End) { PeerEvent::Fin } else { PeerEvent::Data })
    }

    fn try_peer(&mut self) -> Option<PeerEvent> {
        let waker = self.waker.clone().unwrap_or_else(|| Waker::noop().clone());
        match self.poll_peer(&mut Context::from_waker(&waker)) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        }
    }

    fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let waker = self.waker.clone().unwrap_or_else(|| Waker::noop().clone());
        let mut buf = ReadBuf::new(into);
        match self.poll_read(&mut Context::from_waker(&waker), &mut buf) {
            Poll::Ready(result) => result.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn keep_waker(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|kept| kept.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.keep_waker(cx);
        match self.seen {
            Seen::Nothing => return Pin::new(&mut self.io).poll_read(cx, buf),
            Seen::Byte(byte) if buf.remaining() > 0 => {
                buf.put_slice(&[byte]);
                self.seen = Seen::Nothing;
            }
            Seen::Byte(_) | Seen::End => {}
        }
        Poll::Ready(Ok(()))
    }
}

/// Calls the same method of whatever carries the bytes; `$socket` is what a socket of ours does.
macro_rules! carried {
    ($stream:expr, $socket:ident => $do:expr, $method:ident($($argument:expr),*)) => {{
        let stream = $stream.get_mut();
        stream.come_here()?;
        match stream {
            Stream::Socket($socket) => $do,
            Stream::Tcp(tcp) => Pin::new(tcp).$method($($argument),*),
            Stream::Unix(unix) => Pin::new(unix).$method($($argument),*),
            Stream::Tls(tls) => Pin::new(&mut **tls).$method($($argument),*),
            Stream::Other(other) => Pin::new(&mut other.io).$method($($argument),*),
        }
    }};
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        stream.come_here()?;
        match stream {
            Self::Socket(socket) => socket.poll_read(cx, buf),
            // The socket's own poll_read drops its readiness after a short read: no extra read that finds nothing.
            Self::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_read(cx, buf),
            Self::Other(other) => other.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        carried!(self, socket => socket.poll_write(cx, from), poll_write(cx, from))
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        carried!(self, socket => socket.poll_write_vectored(cx, from), poll_write_vectored(cx, from))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Socket(_) | Self::Tcp(_) | Self::Unix(_) | Self::Tls(_) => true,
            Self::Other(other) => other.io.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // The kernel has it all.
            Self::Socket(_) | Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut **tls).poll_flush(cx),
            Self::Other(other) => Pin::new(&mut other.io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        carried!(self, socket => Poll::Ready(socket.shut_down()), poll_shutdown(cx))
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Socket(_) => "Socket",
            Self::Tcp(_) => "Tcp",
            Self::Unix(_) => "Unix",
            Self::Tls(_) => "Tls",
            Self::Other(_) => "Other",
        })
    }
}
