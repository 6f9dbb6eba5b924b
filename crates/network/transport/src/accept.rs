//! Accepting: one syscall a connection, given to whichever worker shall have it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use millstream_base::Result;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::listen::SocketFile;
use crate::socket::Family;
use crate::{Addr, Opener, Opening, Side, Socket, Stream};

/// A listener watched by one thread's reactor.
#[derive(Debug)]
pub struct Acceptor {
    watched: TcpStream,
    local: Addr,
    ignored: u64,
    _file: Option<Arc<SocketFile>>,
}

/// Why nothing could be accepted.
#[derive(Debug)]
pub enum AcceptError {
    /// Out of descriptors or memory (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`): pause, then go on. Connections wait in
    /// the kernel's queue.
    Exhausted(io::Error),
    /// The listener itself is broken.
    Broken(io::Error),
}

impl std::fmt::Display for AcceptError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exhausted(error) => write!(f, "can't accept for now: {error}"),
            Self::Broken(error) => write!(f, "can't accept any more: {error}"),
        }
    }
}

impl std::error::Error for AcceptError {}

impl Acceptor {
    pub(crate) fn new(socket: OwnedFd, local: Addr, file: Option<Arc<SocketFile>>) -> Result<Self> {
        // Watched as if it were a stream: that type lets us ask for readiness and accept by ourselves, without unsafe
        // code. Nothing but its readiness is used.
        let watched = TcpStream::from_std(socket.into())?;
        Ok(Self { watched, local, ignored: 0, _file: file })
    }

    /// Accepts one connection, in one syscall. Connections that died in the queue are skipped and counted.
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Accepted, AcceptError>> {
        for _ in 0..SKIPS_PER_TURN {
            ready!(self.watched.poll_read_ready(cx)).map_err(AcceptError::Broken)?;
            // On WouldBlock the readiness is cleared: the next turn registers the waker.
            let accepted = self.watched.try_io(Interest::READABLE, || self.accept_now());
            if let Some(accepted) = self.sort(accepted) {
                return Poll::Ready(accepted);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Accepts what is queued at this moment; `None` when nothing is. Asks the kernel, where the reactor may not have
    /// looked yet: for the last connections before the listener closes.
    pub fn take_queued(&mut self) -> Option<Result<Accepted, AcceptError>> {
        for _ in 0..SKIPS_PER_TURN {
            let accepted = self.accept_now();
            let is_empty = matches!(&accepted, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            let accepted = self.sort(accepted);
            if accepted.is_some() || is_empty {
                return accepted;
            }
        }
        None
    }

    /// What accept(2) said, unless it concerns nobody.
    fn sort(&mut self, accepted: io::Result<Accepted>) -> Option<Result<Accepted, AcceptError>> {
        let error = match accepted {
            Ok(accepted) => return Some(Ok(accepted)),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                Some(Err(AcceptError::Exhausted(error)))
            }
            Some(errno) if died_in_queue(errno) => {
                self.ignored += 1;
                None
            }
            _ if error.kind() == io::ErrorKind::WouldBlock => None,
            _ => Some(Err(AcceptError::Broken(error))),
        }
    }

    /// Waits until a connection is queued, and leaves it there: for whoever has no place for it yet.
    pub fn poll_queued(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if ready!(self.watched.poll_read_ready(cx)).is_err() {
                return Poll::Ready(()); // poll_accept says what is broken
            }
            let queued = self.watched.try_io(Interest::READABLE, || {
                let mut listener = [PollFd::new(&self.watched, PollFlags::IN)];
                let count = rustix::event::poll(&mut listener, Some(&Timespec::default()))?;
                if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            if !matches!(queued, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                return Poll::Ready(());
            }
        }
    }

    /// `WouldBlock` when nothing is queued.
    fn accept_now(&self) -> io::Result<Accepted> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, peer) = rustix::net::acceptfrom_with(&self.watched, flags)?;
        let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
        let peer = peer.map_or(Addr::Unix(None), Addr::Tcp);
        Ok(Accepted { socket, peer, local: self.local.clone() })
    }

    /// Waits for one connection. Dropping the future loses none.
    ///
    /// # Errors
    /// As [`AcceptError`] says.
    pub async fn accept(&mut self) -> Result<Accepted, AcceptError> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Connections that died before they were accepted.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Where it listens.
    pub fn local_addr(&self) -> &Addr {
        &self.local
    }
}

/// Errors of accept(2) that concern one connection, not the listener.
fn died_in_queue(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::CONNABORTED
            | Errno::INTR
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
            | Errno::TIMEDOUT
    )
}

/// An accepted socket that no reactor watches yet: any worker can take it.
#[derive(Debug)]
pub struct Accepted {
    socket: OwnedFd,
    peer: Addr,
    local: Addr,
}

impl Accepted {
    /// The peer's address.
    pub fn peer(&self) -> &Addr {
        &self.peer
    }

    /// Registers it with the reactor of this thread: the worker's own, else tokio's.
    ///
    /// # Errors
    /// When the reactor can't take it; the socket is closed then.
    pub fn into_stream(self) -> io::Result<Stream> {
        let family = if matches!(self.peer, Addr::Tcp(_)) { Family::Tcp } else { Family::Unix };
        Socket::register(self.socket, family)
    }

    pub(crate) fn opening(&self) -> Opening {
        Opening {
            side: Side::Server,
            opener: Opener::Accepted,
            local: self.local.clone(),
            peer: self.peer.clone(),
            account: None,
            budget: None,
        }
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Dead connections skipped before other work gets a turn: a guess.
const SKIPS_PER_TURN: usize = 64;
