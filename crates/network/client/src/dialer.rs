//! From a place in the pool to a session in it: resolve, connect, greet.
//!
//! A dial runs on a worker of the engine, so that the connection belongs to that worker's reactor, and goes on when its
//! caller gives up: the finished session goes to stock, where the next caller finds it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use millstream_base::{Deadline, Error, Kind, Phase, Result, Seen};
use millstream_pool::{Lent, Permit};
use millstream_runtime::{Worker, now};
use millstream_transport::{Addr, Opener, dial};

use crate::client::Shared;
use crate::slot::{self, Slot};
use crate::stats::Event;
use crate::target::Place;
use crate::{Lease, Protocol, Target};

/// A permit for a session of this protocol.
pub(crate) type PermitOf<P> = Permit<Slot<<P as Protocol>::Session>>;
/// A lent session of this protocol.
pub(crate) type LentOf<P> = Lent<Slot<<P as Protocol>::Session>>;

/// What a connection is opened for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand {
    pub(crate) opener: Opener,
    /// Is `connect` called also where no port was free a moment ago?
    pub(crate) passes_gate: bool,
}

impl Errand {
    /// One that is tried whatever is known of ports.
    pub(crate) fn sure(opener: Opener) -> Self {
        Self { opener, passes_gate: true }
    }
}

/// Opens a session in the place that `permit` holds.
///
/// Dropping the future lets the dial go on; what it opens goes to stock.
pub(crate) async fn open<P: Protocol>(
    shared: &Arc<Shared<P>>,
    target: &Target,
    permit: PermitOf<P>,
    errand: Errand,
    deadline: Deadline,
) -> Result<Lease<P>> {
    let worker = shared.home().clone();
    let (shared, target, here) = (shared.clone(), target.clone(), worker.clone());
    let dialling = worker.spawn(async move || {
        let lent = open_here(&shared, &target, permit, errand, deadline, here).await?;
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

async fn open_here<P: Protocol>(
    shared: &Arc<Shared<P>>,
    target: &Target,
    permit: PermitOf<P>,
    errand: Errand,
    deadline: Deadline,
    worker: Worker,
) -> Result<LentOf<P>> {
    shared.stats.count(Event::Dialled);
    match connect(shared, target, errand, deadline).await {
        Ok(session) => {
            let habits = shared.habits.of(target);
            let lent = permit.fill(Slot::new(session, worker, habits), now());
            slot::settle(&lent, shared.engine);
            Ok(lent)
        }
        Err(error) => {
            shared.stats.count(Event::DialFailed);
            Err(error.with_seen(Seen::No))
        }
    }
}

async fn connect<P: Protocol>(
    shared: &Shared<P>,
    target: &Target,
    errand: Errand,
    deadline: Deadline,
) -> Result<P::Session> {
    let addresses = addresses(shared, target, deadline).await?;
    let mut options = shared.options.dial.clone();
    options.tls = target.tls().cloned();
    options.account = Some(shared.lives.account(&target.to_string()));
    let gate = shared.gates.of(target);
    if gate.is_closed() && !errand.passes_gate {
        return Err(gate.error());
    }
    let dialled = dial(&addresses, &options, deadline, &shared.lives, errand.opener).await;
    match &dialled {
        Err(error) if error.kind() == Kind::PortsExhausted => {
            gate.close(addresses.iter().filter_map(Addr::as_tcp));
        }
        _ => gate.open(),
    }
    let conn = dialled?;
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
