//! Dialling: one connection to the first of several addresses that answers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::{TcpSocket, UnixStream};

use crate::listen::{KEEPALIVE, set_keepalive};
use crate::tls::TlsClient;
use crate::{Addr, Conn, LifeTable, Opener, Opening, Side, Stream};

/// How to dial.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialOptions {
    /// Sends small writes at once.
    pub nodelay: bool,
    /// Probes a silent peer after this span.
    pub keepalive: Option<Duration>,
    /// The address to dial from.
    pub local_addr: Option<IpAddr>,
    /// The longest wait for a connection, over all addresses.
    pub connect_timeout: Duration,
    /// The longest TLS handshake.
    pub tls_timeout: Duration,
    /// How long one address may stay silent before the next is tried beside it (RFC 8305 §5).
    pub happy_eyeballs_delay: Duration,
    /// How long sent data may stay unacknowledged before the connection breaks.
    pub tcp_user_timeout: Option<Duration>,
    /// Speaks TLS with the server of this name.
    pub tls: Option<(TlsClient, Arc<str>)>,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(KEEPALIVE),
            local_addr: None,
            connect_timeout: Duration::from_secs(10),
            tls_timeout: Duration::from_secs(10),
            happy_eyeballs_delay: Duration::from_millis(250),
            tcp_user_timeout: None,
            tls: None,
        }
    }
}

impl DialOptions {
    /// Speaks TLS with the server called `name`.
    #[must_use]
    pub fn with_tls(mut self, client: TlsClient, name: impl Into<Arc<str>>) -> Self {
        self.tls = Some((client, name.into()));
        self
    }

    /// Dials from this address.
    #[must_use]
    pub fn with_local_addr(mut self, address: IpAddr) -> Self {
        self.local_addr = Some(address);
        self
    }

    /// Sets the longest wait for a connection, over all addresses.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }
}

/// Dials `targets`, speaks TLS if the options say so, and lists the connection in `table`.
///
/// Dropping the future closes what it had opened; no application has seen a byte.
///
/// # Errors
/// When no address answers, TLS fails or `deadline` passes: safe to try again ([`Seen::No`]).
pub async fn dial(
    targets: &[Addr],
    options: &DialOptions,
    deadline: Deadline,
    table: &LifeTable,
    opener: Opener,
) -> Result<Conn> {
    let started = Instant::now();
    let (stream, peer) = connect(targets, options, deadline).await?;
    let local = local_addr(&stream);
    let conn = Conn::new(stream, Opening { side: Side::Client, opener, local, peer }, table);
    conn.set_connect_time(started.elapsed());
    match &options.tls {
        None => Ok(conn),
        Some((client, name)) => {
            let limit = Deadline::after(Instant::now(), options.tls_timeout);
            conn.start_tls(client, name, deadline.earlier(limit)).await
        }
    }
}

/// Connects to the first of `targets` that answers, without TLS. Gives the stream and the address it reached.
///
/// Dropping the future closes what it had opened.
///
/// # Errors
/// When no address answers or `deadline` passes.
pub async fn connect(targets: &[Addr], options: &DialOptions, deadline: Deadline) -> Result<(Stream, Addr)> {
    let limit = deadline.earlier(Deadline::after(Instant::now(), options.connect_timeout));
    let mut last = None;
    for target in targets {
        match tokio::time::timeout_at(limit.moment().into(), connect_one(target, options)).await {
            Ok(Ok(stream)) => return Ok((stream, target.clone())),
            Ok(Err(error)) => last = Some(error),
            Err(_) => {
                return Err(Error::timeout(Phase::Connect, options.connect_timeout).with_seen(Seen::No));
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::invalid("no address to connect to")))
}

async fn connect_one(target: &Addr, options: &DialOptions) -> Result<Stream> {
    let connected = match target {
        Addr::Tcp(address) => connect_tcp(*address, options).await,
        Addr::Unix(Some(path)) => connect_unix(path).await,
        Addr::Unix(None) | Addr::Memory => return Err(Error::invalid(format!("can't connect to {target}"))),
    };
    connected.map_err(|error| connect_error(error, target))
}

async fn connect_tcp(address: SocketAddr, options: &DialOptions) -> io::Result<Stream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_tcp_nodelay(options.nodelay)?;
    set_keepalive(&SockRef::from(&socket), options.keepalive)?;
    if options.tcp_user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.tcp_user_timeout)?;
    }
    if let Some(local) = options.local_addr {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    TcpSocket::from_std_stream(socket.into()).connect(address).await.map(Stream::Tcp)
}

async fn connect_unix(path: &Path) -> io::Result<Stream> {
    UnixStream::connect(path).await.map(Stream::Unix)
}

fn connect_error(error: io::Error, target: &Addr) -> Error {
    let sorted = Error::io(error);
    let (kind, origin) = match sorted.kind() {
        Kind::PortsExhausted => (Kind::PortsExhausted, Origin::Local),
        Kind::Io => (Kind::Io, sorted.origin()),
        _ => (Kind::Connect, sorted.origin()),
    };
    Error::new(kind, origin, format!("can't connect to {target}"))
        .with_phase(Phase::Connect)
        .with_seen(Seen::No)
        .with_source(sorted)
}

fn local_addr(stream: &Stream) -> Addr {
    match stream.tcp().map(|tcp| tcp.local_addr()) {
        Some(Ok(address)) => Addr::Tcp(address),
        _ => Addr::Unix(None),
    }
}
