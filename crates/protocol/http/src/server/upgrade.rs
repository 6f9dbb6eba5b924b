//! A connection that leaves HTTP.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use millstream_server::Session;
use millstream_transport::{Cause, Conn};

use crate::raw::raw_conn;

/// The raw connection after an upgrade: what the client had sent already is read first. Dropping it closes the connection
/// and gives its place below the server's limit back.
#[derive(Debug)]
pub struct Upgraded {
    session: Session,
    early: Bytes,
}

impl Upgraded {
    pub(crate) fn new(session: Session, early: Bytes) -> Self {
        session.timer().disarm();
        Self { session, early }
    }

    /// What HTTP knew of the connection: its record, addresses, TLS.
    pub fn session(&self) -> &Session {
        &self.session
    }

    fn conn(&mut self) -> Pin<&mut Conn> {
        Pin::new(&mut self.session.conn)
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        self.session.conn.end(Cause::HandedOver);
    }
}

raw_conn!(Upgraded);

type Run = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// What to do with the connection once the response that upgrades it is sent.
pub(crate) struct OnUpgrade(Run);

impl OnUpgrade {
    pub(crate) fn new<F, Fut>(run: F) -> Self
    where
        F: FnOnce(Upgraded) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        Self(Box::new(move |upgraded| Box::pin(run(upgraded))))
    }

    pub(crate) fn run(self, upgraded: Upgraded) -> Pin<Box<dyn Future<Output = ()>>> {
        (self.0)(upgraded)
    }
}

impl std::fmt::Debug for OnUpgrade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnUpgrade")
    }
}
