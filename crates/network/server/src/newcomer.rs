//! A connection whose protocol has not begun: it has a seat like all others, so that a drain and the connection limit see
//! it, but no context yet.

use std::future::poll_fn;
use std::task::{Context as TaskContext, Poll};
use std::time::Instant;

use millstream_base::Deadline;
use millstream_runtime::{Timer, now};
use millstream_transport::tls::TlsServer;
use millstream_transport::{Cause, Conn, ConnState, PeerEvent};

use crate::Session;
use crate::session::{Place, Reserved};
use crate::stats::Event;

/// A connection that waits for its first byte, or is in its TLS handshake.
pub(crate) struct Newcomer {
    conn: Conn,
    timer: Timer,
    place: Place,
}

/// What became of somebody who had said nothing.
enum Greeting {
    /// It speaks.
    Spoke,
    /// It is to be closed for this reason.
    Gone(Cause),
}

impl Newcomer {
    /// Takes a place that was reserved and settled. On the worker's own thread.
    pub(crate) fn new(conn: Conn, reserved: Reserved) -> Self {
        let timer = reserved.worker().wheel().timer();
        let place = Place::enter(&conn, &timer, reserved);
        Self { conn, timer, place }
    }

    /// Its protocol begins: the context is made, as the connection is now.
    pub(crate) fn into_session(self) -> Session {
        Session::begin(self.conn, self.timer, self.place)
    }

    /// The TLS handshake, within `timeout` of the accept. A client that has not said anything yet is idle: it goes when
    /// the server drains or needs its place. `None` if there is no session.
    pub(crate) async fn open_tls(mut self, tls: &TlsServer) -> Option<Session> {
        let deadline = Deadline::after(now(), self.place.shared().options.handshake_timeout);
        if let Greeting::Gone(cause) = self.greeting(deadline.moment()).await {
            if cause == Cause::CapacityEvict {
                self.place.shared().stats.count(Event::EvictedIdle);
            } else if cause != Cause::Shutdown {
                self.place.shared().stats.count(Event::HandshakeFailed);
            }
            self.conn.close(cause);
            return None;
        }
        self.timer.disarm();
        self.conn.life().set_state(ConnState::Opening, now());
        let Self { conn, timer, place } = self;
        match Box::pin(conn.accept_tls(tls, deadline)).await {
            Ok(conn) => Some(Self { conn, timer, place }.into_session()),
            Err(error) => {
                place.shared().stats.count(Event::HandshakeFailed);
                tracing::debug!(%error, "TLS handshake failed");
                None
            }
        }
    }

    /// Waits for the first byte.
    async fn greeting(&mut self, until: Instant) -> Greeting {
        self.conn.life().set_state(ConnState::Idle, now());
        self.timer.arm(until);
        poll_fn(|cx| self.poll_greeting(cx)).await
    }

    fn poll_greeting(&mut self, cx: &mut TaskContext<'_>) -> Poll<Greeting> {
        if let Poll::Ready(event) = self.conn.poll_peer(cx) {
            return Poll::Ready(match event {
                PeerEvent::Data => Greeting::Spoke,
                PeerEvent::Fin | PeerEvent::Reset(_) => Greeting::Gone(Cause::Tls),
            });
        }
        let cause = if self.timer.poll_expired(cx).is_ready() {
            if self.timer.is_rung() { Cause::CapacityEvict } else { Cause::Tls }
        } else if self.place.is_draining() {
            Cause::Shutdown
        } else {
            return Poll::Pending;
        };
        // The reactor may not have looked yet: what has come by now is answered.
        match self.conn.peek_now() {
            Some(PeerEvent::Data) => Poll::Ready(Greeting::Spoke),
            _ => Poll::Ready(Greeting::Gone(cause)),
        }
    }
}

impl std::fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Newcomer").field("conn", &self.conn).finish_non_exhaustive()
    }
}
