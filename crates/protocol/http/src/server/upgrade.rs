//! A connection that leaves HTTP.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use millstream_server::Session;
use millstream_transport::Cause;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        self.session.conn.end(Cause::HandedOver);
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.session.conn).poll_read(cx, buf);
        }
        let count = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..count]);
        self.early.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.session.conn).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.session.conn).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.session.conn).poll_shutdown(cx)
    }
}

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
