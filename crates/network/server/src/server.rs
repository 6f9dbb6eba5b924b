//! Bind, then serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use millstream_base::Result;
use millstream_runtime::{Engine, Label};
use millstream_transport::{Addr, LifeTable, ListenAddr, Listener};
use tokio::sync::Notify;

use crate::acceptor::Accepting;
use crate::lives;
use crate::refusals;
use crate::running::{self, Running};
use crate::seats::Seats;
use crate::session::Reserved;
use crate::stats::Stats;
use crate::{Protocol, ServerOptions};

/// A socket that listens, and the settings to serve it with.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    listeners: Vec<Listener>,
    options: ServerOptions,
}

/// What all workers of one server share.
pub(crate) struct Shared {
    pub(crate) options: ServerOptions,
    pub(crate) stats: Arc<Stats>,
    pub(crate) lives: LifeTable,
    pub(crate) seats: Box<[Seats]>,
    /// Listeners that are not closed yet. A drain ends behind the last of them: it may still bring connections.
    pub(crate) listening: AtomicUsize,
    /// Stored, then the open connections are counted, by whoever drains; the last connection leaves, then loads it. Both
    /// `SeqCst` with the count of open ones: one of the two sees the other, so that the end of a drain is never missed.
    pub(crate) draining: AtomicBool,
    /// Told when a place becomes free while somebody waits for one, when the last connection ends, and at a drain.
    pub(crate) changed: Notify,
}

impl Server {
    /// Listens on `address`: one socket a worker for TCP, among which the kernel spreads the
    /// connections; one in all for Unix.
    ///
    /// # Errors
    /// What the operating system said, with the address: in use, not ours, not allowed.
    pub fn bind(engine: &Engine, address: &ListenAddr, options: ServerOptions) -> Result<Self> {
        let mut listen = options.listen.clone();
        listen.reuse_port = matches!(address, ListenAddr::Tcp(_)) && engine.workers().len() > 1;
        let bound = Listener::bind(address, &listen);
        refusals::note(engine, address, &bound);
        let mut listeners = vec![bound?];
        for _ in 1..engine.workers().len() {
            let sibling = listeners[0].sibling()?;
            listeners.push(sibling);
        }
        Ok(Self { engine: engine.clone(), listeners, options })
    }

    /// Where it listens: the real port when 0 was asked for.
    pub fn local_addr(&self) -> &Addr {
        self.listeners[0].local_addr()
    }

    /// Serves until the engine drains or the returned handle says stop. Dropping the handle does not stop the server.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub fn serve<P: Protocol>(self, protocol: P) -> Result<Running> {
        let Self { engine, listeners, options } = self;
        let address = listeners[0].local_addr().clone();
        let name = protocol.name();
        let shared = Arc::new(Shared {
            options,
            stats: Stats::register(&engine, name, address.to_string()),
            lives: lives(&engine),
            seats: engine.workers().iter().map(|_| Seats::default()).collect(),
            listening: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            changed: Notify::new(),
        });
        let protocol = Arc::new(protocol);
        let label = Label::new(format!("{name} connection on {address}"));
        for (listener, worker) in listeners.into_iter().zip(engine.workers()) {
            let accepting = Accepting { shared: shared.clone(), protocol: protocol.clone(), label };
            accepting.start(worker, listener)?;
        }
        running::supervise(&engine, shared, address)
    }
}

impl Shared {
    /// A place for one more connection, unless the limit is reached.
    pub(crate) fn reserve(self: &Arc<Self>) -> Option<Reserved> {
        let reserved = Reserved::new(self.clone());
        (self.stats.enter() <= self.options.max_connections).then_some(reserved)
    }

    /// Is nothing left to wait for in a drain?
    pub(crate) fn is_over(&self) -> bool {
        // In this order: a listener that is closed brings nothing any more.
        self.listening.load(SeqCst) == 0 && self.stats.open() == 0
    }

    /// Is the limit reached?
    pub(crate) fn is_full(&self) -> bool {
        self.stats.open() >= self.options.max_connections
    }

    pub(crate) fn release(&self) {
        let open = self.stats.leave();
        let is_last = open == 0 && self.draining.load(SeqCst);
        let somebody_waits = is_last || self.stats.paused.value() > 0;
        if somebody_waits {
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, SeqCst);
        self.changed.notify_waiters();
        self.seats.iter().for_each(Seats::wake_all);
    }
}

/// Held for as long as a listener is open.
pub(crate) struct Listening(Arc<Shared>);

impl Listening {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        shared.listening.fetch_add(1, SeqCst);
        Self(shared)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listening.fetch_sub(1, SeqCst);
        self.0.changed.notify_waiters();
    }
}
