//! One TCP connection to one address: where its port comes from, and how it gets there.
//!
//! Rules:
//! 1. Each attempt to connect counts in the budget of its source and destination before it is answered.
//! 2. A port of the private range is bound, if there is one and one is ready ([`millstream_ports::Ports::choose`]). Else the kernel's
//!    search is asked while there is room. Where it finds none, or most ports are held, a port of ours is taken over from TIME_WAIT,
//!    if the kernel lets us. Then the next source address has its turn.
//! 3. Every socket has `SO_REUSEADDR`: without it nobody could bind its port again while it waits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind, Origin};
use millstream_ports::{Choice, Held, Ports};
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::TcpStream;

use crate::any_parity::search_any_parity;
use crate::conn::local_addr;
use crate::listen::set_keepalive;
use crate::{DialOptions, Stream};

/// A connection whose port was taken over, and that took as long: its SYN was sent again (`TCP_TIMEOUT_INIT`,
/// include/net/tcp.h, is a second), so the peer, or something before it, still minds the old one.
const SYN_REPEATED: Duration = Duration::from_millis(900);

/// How many ports that are bound by us are tried for one connection before the kernel searches: each may be somebody else's by now.
const TAKEOVERS: usize = 4;

/// A stream, and the port it holds.
pub(crate) type Reached = (Stream, Option<Held>);

/// Connects to this address.
pub(crate) async fn connect(
    address: SocketAddr,
    options: &DialOptions,
    ports: &Ports,
) -> io::Result<Reached> {
    let is_same_family = |source: &IpAddr| source.is_ipv4() == address.is_ipv4();
    let mut sources: Vec<IpAddr> = options.local_addrs.iter().copied().filter(is_same_family).collect();
    if sources.len() > 1 {
        sources = ports.rank(&sources, address, Instant::now());
    }
    if sources.is_empty()
        && let Some(other) = options.local_addrs.first()
    {
        return Err(
            Error::invalid(format!("{other} can't be the source of a connection to {address}")).into()
        );
    }
    let sources = if sources.is_empty() { vec![None] } else { sources.into_iter().map(Some).collect() };
    for source in sources {
        match connect_from(source, address, options, ports).await {
            Err(error) if is_without_port(&error) => {}
            reached => return reached,
        }
    }
    Err(exhausted(address, ports).into())
}

/// What is known of the ports towards this destination; without a look at the kernel's list.
#[cold]
fn exhausted(address: SocketAddr, ports: &Ports) -> Error {
    let now = Instant::now();
    let budgets: Vec<String> =
        ports.towards(address).iter().map(|budget| budget.snapshot(now).to_string()).collect();
    let text = format!("no local port is free towards {address}: {}", budgets.join("; "));
    Error::new(Kind::PortsExhausted, Origin::Local, text)
}

async fn connect_from(
    source: Option<IpAddr>,
    address: SocketAddr,
    options: &DialOptions,
    ports: &Ports,
) -> io::Result<Reached> {
    for _ in 0..TAKEOVERS {
        let Choice::Take(held) = ports.choose(source, address, false, Instant::now()) else { break };
        if let Some(reached) = take_over(held, address, options).await {
            return reached;
        }
    }
    match search(source, address, options, ports).await {
        Err(error) if is_without_port(&error) => match ports.choose(source, address, true, Instant::now()) {
            Choice::Take(held) => take_over(held, address, options).await.unwrap_or(Err(error)),
            Choice::Search => Err(error),
        },
        reached => reached,
    }
}

/// The kernel's search.
async fn search(
    source: Option<IpAddr>,
    address: SocketAddr,
    options: &DialOptions,
    ports: &Ports,
) -> io::Result<Reached> {
    let socket = furnished(address, options)?;
    if let Some(local) = source {
        // Without it the bind would take a port for all destinations, not for this one (ip(7)).
        nix::sys::socket::setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&SocketAddr::new(local, 0).into()).map_err(|error| not_ours(error, local))?;
    }
    let began = Instant::now();
    start(&socket, address)?;
    let now = Instant::now();
    let held = local_addr(std::os::fd::AsFd::as_fd(&socket)).map(|local| ports.hold(local, address, now));
    if let Some(held) = &held {
        held.found_in(now.saturating_duration_since(began));
    }
    match answered(socket).await {
        Ok(stream) => Ok((stream, held)),
        Err(error) => {
            held.into_iter().for_each(|held| held.give_up(Instant::now()));
            Err(error)
        }
    }
}

/// A port that nobody else has, or that was ours and is in TIME_WAIT. `None` when the kernel does not let us have it.
async fn take_over(held: Held, address: SocketAddr, options: &DialOptions) -> Option<io::Result<Reached>> {
    let began = Instant::now();
    let started = furnished(address, options).and_then(|socket| {
        let local = held.source().unwrap_or(address.ip());
        socket.bind(&SocketAddr::new(local, held.port()).into())?;
        start(&socket, address)?;
        Ok(socket)
    });
    let socket = match started {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            held.in_use(Instant::now());
            return None;
        }
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            held.refused(Instant::now());
            return None;
        }
        Err(error) => return Some(Err(error)),
    };
    let answer = answered(socket).await;
    let now = Instant::now();
    if now.saturating_duration_since(began) >= SYN_REPEATED {
        held.was_slow(now);
    }
    match answer {
        Ok(stream) => Some(Ok((stream, Some(held)))),
        Err(error) => {
            held.give_up(now);
            Some(Err(error))
        }
    }
}

fn furnished(address: SocketAddr, options: &DialOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    search_any_parity(&socket);
    socket.set_tcp_nodelay(options.nodelay)?;
    set_keepalive(&SockRef::from(&socket), options.keepalive)?;
    if options.tcp_user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.tcp_user_timeout)?;
    }
    Ok(socket)
}

/// Finds a port, if none is bound, and sends the SYN.
fn start(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => Ok(()),
        started => started,
    }
}

/// Waits for the answer to the SYN.
async fn answered(socket: Socket) -> io::Result<Stream> {
    let stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        None => Ok(Stream::Tcp(stream)),
        Some(error) => Err(error),
    }
}

/// Did the kernel find no port?
fn is_without_port(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EADDRNOTAVAIL)
}

/// `EADDRNOTAVAIL` of a bind is not that of a connect: the address is wrong, ports are not exhausted.
fn not_ours(error: io::Error, local: IpAddr) -> io::Error {
    if error.kind() != io::ErrorKind::AddrNotAvailable {
        return error;
    }
    Error::new(Kind::Invalid, Origin::Caller, format!("{local} is no address of this host")).into()
}
