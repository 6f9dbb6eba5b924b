//! From a place in the pool to a session in it: resolve, connect, greet.
//!
//! A dial runs on a worker of the engine, so that the connection belongs to that worker's reactor, and goes on when its
//! caller gives up: the finished session goes to stock, where the next caller finds it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
use millstream_pool::{Lent, Permit};
use millstream_ports::Level;
use millstream_runtime::{Worker, now};
use millstream_transport::{Addr, Opener, dial};

use crate::client::Shared;
use crate::pressure::Watched;
use crate::slot::{self, Slot};
use crate::stats::Event;
use crate::target::Place;
use crate::{Lease, Protocol, Target};

/// A permit for a session of this protocol.
pub(crate) type PermitOf<P> = Permit<Slot<<P as Protocol>::Session>>;
/// A lent session of this protocol.
pub(crate) type LentOf<P> = Lent<Slot<<P as Protocol>::Session>>;

/// Opens a session in the place that `permit` holds.
///
/// Dropping the future lets the dial go on; what it opens goes to stock.
pub(crate) async fn open<P: Protocol>(
    shared: &Arc<Shared<P>>,
    target: &Target,
    permit: PermitOf<P>,
    opener: Opener,
    deadline: Deadline,
) -> Result<Lease<P>> {
    let worker = shared.home().clone();
    let (shared, target, here) = (shared.clone(), target.clone(), worker.clone());
    let dialling = worker.spawn(async move || {
        let lent = open_here(&shared, &target, permit, opener, deadline, here).await?;
        Ok(Parcel(Some(Lease::new(lent, shared.engine))))
    });
    match dialling.await {
        Ok(parcel) => parcel.map(Parcel::accept),
        Err(error) => Err(error.with_seen(Seen::No)),
    }
}

/// A session on its way from the dial to its caller. If that one has gone it goes to stock, watched like any other.
struct Parcel<P: Protocol>(Option<Lease<P>>);

impl<P: Protocol> Parcel<P> {
    fn accept(mut self) -> Lease<P> {
        self.0.take().expect("a parcel is made full, and only this empties it")
    }
}

impl<P: Protocol> Drop for Parcel<P> {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.release(now());
        }
    }
}

/// The same on the worker that the session will live on.
pub(crate) async fn open_here<P: Protocol>(
    shared: &Arc<Shared<P>>,
    target: &Target,
    permit: PermitOf<P>,
    opener: Opener,
    deadline: Deadline,
    worker: Worker,
) -> Result<LentOf<P>> {
    let begun = now();
    match dial_here(shared, target, &permit, opener, deadline, &worker).await {
        Ok(session) => {
            let habits = shared.habits.of(target);
            habits.pace.dialled_in(now().saturating_duration_since(begun));
            let lent = permit.fill(Slot::new(session, worker, habits, shared.options.reset_idle), now());
            slot::settle(&lent, shared.engine);
            Ok(lent)
        }
        Err(error) => {
            if error.kind() == Kind::PortsExhausted && !opener.is_ahead() {
                shared.gates.of(target).withdraw(permit, shared.max_open);
            }
            Err(error.with_seen(Seen::No))
        }
    }
}

async fn dial_here<P: Protocol>(
    shared: &Arc<Shared<P>>,
    target: &Target,
    permit: &PermitOf<P>,
    opener: Opener,
    deadline: Deadline,
    home: &Worker,
) -> Result<P::Session> {
    let addresses = addresses(shared, target, deadline).await.inspect_err(|_| {
        shared.stats.count(Event::DialFailed);
    })?;
    let tcp: Vec<SocketAddr> = addresses.iter().filter_map(Addr::as_tcp).collect();
    let gate = shared.gates.of(target);
    let close = |is_short| {
        gate.close(is_short, || Watched {
            bucket: permit.bucket().clone(),
            ports: shared.lives.ports().clone(),
            addresses: tcp.clone(),
            sources: shared.options.dial.local_addrs.clone(),
            max_open: shared.max_open,
            home: home.clone(),
        });
    };
    if opener != Opener::Retry {
        let room = || shared.lives.ports().room(tcp.iter().copied(), Instant::now());
        let level = || shared.lives.ports().level(tcp.iter().copied(), Instant::now());
        if opener.is_ahead() && (gate.is_closed() || level() >= Level::Careful) {
            // Nobody waits for it: it is not worth a gate.
            return Err(Error::new(Kind::PortsExhausted, Origin::Local, "local ports are getting scarce"));
        }
        if permit.bucket().places() > 1 && room() == 0 {
            close(false);
            return Err(gate.error());
        }
        if !gate.lets_dial() {
            return Err(gate.error());
        }
    }
    shared.stats.count(Event::Dialled);
    connect(shared, target, &addresses, opener, deadline).await.inspect_err(|error| {
        shared.stats.count(Event::DialFailed);
        if error.kind() == Kind::PortsExhausted {
            close(true);
        }
    })
}

async fn connect<P: Protocol>(
    shared: &Shared<P>,
    target: &Target,
    addresses: &[Addr],
    opener: Opener,
    deadline: Deadline,
) -> Result<P::Session> {
    let mut options = shared.options.dial.clone();
    options.tls = target.tls().cloned();
    options.account = Some(shared.lives.account(&target.to_string()));
    let conn = dial(addresses, &options, deadline, &shared.lives, opener).await?;
    let limit = Deadline::after(now(), options.tls_timeout).earlier(deadline);
    within(limit, Phase::Handshake, shared.protocol.open(conn, target, limit)).await
}

async fn addresses<P: Protocol>(
    shared: &Shared<P>,
    target: &Target,
    deadline: Deadline,
) -> Result<Vec<Addr>> {
    match target.place() {
        Place::Unix(path) => Ok(vec![Addr::unix(path)]),
        Place::Host(host, port) => {
            if let Ok(ip) = host.parse::<IpAddr>() {
                return Ok(vec![Addr::Tcp((ip, *port).into())]);
            }
            let found = within(deadline, Phase::Resolve, shared.resolver.resolve(host)).await?;
            Ok(found.addresses().iter().map(|ip| Addr::Tcp((*ip, *port).into())).collect())
        }
    }
}

/// The output, unless the deadline passes first. On a worker's own runtime.
async fn within<T>(deadline: Deadline, phase: Phase, work: impl Future<Output = Result<T>>) -> Result<T> {
    let started: Instant = now();
    match tokio::time::timeout_at(deadline.moment().into(), work).await {
        Ok(result) => result.map_err(|error| error.with_phase(phase)),
        Err(_elapsed) => Err(Error::timeout(phase, deadline.remaining(started)).with_seen(Seen::No)),
    }
}
