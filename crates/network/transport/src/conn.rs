//! One connection: its bytes and the record of its life.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use millstream_base::{Deadline, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::life::LifeRef;
use crate::tls::{TlsClient, TlsInfo, TlsServer};
use crate::{Accepted, Addr, Cause, ClosedBy, Life, LifeTable, Opener, Opening, PeerEvent, Side, Stream};

/// One connection. Reads and writes count into its [`Life`]; dropping it closes it and ends its record.
///
/// Over TLS a finished write may still lie in our buffer: flush after the last write of a message. On plain sockets a
/// flush does nothing.
#[derive(Debug)]
pub struct Conn {
    stream: Stream, // first: the socket closes before the record ends
    life: LifeRef,
}

impl Conn {
    /// Lists `stream` in `table`.
    pub fn new(stream: Stream, opening: Opening, table: &LifeTable) -> Self {
        Self { stream, life: table.open(opening) }
    }

    /// Makes an accepted socket a connection of this thread's reactor.
    ///
    /// # Errors
    /// When the reactor can't take it; the socket is closed then.
    pub fn accept(accepted: Accepted, table: &LifeTable) -> Result<Self> {
        let opening = accepted.opening();
        Ok(Self::new(accepted.into_stream()?, opening, table))
    }

    /// Two ends of a pipe within the process that holds up to `size` bytes each way: (client, server). For tests.
    pub fn pair(size: usize, table: &LifeTable) -> (Self, Self) {
        let (client, server) = tokio::io::duplex(size);
        let end = |io, side, opener| {
            let (local, peer) = (Addr::Memory, Addr::Memory);
            let opening = Opening { side, opener, local, peer, account: None, budget: None };
            Self::new(Stream::other(io), opening, table)
        };
        (end(client, Side::Client, Opener::Direct), end(server, Side::Server, Opener::Accepted))
    }

    /// The record of this connection.
    #[inline]
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// The record, to be kept beyond the connection.
    pub fn shared_life(&self) -> Arc<Life> {
        self.life.shared().clone()
    }

    /// The bytes below, without counting.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Our address. Asks the kernel where the record only knows a wildcard.
    pub fn local_addr(&self) -> Addr {
        let known = self.life.local();
        let asked = self.stream.tcp().filter(|_| known.is_wildcard()).map(local_addr);
        asked.flatten().map_or_else(|| known.clone(), Addr::Tcp)
    }

    /// The peer's address.
    pub fn peer_addr(&self) -> &Addr {
        self.life.peer()
    }

    /// What the TLS handshake agreed on; none without TLS.
    pub fn tls_info(&self) -> Option<TlsInfo> {
        match &self.stream {
            Stream::Tls(tls) => Some(tls.info()),
            _ => None,
        }
    }

    /// Is it encrypted?
    pub fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    /// Waits until the peer closes, breaks or sends; for a connection nobody reads, idle or behind a handler.
    ///
    /// Shares its waker with `poll_read`, so it is for the task that would read. Nothing is taken from the stream: a
    /// read after it finds every byte. [`PeerEvent::Data`] is given again until somebody reads.
    pub fn poll_peer(&mut self, cx: &mut Context<'_>) -> Poll<PeerEvent> {
        let event = ready!(self.stream.poll_peer(cx));
        self.note(&event);
        Poll::Ready(event)
    }

    /// What [`poll_peer`](Self::poll_peer) would give now, without touching its waker. Makes no syscall while the
    /// reactor saw nothing.
    pub fn try_peer(&mut self) -> Option<PeerEvent> {
        let event = self.stream.try_peer()?;
        self.note(&event);
        Some(event)
    }

    /// Is it known that a read would find nothing, and that the task of `cx` is woken when it would? Then it need not be
    /// tried. False where that is not known.
    #[inline]
    pub fn is_waiting(&self, cx: &Context<'_>) -> bool {
        self.stream.is_waiting(cx)
    }

    /// What the kernel says of an idle connection, in one syscall, also when the reactor saw nothing yet. Over TLS any
    /// record counts as [`PeerEvent::Data`].
    pub fn peek_now(&self) -> Option<PeerEvent> {
        let event = self.stream.peek_now()?;
        self.note(&event);
        Some(event)
    }

    /// Looks whether the peer has ended already, in one syscall if that is not known: a FIN that nobody has read yet, also behind
    /// unread bytes, came before ours. To be called before a close.
    pub fn see_end(&mut self) {
        if self.life.closed_by().is_some() {
            return;
        }
        let Some(socket) = self.stream.socket() else {
            self.try_peer();
            return;
        };
        let mut asked = [PollFd::new(&socket, PollFlags::RDHUP)];
        // An error means that nobody knows better.
        let Ok(1..) = poll(&mut asked, Some(&Timespec::default())) else { return };
        // Only with this flag there is an error to ask for.
        let has_error = asked[0].revents().contains(PollFlags::ERR);
        match has_error.then(|| rustix::net::sockopt::socket_error(socket)) {
            Some(Ok(Err(errno))) => self.note_error(&errno.into()),
            _ => self.life.closed_first(ClosedBy::Peer),
        }
    }

    fn note(&self, event: &PeerEvent) {
        match event {
            PeerEvent::Fin => self.life.closed_first(ClosedBy::Peer),
            PeerEvent::Reset(error) => self.note_error(error),
            PeerEvent::Data => {}
        }
    }

    #[cold]
    fn note_error(&self, error: &io::Error) {
        use io::ErrorKind as E;
        match error.kind() {
            E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe | E::UnexpectedEof => {
                self.life.closed_first(ClosedBy::Peer);
            }
            E::TimedOut | E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown => {
                self.life.closed_first(ClosedBy::Network);
            }
            _ => {}
        }
    }

    /// Makes the coming close a reset: what is unsent is lost, and nobody keeps TIME_WAIT. Does nothing but on TCP.
    pub fn set_linger_zero(&self) {
        if let Some(tcp) = self.stream.tcp() {
            // It fails only on a descriptor that is no socket.
            let _ = socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO));
        }
    }

    /// Makes the coming close a reset if that can lose nothing: the peer has acknowledged all that was sent, all that came was
    /// read, and nobody has closed yet (the kernel says so, in some microseconds). Then neither end keeps TIME_WAIT, and the record
    /// says that it was a reset. For a connection between two messages; a peer that reads meanwhile sees `ECONNRESET`.
    ///
    /// False, and nothing changed, where there is a doubt; always over TLS, whose end must be said.
    pub fn reset_if_quiescent(&self) -> bool {
        let (Addr::Tcp(local), Addr::Tcp(peer)) = (self.life.local(), self.life.peer()) else { return false };
        let is_quiet = !self.is_tls()
            && self.life.closed_by().is_none()
            && self.life.table().ports().is_quiescent(*local, *peer);
        if is_quiet {
            self.set_linger_zero();
            self.life.set_reset();
        }
        is_quiet
    }

    /// Says why it will end, without closing it yet. The first call wins, also over [`close`](Self::close).
    pub fn end(&self, cause: Cause) {
        self.life.end(cause);
    }

    /// Closes it for this reason. Who closed first is known from what was seen on the wire.
    ///
    /// Over TLS a `close_notify` goes out if the kernel takes it at once. To wait for that, `poll_shutdown` first.
    pub fn close(mut self, cause: Cause) {
        self.life.end(cause);
        self.see_end();
        if let Stream::Tls(tls) = &mut self.stream {
            tls.try_close_notify();
        }
    }

    /// The bytes below for another owner; the record ends as [`Cause::HandedOver`].
    pub fn into_stream(self) -> Stream {
        self.life.end(Cause::HandedOver);
        self.stream
    }

    /// Speaks TLS from here on, as a client, with the server called `name`.
    ///
    /// Dropping the future closes the connection in the middle of the handshake.
    ///
    /// # Errors
    /// When the handshake fails or the deadline passes; the connection is closed then.
    pub async fn start_tls(self, tls: &TlsClient, name: &str, deadline: Deadline) -> Result<Self> {
        let Self { stream, life } = self;
        let life = Handshaking::new(life);
        let done = tls.connect(stream, name, deadline).await;
        life.finish(done)
    }

    /// Speaks TLS from here on, as a server.
    ///
    /// Dropping the future closes the connection in the middle of the handshake.
    ///
    /// # Errors
    /// When the handshake fails or the deadline passes; the connection is closed then.
    pub async fn accept_tls(self, tls: &TlsServer, deadline: Deadline) -> Result<Self> {
        let Self { stream, life } = self;
        let life = Handshaking::new(life);
        let done = tls.accept(stream, deadline).await;
        life.finish(done)
    }

    pub(crate) fn set_connect_time(&self, span: Duration) {
        self.life.set_connect_time(span);
    }
}

/// The address a TCP socket is bound to.
pub(crate) fn local_addr(tcp: BorrowedFd<'_>) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getsockname(tcp).ok()?).ok()
}

/// The record of a connection in its TLS handshake: dropped there, it was cancelled.
struct Handshaking {
    life: Option<LifeRef>,
    started: Instant,
}

impl Handshaking {
    fn new(life: LifeRef) -> Self {
        Self { life: Some(life), started: Instant::now() }
    }

    fn finish(mut self, done: Result<Stream>) -> Result<Conn> {
        let life = self.life.take().expect("finish is called once, and only it takes");
        match done {
            Ok(stream) => {
                life.set_tls_time(self.started.elapsed());
                Ok(Conn { stream, life })
            }
            Err(error) => {
                life.end(Cause::Tls);
                Err(error)
            }
        }
    }
}

impl Drop for Handshaking {
    fn drop(&mut self) {
        if let Some(life) = &self.life {
            life.end(Cause::Cancelled);
        }
    }
}

impl AsyncRead for Conn {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        match &result {
            Ok(()) if buf.filled().len() > before => self.life.count_in(buf.filled().len() - before),
            Ok(()) if buf.remaining() > 0 => self.life.closed_first(ClosedBy::Peer),
            Ok(()) => {}
            Err(error) => self.note_error(error),
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Conn {
    #[inline]
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write(cx, from));
        Poll::Ready(self.wrote(result))
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, from));
        Poll::Ready(self.wrote(result))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends `close_notify` over TLS, then a FIN: the peer reads to the end; we can still read.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        match &result {
            Ok(()) => self.life.closed_first(ClosedBy::Us),
            Err(error) => self.note_error(error),
        }
        Poll::Ready(result)
    }
}

impl Conn {
    #[inline]
    fn wrote(&self, result: io::Result<usize>) -> io::Result<usize> {
        match &result {
            Ok(count) => self.life.count_out(*count),
            Err(error) => self.note_error(error),
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_fits_in_a_cache_line_and_moves_between_threads() {
        fn is_send<T: Send + Unpin>() {}
        is_send::<Conn>();
        assert!(size_of::<Conn>() <= 64, "{}", size_of::<Conn>());
    }
}
