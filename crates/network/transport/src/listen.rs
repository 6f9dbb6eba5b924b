//! Listening: bind, share a port between workers.
//!
//! A [`Listener`] is bound and belongs to no thread; [`Listener::register`] gives it to the reactor of the thread that
//! will accept.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Result};
use socket2::{Domain, SockAddr, SockRef, Socket, TcpKeepalive, Type};

use crate::{Acceptor, Addr, ListenAddr};

/// How to listen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Connections the kernel queues until they are accepted. The kernel cuts it to `net.core.somaxconn`.
    pub backlog: u32,
    /// Lets [`Listener::sibling`] bind the same TCP port again, for another worker.
    pub reuse_port: bool,
    /// Sends small writes at once. Set on the listener: Linux hands it down to what is accepted.
    pub nodelay: bool,
    /// Probes a silent peer after this span; handed down like `nodelay`.
    pub keepalive: Option<Duration>,
    /// Permissions of a Unix socket's file; without it, what the umask leaves.
    pub unix_mode: Option<u32>,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            backlog: BACKLOG,
            reuse_port: false,
            nodelay: true,
            keepalive: Some(KEEPALIVE),
            unix_mode: None,
        }
    }
}

impl ListenOptions {
    /// Sets the length of the accept queue.
    #[must_use]
    pub fn with_backlog(mut self, backlog: u32) -> Self {
        self.backlog = backlog;
        self
    }

    /// Lets several workers bind the same TCP port.
    #[must_use]
    pub fn with_reuse_port(mut self) -> Self {
        self.reuse_port = true;
        self
    }

    /// Sets when a silent peer is probed; `None` for never.
    #[must_use]
    pub fn with_keepalive(mut self, after: Option<Duration>) -> Self {
        self.keepalive = after;
        self
    }

    /// Sets the permissions of a Unix socket's file.
    #[must_use]
    pub fn with_unix_mode(mut self, mode: u32) -> Self {
        self.unix_mode = Some(mode);
        self
    }
}

/// A bound and listening socket that no reactor watches yet.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    local: Addr,
    options: ListenOptions,
    file: Option<Arc<SocketFile>>,
}

impl Listener {
    /// Binds and listens.
    ///
    /// On Unix sockets a file left behind by a dead process is replaced; one that answers is not. With `reuse_port` the
    /// first bind still fails when another process listens there: only [`sibling`](Self::sibling)s share a port.
    ///
    /// # Errors
    /// When the address is taken, not ours, or not allowed.
    pub fn bind(address: &ListenAddr, options: &ListenOptions) -> Result<Self> {
        let bound = match address {
            ListenAddr::Tcp(address) => Self::bind_tcp(*address, options, Share::Exclusive),
            ListenAddr::Unix(path) => Self::bind_unix(path, options),
        };
        bound.map_err(|error| bind_error(error, address))
    }

    fn bind_tcp(address: SocketAddr, options: &ListenOptions, share: Share) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_reuse_address(true)?; // connections in TIME_WAIT must not hold the port
        if share == Share::Sibling {
            socket.set_reuse_port(true)?;
        }
        socket.set_tcp_nodelay(options.nodelay)?;
        set_keepalive(&SockRef::from(&socket), options.keepalive)?;
        socket.bind(&address.into())?;
        // Only after the bind: the bind must fail when a stranger listens here with SO_REUSEPORT.
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        listen(&socket, options)?;
        let local = socket.local_addr()?.as_socket().map_or(Addr::Tcp(address), Addr::Tcp);
        Ok(Self { socket: socket.into(), local, options: options.clone(), file: None })
    }

    fn bind_unix(path: &Path, options: &ListenOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
        if let Some(mode) = options.unix_mode {
            // Before the bind, so that the file is never open to more than `mode` says.
            rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(mode))?;
        }
        let address = SockAddr::unix(path)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && remove_stale(path) => {
                socket.bind(&address)?;
            }
            other => other?,
        }
        let file = SocketFile::new(path)?;
        if let Some(mode) = options.unix_mode {
            rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(mode))?; // what the umask took away
        }
        listen(&socket, options)?;
        let (local, options) = (Addr::unix(path), options.clone());
        Ok(Self { socket: socket.into(), local, options, file: Some(Arc::new(file)) })
    }

    /// Another listener at the same address, for another worker. On TCP it has an accept queue of its own and needs
    /// `reuse_port`; on Unix sockets all siblings share one queue.
    ///
    /// # Errors
    /// Without `reuse_port`, or when the system refuses.
    pub fn sibling(&self) -> Result<Self> {
        let address = match &self.local {
            Addr::Tcp(address) if self.options.reuse_port => *address,
            Addr::Tcp(_) => return Err(Error::invalid("a port is shared only with reuse_port")),
            _ => {
                let socket = self.socket.try_clone()?;
                let (local, options) = (self.local.clone(), self.options.clone());
                return Ok(Self { socket, local, options, file: self.file.clone() });
            }
        };
        Self::bind_tcp(address, &self.options, Share::Sibling)
            .map_err(|error| bind_error(error, &ListenAddr::Tcp(address)))
    }

    /// Where it listens; with the port the kernel chose.
    pub fn local_addr(&self) -> &Addr {
        &self.local
    }

    /// Gives it to the reactor of this thread.
    ///
    /// # Errors
    /// When the reactor can't take it.
    ///
    /// # Panics
    /// Outside a tokio runtime with I/O.
    pub fn register(self) -> Result<Acceptor> {
        Acceptor::new(self.socket, self.local, self.file)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    Exclusive,
    Sibling,
}

fn listen(socket: &Socket, options: &ListenOptions) -> io::Result<()> {
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))
}

/// Turns keep-alive probes on: first after `after` of silence, then each tenth of it.
pub(crate) fn set_keepalive(socket: &SockRef<'_>, after: Option<Duration>) -> io::Result<()> {
    let Some(after) = after else { return Ok(()) };
    let second = Duration::from_secs(1); // the kernel counts in seconds
    let probe = TcpKeepalive::new().with_time(after.max(second)).with_interval((after / 10).max(second));
    socket.set_tcp_keepalive(&probe)
}

fn bind_error(error: io::Error, address: &ListenAddr) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied => {
            Kind::Invalid
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::NotFound => Kind::Invalid,
        _ => Kind::Io,
    };
    Error::new(kind, Origin::Local, format!("can't listen on {address}")).with_source(error)
}

/// Removes a socket file that nobody answers at. Says whether it did.
fn remove_stale(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    is_socket && is_refused(path) && std::fs::remove_file(path).is_ok()
}

fn is_refused(path: &Path) -> bool {
    matches!(std::os::unix::net::UnixStream::connect(path),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// The file of a Unix socket, removed when the last listener on it goes.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let inode = inode(&path)?;
        Ok(Self { path, inode })
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    let meta = std::fs::symlink_metadata(path)?;
    Ok((meta.dev(), meta.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have put its own socket there meanwhile: that one stays.
        if inode(&self.path).is_ok_and(|now| now == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// More than any kernel allows by default, so that `net.core.somaxconn` decides.
const BACKLOG: u32 = 65_535;
/// Before the shortest idle limits of common load balancers and NATs (a guess: cloud balancers use 60 to 350 s).
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);
