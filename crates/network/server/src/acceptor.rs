//! One worker accepts: within the limit, spread evenly, and on when descriptors run out.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use millstream_base::Result;
use millstream_runtime::{Label, Worker, spawn_local};
use millstream_transport::{AcceptError, Accepted, Acceptor, Conn, Listener};

use crate::newcomer::Newcomer;
use crate::server::{Listening, Shared};
use crate::session::Reserved;
use crate::stats::Event;
use crate::{Protocol, seats};

/// What an accepting worker needs.
pub(crate) struct Accepting<P> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) protocol: Arc<P>,
    pub(crate) label: Label,
}

/// How long accepting rests when descriptors or memory ran out. The end of any connection ends the rest sooner.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// How long accepting rests at the limit before it looks again for idle connections to close.
const LIMIT_PAUSE: Duration = Duration::from_millis(100);

/// One look for idle connections costs a walk over all, so it closes several where there are many: this part of the
/// limit, and no more than [`EVICT_MOST`].
const EVICT_PART: usize = 1024;
/// Idle connections closed at once to make room, at most.
const EVICT_MOST: usize = 16;

/// Connections accepted during a drain, at most: as many as Linux queues by default. Without a bound, clients that keep
/// coming would keep the queue filled and the drain from its end.
const DRAIN_MOST: usize = 4096;

/// What an acceptor does next.
enum Next {
    /// Opens this connection.
    Conn(Accepted),
    /// Makes room: somebody waits, and all places are taken.
    AtLimit,
    /// Looks what is wrong.
    Failed(AcceptError),
}

impl From<Result<Accepted, AcceptError>> for Next {
    fn from(accepted: Result<Accepted, AcceptError>) -> Self {
        accepted.map_or_else(Self::Failed, Self::Conn)
    }
}

impl<P: Protocol> Accepting<P> {
    /// Accepts on `worker` from now on. The listener closes when the server drains.
    pub(crate) fn start(self, worker: &Worker, listener: Listener) -> Result<()> {
        let here = worker.clone();
        let listening = Listening::new(self.shared.clone());
        worker.run(move || match listener.register() {
            Ok(acceptor) => drop(spawn_local(async move {
                Arc::new(self).accept(acceptor, here).await;
                drop(listening);
            })),
            Err(error) => tracing::error!(%error, "worker can't accept"),
        })
    }

    async fn accept(self: Arc<Self>, mut acceptor: Acceptor, here: Worker) {
        let mut last = DRAIN_MOST;
        while let Some(next) = self.next(&mut acceptor).await {
            match next {
                Next::Conn(accepted) => self.place(accepted, self.reserve().await, &here),
                Next::AtLimit => self.make_room().await,
                Next::Failed(error) => self.on_error(error, &mut acceptor).await,
            }
            if self.is_draining() {
                last -= 1;
                if last == 0 {
                    return;
                }
            }
        }
    }

    /// What is to do next; `None` when the server drains and the queue is empty.
    async fn next(&self, acceptor: &mut Acceptor) -> Option<Next> {
        let mut changed = pin!(self.shared.changed.notified());
        poll_fn(|cx| {
            loop {
                // The queue first: what connected before the drain is served.
                if let Poll::Ready(next) = self.poll_next(acceptor, cx) {
                    return Poll::Ready(Some(next));
                }
                let is_told = changed.as_mut().poll(cx).is_ready();
                if self.is_draining() {
                    return Poll::Ready(acceptor.take_queued().map(Next::from));
                }
                if !is_told {
                    return Poll::Pending;
                }
                changed.set(self.shared.changed.notified());
            }
        })
        .await
    }

    fn poll_next(&self, acceptor: &mut Acceptor, cx: &mut Context<'_>) -> Poll<Next> {
        if self.shared.is_full() {
            return acceptor.poll_queued(cx).map(|()| Next::AtLimit);
        }
        acceptor.poll_accept(cx).map(Next::from)
    }

    /// A place for what was accepted. Taken behind the accept: a worker that waits for connections must not keep a place
    /// from the others. Where several workers accepted for the last place, all but one wait here.
    async fn reserve(&self) -> Reserved {
        loop {
            match self.shared.reserve() {
                Some(reserved) => return reserved,
                None => self.make_room().await,
            }
        }
    }

    fn is_draining(&self) -> bool {
        self.shared.draining.load(Relaxed)
    }

    /// Keeps the connection here, or sends it to a worker that has fewer.
    fn place(self: &Arc<Self>, accepted: Accepted, mut reserved: Reserved, here: &Worker) {
        self.shared.stats.count(Event::Accepted);
        let target = self.better_place(here);
        // Before it is there: whoever spreads a burst must see what it has sent already.
        reserved.settle(target.as_ref().unwrap_or(here));
        let Some(target) = target else { return self.open_here(accepted, reserved, here) };
        self.shared.stats.count(Event::HandedOver);
        let (this, there) = (self.clone(), target.clone());
        // An error means that the engine has stopped: the connection closes with it.
        let _ = target.run(move || this.open(accepted, reserved, &there));
    }

    /// The least loaded worker, when this one has more than its share.
    fn better_place(&self, here: &Worker) -> Option<Worker> {
        if self.shared.seats.len() == 1 {
            return None;
        }
        let engine = here.engine()?;
        let least = engine.least_loaded();
        let slack = 1 + least.load() / 16;
        (here.load() > least.load() + slack).then(|| least.clone())
    }

    /// Opens it on the acceptor's own worker, which must outlive a panic of the user's function that makes the context.
    fn open_here(self: &Arc<Self>, accepted: Accepted, reserved: Reserved, here: &Worker) {
        let open = AssertUnwindSafe(|| self.open(accepted, reserved, here));
        if catch_unwind(open).is_err() {
            tracing::error!("a connection could not be opened: its context or protocol panicked");
        }
    }

    /// Registers the socket with this worker and starts its protocol.
    fn open(self: &Arc<Self>, accepted: Accepted, reserved: Reserved, here: &Worker) {
        let conn = match Conn::accept(accepted, &self.shared.lives) {
            Ok(conn) => conn,
            Err(error) => {
                self.shared.stats.count(Event::AcceptFailed);
                return tracing::debug!(%error, "connection lost between accept and its worker");
            }
        };
        let newcomer = Newcomer::new(conn, reserved);
        if self.shared.options.tls.is_some() {
            here.start(self.label, self.clone().open_tls(newcomer));
            return;
        }
        here.start(self.label, self.protocol.serve(newcomer.into_session()));
    }

    /// The handshake first. Boxed: its state is large and gone once it is done.
    async fn open_tls(self: Arc<Self>, newcomer: Newcomer) {
        let Some(tls) = self.shared.options.tls.clone() else { return };
        let opened = Box::pin(async move { newcomer.open_tls(&tls).await }).await;
        let Some(session) = opened else { return };
        let serve = self.protocol.serve(session);
        drop(self);
        serve.await;
    }

    async fn on_error(&self, error: AcceptError, acceptor: &mut Acceptor) {
        let AcceptError::Exhausted(error) = error else {
            self.shared.stats.count(Event::AcceptFailed);
            tracing::error!(?error, "accept failed");
            return tokio::time::sleep(EXHAUSTED_PAUSE).await;
        };
        // Linux says so even when nobody is queued: then nobody needs room.
        let is_queued = poll_fn(|cx| Poll::Ready(acceptor.poll_queued(cx).is_ready())).await;
        if !is_queued {
            return;
        }
        self.shared.stats.count(Event::AcceptExhausted);
        tracing::warn!(%error, "out of descriptors or memory: connections wait in the kernel's queue");
        self.rest(EXHAUSTED_PAUSE).await;
    }

    /// At the limit: closes the longest idle, then waits until a place is free.
    async fn make_room(&self) {
        self.shared.stats.count(Event::AtLimit);
        self.rest(LIMIT_PAUSE).await;
    }

    /// Closes the longest idle and waits for the end of any connection, or for this long.
    async fn rest(&self, most: Duration) {
        let mut changed = pin!(self.shared.changed.notified());
        changed.as_mut().enable();
        self.shared.stats.paused.add(1);
        let wanted = (self.shared.options.max_connections / EVICT_PART).clamp(1, EVICT_MOST);
        seats::evict_idle(&self.shared.seats, wanted);
        // Too late as well as in time: then it looks again.
        let _ = tokio::time::timeout(most, changed).await;
        self.shared.stats.paused.add(-1);
    }
}
