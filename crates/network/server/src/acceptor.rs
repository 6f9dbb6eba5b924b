//! One worker accepts: within the limit, spread evenly, and on when descriptors run out.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use millstream_base::{Deadline, Result};
use millstream_runtime::{Label, Worker, now, spawn_local};
use millstream_transport::{AcceptError, Accepted, Acceptor, Conn, Listener};

use crate::server::Shared;
use crate::session::Reserved;
use crate::stats::Event;
use crate::{Protocol, Session, seats};

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

/// Idle connections closed at once to make room: one look costs a walk over all, so it frees a few places.
const EVICT_AT_ONCE: usize = 16;

impl<P: Protocol> Accepting<P> {
    /// Accepts on `worker` from now on. The listener closes when the server drains.
    pub(crate) fn start(self, worker: &Worker, listener: Listener) -> Result<()> {
        let here = worker.clone();
        worker.run(move || match listener.register() {
            Ok(acceptor) => drop(spawn_local(Arc::new(self).accept(acceptor, here))),
            Err(error) => tracing::error!(%error, "worker can't accept"),
        })
    }

    async fn accept(self: Arc<Self>, mut acceptor: Acceptor, here: Worker) {
        loop {
            let Some(reserved) = self.shared.reserve() else {
                self.make_room().await;
                if self.shared.draining.load(Relaxed) {
                    return;
                }
                continue;
            };
            match self.next(&mut acceptor).await {
                Some(Ok(accepted)) => self.place(accepted, reserved, &here),
                Some(Err(error)) => self.on_error(error).await,
                None => return,
            }
        }
    }

    /// The next connection; `None` when the server drains and the queue is empty.
    async fn next(&self, acceptor: &mut Acceptor) -> Option<Result<Accepted, AcceptError>> {
        let mut changed = pin!(self.shared.changed.notified());
        poll_fn(|cx| {
            loop {
                // The queue first: what connected before the drain is served.
                if let Poll::Ready(accepted) = acceptor.poll_accept(cx) {
                    return Poll::Ready(Some(accepted));
                }
                let is_told = changed.as_mut().poll(cx).is_ready();
                if self.shared.draining.load(Relaxed) {
                    return Poll::Ready(None);
                }
                if !is_told {
                    return Poll::Pending;
                }
                changed.set(self.shared.changed.notified());
            }
        })
        .await
    }

    /// Keeps the connection here, or sends it to a worker that has fewer.
    fn place(self: &Arc<Self>, accepted: Accepted, reserved: Reserved, here: &Worker) {
        self.shared.stats.count(Event::Accepted);
        let Some(target) = self.better_place(here) else {
            return self.open(accepted, reserved, here);
        };
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

    /// Registers the socket with this worker and starts its protocol.
    fn open(self: &Arc<Self>, accepted: Accepted, reserved: Reserved, here: &Worker) {
        let conn = match Conn::accept(accepted, &self.shared.lives) {
            Ok(conn) => conn,
            Err(error) => {
                self.shared.stats.count(Event::AcceptFailed);
                return tracing::debug!(%error, "connection lost between accept and its worker");
            }
        };
        if self.shared.options.tls.is_some() {
            drop(here.spawn_here(self.label, self.clone().open_tls(conn, reserved, here.clone())));
            return;
        }
        let session = Session::new(conn, reserved, here.clone());
        drop(here.spawn_here(self.label, self.protocol.serve(session)));
    }

    /// The handshake first. Boxed: its state is large and gone once it is done.
    async fn open_tls(self: Arc<Self>, conn: Conn, reserved: Reserved, here: Worker) {
        let Some(tls) = self.shared.options.tls.clone() else { return };
        let deadline = Deadline::after(now(), self.shared.options.handshake_timeout);
        let handshake = Box::pin(async move { conn.accept_tls(&tls, deadline).await });
        match handshake.await {
            Ok(conn) => {
                let serve = self.protocol.serve(Session::new(conn, reserved, here));
                drop(self);
                serve.await;
            }
            Err(error) => {
                self.shared.stats.count(Event::HandshakeFailed);
                tracing::debug!(%error, "TLS handshake failed");
            }
        }
    }

    async fn on_error(&self, error: AcceptError) {
        let AcceptError::Exhausted(error) = error else {
            self.shared.stats.count(Event::AcceptFailed);
            tracing::error!(?error, "accept failed");
            return tokio::time::sleep(EXHAUSTED_PAUSE).await;
        };
        self.shared.stats.count(Event::AcceptExhausted);
        tracing::warn!(%error, "out of descriptors or memory: connections wait in the kernel's queue");
        seats::evict_idle(&self.shared.seats, EVICT_AT_ONCE);
        self.rest(EXHAUSTED_PAUSE).await;
    }

    /// At the limit: closes the longest idle, then waits until a place is free.
    async fn make_room(&self) {
        self.shared.stats.count(Event::AtLimit);
        let evicted = seats::evict_idle(&self.shared.seats, EVICT_AT_ONCE);
        (0..evicted).for_each(|_| self.shared.stats.count(Event::EvictedIdle));
        self.rest(LIMIT_PAUSE).await;
    }

    /// Waits for the end of any connection, or for this long.
    async fn rest(&self, most: Duration) {
        let mut changed = pin!(self.shared.changed.notified());
        changed.as_mut().enable();
        self.shared.stats.paused.add(1);
        if self.shared.stats.open() >= self.shared.options.max_connections || most == EXHAUSTED_PAUSE {
            let _ = tokio::time::timeout(most, changed).await;
        }
        self.shared.stats.paused.add(-1);
    }
}
