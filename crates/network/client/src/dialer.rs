//! From a place in the pool to a session in it: resolve, connect, greet.
//!
//! A dial runs on a worker of the engine, so that the connection belongs to that worker's reactor, and goes on when its
//! caller gives up: the finished session goes to stock, where the next caller finds it.

use std::sync::Arc;
use std::time::Instant;

use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
use millstream_pool::{Lent, Permit};
use millstream_runtime::{Worker, now};
use millstream_transport::{Addr, Opener, dial};

use crate::client::Shared;
use crate::lease::shard;
use crate::slot::Slot;
use crate::stats::Event;
use crate::target::Place;
use crate::{Protocol, Target};

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
) -> Result<LentOf<P>> {
    let worker = shared.home();
    let (give, take) = tokio::sync::oneshot::channel::<Result<LentOf<P>>>();
    let (shared, target) = (shared.clone(), target.clone());
    let here = worker.clone();
    let job = worker.spawn(async move || {
        let opened = open_here(&shared, &target, permit, opener, deadline, &here).await;
        if let Err(Ok(lent)) = give.send(opened) {
            lent.give_back(shard(shared.engine), now());
        }
    });
    let mut job = Box::pin(job);
    let mut take = take;
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        if let Poll::Ready(opened) = std::pin::Pin::new(&mut take).poll(cx) {
            return Poll::Ready(opened.unwrap_or_else(|_| Err(cancelled())));
        }
        match job.as_mut().poll(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // Its result is in the channel: the next poll of it would panic, but the one above comes first.
            Poll::Ready(Ok(())) => Poll::Ready(take.try_recv().unwrap_or_else(|_| Err(cancelled()))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, Origin::Local, "the engine has stopped").with_seen(Seen::No)
}

async fn open_here<P: Protocol>(
    shared: &Arc<Shared<P>>,
    target: &Target,
    permit: PermitOf<P>,
    opener: Opener,
    deadline: Deadline,
    worker: &Worker,
) -> Result<LentOf<P>> {
    shared.stats.count(Event::Dialled);
    let opened = connect(shared, target, opener, deadline).await;
    let session = match opened {
        Ok(session) => session,
        Err(error) => {
            shared.stats.count(Event::DialFailed);
            return Err(error.with_target(target.to_string()).with_seen(Seen::No));
        }
    };
    let bucket = permit.bucket().clone();
    let lent = permit.fill(Slot::new(session, worker.wheel().timer()), now());
    lent.settle(&bucket, lent.id());
    Ok(lent)
}

async fn connect<P: Protocol>(
    shared: &Shared<P>,
    target: &Target,
    opener: Opener,
    deadline: Deadline,
) -> Result<P::Session> {
    let addresses = addresses(shared, target, deadline).await?;
    let mut options = shared.options.dial.clone();
    options.tls = target.tls().cloned();
    let conn = dial(&addresses, &options, deadline, &shared.lives, opener).await?;
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
