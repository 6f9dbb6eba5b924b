//! Dialling: one connection to the first of several addresses that answers.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
use millstream_ports::{Held, Ports};
use tokio::net::UnixStream;

use crate::conn;
use crate::eyeballs::{Race, interleave, race};
use crate::listen::KEEPALIVE;
use crate::tcp;
use crate::tls::TlsClient;
use crate::{Account, Addr, Conn, LifeTable, Opener, Opening, Side, Stream};

/// How to dial.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialOptions {
    /// Sends small writes at once.
    pub nodelay: bool,
    /// Probes a silent peer after this span.
    pub keepalive: Option<Duration>,
    /// The addresses to dial from, of those of the target's family; with several, each has ports of its own. With none the
    /// kernel chooses.
    pub local_addrs: Vec<IpAddr>,
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
    /// Where the connection, or the failure, is booked ([`LifeTable::account`]).
    pub account: Option<Arc<Account>>,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: Some(KEEPALIVE),
            local_addrs: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            tls_timeout: Duration::from_secs(10),
            happy_eyeballs_delay: Duration::from_millis(250),
            tcp_user_timeout: None,
            tls: None,
            account: None,
        }
    }
}

impl DialOptions {
    /// Books the connection, or the failure, there.
    #[must_use]
    pub fn with_account(mut self, account: Arc<Account>) -> Self {
        self.account = Some(account);
        self
    }

    /// Speaks TLS with the server called `name`.
    #[must_use]
    pub fn with_tls(mut self, client: TlsClient, name: impl Into<Arc<str>>) -> Self {
        self.tls = Some((client, name.into()));
        self
    }

    /// Dials from this address.
    #[must_use]
    pub fn with_local_addr(self, address: IpAddr) -> Self {
        self.with_local_addrs([address])
    }

    /// Dials from these addresses: for each connection from one that has many free ports towards its target.
    #[must_use]
    pub fn with_local_addrs(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.local_addrs = addresses.into_iter().collect();
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
    let account = options.account.clone();
    let (stream, held, peer) =
        connect(targets, options, deadline, table.ports()).await.inspect_err(|error| {
            account.iter().for_each(|account| account.dial_failed(error));
        })?;
    let local = local_addr(&stream);
    let budget = held.and_then(Held::keep);
    let conn = Conn::new(stream, Opening { side: Side::Client, opener, local, peer, account, budget }, table);
    conn.set_connect_time(started.elapsed());
    match &options.tls {
        None => Ok(conn),
        Some((client, name)) => {
            let limit = Deadline::after(tokio::time::Instant::now().into_std(), options.tls_timeout);
            conn.start_tls(client, name, deadline.earlier(limit)).await
        }
    }
}

/// Connects to the first of `targets` that answers, without TLS: the stream, the port it holds, the address it reached.
async fn connect(
    targets: &[Addr],
    options: &DialOptions,
    deadline: Deadline,
    ports: &Ports,
) -> Result<(Stream, Option<Held>, Addr)> {
    let now = tokio::time::Instant::now().into_std();
    let limit = deadline.earlier(Deadline::after(now, options.connect_timeout));
    match tokio::time::timeout_at(limit.moment().into(), connect_first(targets, options, ports)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(timed_out(targets, limit.remaining(now))),
    }
}

async fn connect_first(
    targets: &[Addr],
    options: &DialOptions,
    ports: &Ports,
) -> Result<(Stream, Option<Held>, Addr)> {
    if let [target] = targets {
        let reached = connect_one(target, options, ports).await;
        let (stream, held) = reached.map_err(|error| connect_error(error, targets))?;
        return Ok((stream, held, target.clone()));
    }
    let order = interleave(targets);
    match race(order, options.happy_eyeballs_delay, |target| connect_one(target, options, ports)).await {
        Race::Won(target, (stream, held)) => Ok((stream, held, target.clone())),
        Race::Lost(Some(error)) => Err(connect_error(error, targets)),
        Race::Lost(None) => Err(Error::invalid("no address to connect to")),
    }
}

async fn connect_one(target: &Addr, options: &DialOptions, ports: &Ports) -> io::Result<tcp::Reached> {
    match target {
        Addr::Tcp(address) => tcp::connect(*address, options, ports).await,
        Addr::Unix(Some(path)) => connect_unix(path).await.map(|stream| (stream, None)),
        Addr::Unix(None) | Addr::Memory => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Connects, waiting for room in the listener's queue: where TCP would send its SYN again, a Unix socket says `EAGAIN`
/// at once and nothing tells when there is room.
async fn connect_unix(path: &Path) -> io::Result<Stream> {
    let mut pause = QUEUE_PAUSE;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(QUEUE_PAUSE_MAX);
            }
            connected => return connected.map(Stream::Unix),
        }
    }
}

#[cold]
fn connect_error(error: io::Error, targets: &[Addr]) -> Error {
    let cause = Error::from(error);
    let (kind, origin) = match cause.kind() {
        kind @ (Kind::PortsExhausted | Kind::Io | Kind::Invalid) => (kind, cause.origin()),
        Kind::Timeout => (Kind::Timeout, Origin::Network),
        _ => (Kind::Connect, cause.origin()),
    };
    Error::new(kind, origin, format!("can't connect to {}", listed(targets)))
        .with_phase(Phase::Connect)
        .with_seen(Seen::No)
        .with_source(cause)
}

#[cold]
fn timed_out(targets: &[Addr], limit: Duration) -> Error {
    let message = format!("can't connect to {}: timed out (limit {limit:?})", listed(targets));
    Error::new(Kind::Timeout, Origin::Network, message).with_phase(Phase::Connect).with_seen(Seen::No)
}

fn listed(targets: &[Addr]) -> String {
    let shown: Vec<_> = targets.iter().take(TARGETS_SHOWN).map(Addr::to_string).collect();
    match targets.len().saturating_sub(TARGETS_SHOWN) {
        0 => shown.join(" or "),
        more => format!("{} or {more} more", shown.join(" or ")),
    }
}

fn local_addr(stream: &Stream) -> Addr {
    stream.tcp().and_then(conn::local_addr).map_or(Addr::Unix(None), Addr::Tcp)
}

/// Between two tries for a place in a full queue: as long as a busy server takes for a few accepts (a guess).
const QUEUE_PAUSE: Duration = Duration::from_millis(1);
const QUEUE_PAUSE_MAX: Duration = Duration::from_millis(50);
/// Addresses that an error lists: one line must stay readable.
const TARGETS_SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_ports_is_no_connect_error() {
        let target = [Addr::Tcp("10.0.0.1:80".parse().unwrap())];
        let error = connect_error(io::Error::from_raw_os_error(99), &target);
        assert_eq!((error.kind(), error.origin()), (Kind::PortsExhausted, Origin::Local));
        assert!(!error.is_retryable());
    }
}
