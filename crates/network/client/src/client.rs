//! One call: checkout, exchange, retry.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use millstream_base::{Deadline, EngineId, Error, Kind, Phase, Result, Seen, Slot as WorkerSlot};
use millstream_pool::{Bucket, EvictCause, Grant, Pool, PoolOptions};
use millstream_ports::{LocalPorts, Ports};
use millstream_runtime::{Engine, Stage, Worker, now, spawn_local, turn_now};
use millstream_transport::{Cause, LifeTable, Opener};
use millstream_upstream::{Cache, CacheOptions, Resolve, Task};

use crate::demand::{self, AllDemand};
use crate::dialer::{self, LentOf, PermitOf};
use crate::habits::AllHabits;
use crate::lease::shard;
use crate::pace::TICK;
use crate::pressure::Gates;
use crate::retry::{Budget, may_retry};
use crate::slot::{self, Slot};
use crate::stats::{self, Event, Stats};
use crate::{ClientOptions, Failed, Lease, PoolStats, Protocol, Session, SystemResolver, Target};

/// A client of one protocol: its connections, shared by whoever has a clone. Dropping the last clone closes the idle
/// ones; those in use end with their calls.
pub struct Client<P: Protocol>(Arc<Shared<P>>);

pub(crate) struct Shared<P: Protocol> {
    pub(crate) protocol: P,
    pub(crate) options: ClientOptions,
    pub(crate) engine: EngineId,
    pub(crate) lives: LifeTable,
    pub(crate) pool: Pool<Target, Slot<P::Session>>,
    /// Connections to one target at most, while ports are not short.
    pub(crate) max_open: usize,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) stats: Stats,
    pub(crate) habits: AllHabits,
    pub(crate) demand: AllDemand,
    budget: Budget,
    pub(crate) gates: Gates,
    workers: Box<[Worker]>,
    next_home: AtomicUsize,
}

/// What one call may differ in from the client's options.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Call {
    /// The call's deadline, if it is not the client's.
    pub timeout: Option<Duration>,
    /// When the call must have ended, whatever its timeout says: for a call that is a part of a longer one.
    pub deadline: Option<Deadline>,
}

impl Call {
    /// As the client's options say.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this deadline.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// To end by then.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Deadline) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// A session idle for no longer than this is not looked at once more: the syscall would cost more than it finds.
const FRESH: Duration = Duration::from_millis(1);

impl<P: Protocol> Client<P> {
    /// A client whose connections live on this engine's workers. It does not keep the engine alive. Names are resolved by
    /// the host's resolver, and remembered.
    pub fn new(engine: &Engine, lives: LifeTable, protocol: P, options: ClientOptions) -> Self {
        let worker = engine.workers()[0].clone();
        let system = SystemResolver::new(worker.clone());
        let on_worker = move |lookup: Task| {
            // An error means that the engine has stopped: the callers have their own answer then.
            let _ = worker.run(move || drop(spawn_local(lookup)));
        };
        let cache = Cache::new(system, CacheOptions::default().clock(now).spawn(on_worker));
        Self::with_resolver(engine, lives, protocol, options, Arc::new(cache))
    }

    /// The same with another resolver, which is asked for each connection: wrap it in a [`Cache`] if it does not remember.
    pub fn with_resolver(
        engine: &Engine,
        lives: LifeTable,
        protocol: P,
        options: ClientOptions,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        let workers: Box<[Worker]> = engine.workers().into();
        // The rest of the ports is for what waits in TIME_WAIT, and for others.
        let share = LocalPorts::read().share().saturating_mul(options.dial.local_addrs.len().max(1));
        let max_open = options.max_open.min(share);
        let pool = PoolOptions::default()
            .shards(workers.len())
            .max_open(max_open)
            .max_idle(max_open)
            .max_waiters(options.max_waiters)
            .newest_first_after(options.newest_first_after.unwrap_or(options.checkout_timeout / 2))
            .idle_timeout(options.idle_timeout)
            .lifetime(options.lifetime);
        let shared = Arc::new(Shared {
            protocol,
            options,
            engine: engine.id(),
            lives,
            pool: Pool::new(pool),
            max_open,
            resolver,
            stats: Stats::new(engine),
            habits: AllHabits::default(),
            demand: AllDemand::default(),
            budget: Budget::new(),
            gates: Gates::default(),
            workers,
            next_home: AtomicUsize::new(0),
        });
        stats::register(engine, &shared);
        sweep(engine, &shared);
        Self(shared)
    }

    /// The protocol.
    pub fn protocol(&self) -> &P {
        &self.0.protocol
    }

    /// The options.
    pub fn options(&self) -> &ClientOptions {
        &self.0.options
    }

    /// The pool's numbers, over all targets.
    pub fn pool_stats(&self) -> PoolStats {
        self.0.pool.totals()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<P>> {
        &self.0
    }

    /// Closes all idle connections now; those in use as they come back.
    pub fn close_idle(&self) {
        drop(self.0.pool.close_all());
    }

    /// Sends `request` to `target` and gives the reply.
    ///
    /// Dropping the future cancels: the connection in use is closed, a connection being made goes to stock.
    ///
    /// # Errors
    /// With phase, origin and whether the peer may have acted on the request. A call that failed on a reused connection
    /// in a way that is safe to repeat was repeated once already.
    pub async fn call(&self, target: &Target, request: P::Request, call: Call) -> Result<P::Reply> {
        let shared = &self.0;
        let started = turn_now();
        let timeout = call.timeout.unwrap_or(shared.options.call_timeout);
        let deadline = call.deadline.unwrap_or_else(|| Deadline::after(started, timeout));
        shared.stats.count(Event::Call);
        shared.budget.earn();
        let bucket = shared.pool.bucket(target);
        let lease = match shared.stocked(&bucket, started) {
            Some(lease) if lease.idle_for() <= FRESH || shared.protocol.is_idempotent(&request) => Ok(lease),
            // Boxed, as the retry below: what is seldom needed must not be moved about with each call.
            Some(lease) => Box::pin(shared.timely(target, lease, deadline)).await,
            None => Box::pin(shared.checkout(target, &bucket, deadline)).await,
        };
        let lease = lease.map_err(|error| shared.fail(error, target, started))?;
        let was_reused = lease.is_reused();
        let failed = match shared.protocol.call(lease, request, deadline).await {
            Ok(reply) => return Ok(reply),
            Err(failed) => failed,
        };
        let may_retry = shared.options.retries && may_retry(&shared.protocol, &failed, was_reused);
        let Failed { error, request } = failed;
        match request {
            Some(request) if may_retry && shared.budget.spend() => {
                Box::pin(self.call_again(target, &bucket, request, deadline))
                    .await
                    .map_err(|again| shared.fail(after(&error, again), target, started))
            }
            _ => Err(shared.fail(error, target, started)),
        }
    }

    /// The second try: always on a fresh connection.
    async fn call_again(
        &self,
        target: &Target,
        bucket: &Arc<Bucket<Slot<P::Session>>>,
        request: P::Request,
        deadline: Deadline,
    ) -> Result<P::Reply> {
        let shared = &self.0;
        shared.stats.count(Event::Retried);
        let permit = match shared.grant(bucket, shared.limit(deadline)).await? {
            Grant::Dial(permit) => permit,
            // One that lay beside the broken one is as suspect: its place is worth more than it.
            Grant::Session(lent) => slot::vacate(lent, Cause::StaleOnCheckout),
        };
        let lease = dialer::open(shared, target, permit, Opener::Retry, deadline).await?;
        shared.protocol.call(lease, request, deadline).await.map_err(|failed| failed.error)
    }
}

/// The error of a second try: what the peer may have seen of the first one counts as well.
fn after(first: &Error, again: Error) -> Error {
    let seen = first.seen().max(again.seen());
    again.with_seen(seen)
}

impl<P: Protocol> Shared<P> {
    /// The worker a new connection lives on: the caller's own, else one after the other.
    pub(crate) fn home(&self) -> &Worker {
        let own = WorkerSlot::index_in(self.engine);
        let index = own.unwrap_or_else(|| self.next_home.fetch_add(1, Relaxed) % self.workers.len());
        &self.workers[index]
    }

    #[cold]
    fn fail(&self, error: Error, target: &Target, started: Instant) -> Error {
        self.stats.count(Event::Failed);
        let elapsed = now().saturating_duration_since(started);
        error.with_target(target.to_string()).with_elapsed(elapsed)
    }

    /// A session from stock. Each turn that goes on has taken one out of it.
    #[inline]
    fn stocked(&self, bucket: &Arc<Bucket<Slot<P::Session>>>, now: Instant) -> Option<Lease<P>> {
        loop {
            let lent = bucket.try_checkout(shard(self.engine), now)?;
            if let Some(lease) = self.alive(lent) {
                return Some(lease);
            }
        }
    }

    /// The session, unless the kernel knows that its peer has gone. What was in use a moment ago is taken as it is: the
    /// reactor has told of everything older.
    #[inline]
    fn alive(&self, lent: LentOf<P>) -> Option<Lease<P>> {
        if lent.idle_for() > FRESH && lent.session.conn().peek_now().is_some() {
            slot::end(lent, Cause::StaleOnCheckout, EvictCause::StaleOnCheckout);
            return None;
        }
        Some(Lease::new(lent, self.engine))
    }

    /// For what must not be sent twice: a new session in the place of one that its peer may close at any moment.
    async fn timely(
        self: &Arc<Self>,
        target: &Target,
        lease: Lease<P>,
        deadline: Deadline,
    ) -> Result<Lease<P>> {
        let permit = match lease.vacate_if_late() {
            Ok(lease) => return Ok(lease),
            Err(permit) => permit,
        };
        let bucket = permit.bucket().clone();
        match dialer::open(self, target, permit, Opener::PoolEmpty, deadline).await {
            Err(error) if error.kind() == Kind::PortsExhausted => {
                self.checkout(target, &bucket, deadline).await
            }
            outcome => outcome,
        }
    }

    /// A session from stock, from another caller, or a new one; where no local port is free, as soon as one is.
    async fn checkout(
        self: &Arc<Self>,
        target: &Target,
        bucket: &Arc<Bucket<Slot<P::Session>>>,
        deadline: Deadline,
    ) -> Result<Lease<P>> {
        let limit = self.limit(deadline);
        let mut is_counted = false;
        loop {
            let gate = self.gates.of(target);
            if gate.is_closed() && !std::mem::replace(&mut is_counted, true) {
                self.stats.count(Event::PortsShort);
            }
            let permit = match self.grant(bucket, limit).await {
                Ok(Grant::Dial(permit)) => match self.wait_rather(target, permit).await {
                    Rather::Dial(permit) => permit,
                    Rather::Use(lease) => return Ok(lease),
                    Rather::Again => continue,
                },
                Ok(Grant::Session(lent)) => match self.alive(lent) {
                    Some(lease) => return Ok(lease),
                    None => continue,
                },
                Err(error) if error.kind() == Kind::Timeout && gate.is_closed() => {
                    return Err(gate
                        .full_error(self.home(), self.lives.ports(), &self.options.dial.local_addrs)
                        .await);
                }
                Err(error) => return Err(error),
            };
            let opener = if bucket.places() == 1 { Opener::PoolEmpty } else { Opener::AllBusy };
            match dialer::open(self, target, permit, opener, deadline).await {
                // Its place is gone: it waits for another, or for a session.
                Err(error) if error.kind() == Kind::PortsExhausted => {}
                outcome => return outcome,
            }
        }
    }

    /// Waits for a session that is about to come back, where a dial takes longer ([`pace`](crate::pace)).
    async fn wait_rather(&self, target: &Target, mut permit: PermitOf<P>) -> Rather<P> {
        let habits = self.habits.of(target);
        let begun = now();
        let Some(waiting) = habits.pace.wait(permit.bucket().stats().lent) else {
            return Rather::Dial(permit);
        };
        loop {
            // By the runtime's clock: the wheel's steps are eight times as long. An error: the engine has stopped.
            if self.home().spawn(async || tokio::time::sleep(TICK).await).await.is_err() {
                return Rather::Dial(permit);
            }
            permit = match permit.or_idle(shard(self.engine), now()) {
                Ok(lent) => return self.alive(lent).map_or(Rather::Again, Rather::Use),
                Err(permit) => permit,
            };
            if !waiting.goes_on(now().saturating_duration_since(begun)) {
                return Rather::Dial(permit);
            }
        }
    }

    /// How long a call waits for a connection.
    fn limit(&self, deadline: Deadline) -> Deadline {
        deadline.earlier(Deadline::after(now(), self.options.checkout_timeout))
    }

    async fn grant(
        &self,
        bucket: &Arc<Bucket<Slot<P::Session>>>,
        limit: Deadline,
    ) -> Result<Grant<Slot<P::Session>>> {
        let begun = now();
        let mut checkout = pin!(bucket.checkout(shard(self.engine), begun));
        let mut timer = None;
        poll_fn(|cx| {
            if let Poll::Ready(grant) = checkout.as_mut().poll(cx) {
                return Poll::Ready(
                    grant.map_err(|error| error.with_phase(Phase::Checkout).with_seen(Seen::No)),
                );
            }
            let timer = timer.get_or_insert_with(|| {
                let timer = self.home().wheel().timer();
                timer.arm(limit.moment());
                timer
            });
            let late = || Error::timeout(Phase::Checkout, limit.remaining(begun)).with_seen(Seen::No);
            timer.poll_expired(cx).map(|()| Err(late()))
        })
        .await
    }
}

/// What came of waiting rather than dialling.
enum Rather<P: Protocol> {
    /// Nothing: the place is still there.
    Dial(PermitOf<P>),
    /// A session came back.
    Use(Lease<P>),
    /// One came back that was no good.
    Again,
}

/// Lets go of idle connections past their time, and of all when the engine drains. Ends with the client, or with the
/// engine, and refuses then whoever waits.
fn sweep<P: Protocol>(engine: &Engine, client: &Arc<Shared<P>>) {
    let worker = engine.workers()[0].clone();
    let home = worker.clone();
    let every = demand::look_every(client.options.lifetime);
    let warden = Warden(Arc::downgrade(client));
    // An error means that the engine has stopped already; the job is dropped then, and the warden with it.
    let _ = worker.run(move || {
        spawn_local(async move {
            let warden = warden;
            loop {
                tokio::time::sleep(every).await;
                let Some(client) = warden.0.upgrade() else { return };
                let is_running = home.engine().is_some_and(|engine| engine.stage() == Stage::Running);
                if is_running {
                    client.habits.forget(now());
                    demand::note(&client, now());
                    drop(client.pool.sweep(now()));
                    demand::renew(&client);
                    look_at_ports(&home, client.lives.ports());
                } else {
                    drop(client.pool.close_all());
                }
            }
        });
    });
}

/// Mends the budgets of ports by the kernel's list when it is time to, on a thread of its own.
fn look_at_ports(home: &Worker, ports: &Ports) {
    if let (Some(engine), true) = (home.engine(), ports.wants_look(Instant::now())) {
        let ports = ports.clone();
        // Without sock_diag the budgets know what this process did.
        let looking = engine.blocking(move || ports.look(Instant::now()));
        drop(spawn_local(async { drop(looking.await) }));
    }
}

/// Dropped when the workers stop: nobody may wait for a connection that no reactor serves.
struct Warden<P: Protocol>(Weak<Shared<P>>);

impl<P: Protocol> Drop for Warden<P> {
    fn drop(&mut self) {
        if let Some(client) = self.0.upgrade() {
            drop(client.pool.drain());
        }
    }
}

impl<P: Protocol> Clone for Client<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Protocol> std::fmt::Debug for Client<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.0.protocol.name())
    }
}
