//! One TLS connection over any stream.

use std::io::{self, IoSlice, Read, Write};
use std::ops::DerefMut;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::{ConnectionCommon, SideData};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::error::readable;
use super::info::TlsInfo;
use crate::{PeerEvent, Stream};

/// One TLS connection over any stream.
#[derive(Debug)]
pub struct TlsStream(Ends);

#[derive(Debug)]
enum Ends {
    Client(tokio_rustls::client::TlsStream<Stream>),
    Server(tokio_rustls::server::TlsStream<Stream>),
}

/// Evaluates the same expression for either end; `$tls` is the stream of that end.
macro_rules! either {
    ($ends:expr, $tls:ident => $do:expr) => {
        match $ends {
            Ends::Client($tls) => $do,
            Ends::Server($tls) => $do,
        }
    };
}

impl TlsStream {
    pub(super) fn client(tls: tokio_rustls::client::TlsStream<Stream>) -> Self {
        Self(Ends::Client(tls))
    }

    pub(super) fn server(tls: tokio_rustls::server::TlsStream<Stream>) -> Self {
        Self(Ends::Server(tls))
    }

    /// What carries the records.
    pub fn inner(&self) -> &Stream {
        either!(&self.0, tls => tls.get_ref().0)
    }

    /// What the handshake agreed on.
    pub fn info(&self) -> TlsInfo {
        match &self.0 {
            Ends::Client(tls) => TlsInfo::new(tls.get_ref().1, None),
            Ends::Server(tls) => {
                let session = tls.get_ref().1;
                TlsInfo::new(session, session.server_name())
            }
        }
    }

    pub(crate) fn poll_peer(&mut self, cx: &mut Context<'_>) -> Poll<PeerEvent> {
        either!(&mut self.0, tls => {
            let (io, session) = tls.get_mut();
            open_records(&mut **session, &mut Polled { io, cx })
        })
    }

    pub(crate) fn try_peer(&mut self) -> Option<PeerEvent> {
        let event = either!(&mut self.0, tls => {
            let (io, session) = tls.get_mut();
            open_records(&mut **session, &mut Tried(io))
        });
        match event {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        }
    }

    /// Reads what is there, without a waker.
    pub(crate) fn try_read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        either!(&mut self.0, tls => {
            let (io, session) = tls.get_mut();
            match open_records(&mut **session, &mut Tried(io)) {
                // At the end the reader knows whether the peer said so or the stream was cut.
                Poll::Ready(PeerEvent::Data | PeerEvent::Fin) => session.reader().read(into),
                Poll::Ready(PeerEvent::Reset(error)) => Err(error),
                Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            }
        })
    }

    /// Sends `close_notify` as far as the kernel takes it at once.
    pub(crate) fn try_close_notify(&mut self) {
        either!(&mut self.0, tls => {
            let (io, session) = tls.get_mut();
            session.send_close_notify();
            // The connection closes next, whether the peer is told or not.
            let _ = session.deref_mut().write_tls(&mut Tried(io));
        });
    }
}

/// Opens records until there is something to see, keeping what they hold for the next read.
fn open_records<D: SideData>(session: &mut ConnectionCommon<D>, from: &mut impl Read) -> Poll<PeerEvent> {
    loop {
        match session.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() > 0 => return Poll::Ready(PeerEvent::Data),
            Ok(state) if state.peer_has_closed() => return Poll::Ready(PeerEvent::Fin),
            Ok(_) => {}
            Err(error) => {
                let error = io::Error::new(io::ErrorKind::InvalidData, error);
                return Poll::Ready(PeerEvent::Reset(readable(error)));
            }
        }
        match session.read_tls(from) {
            Ok(0) => return Poll::Ready(PeerEvent::Fin),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(PeerEvent::Reset(error)),
        }
    }
}

/// Reads that leave a waker behind.
struct Polled<'a, 'b> {
    io: &'a mut Stream,
    cx: &'a mut Context<'b>,
}

impl Read for Polled<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(into);
        match Pin::new(&mut *self.io).poll_read(self.cx, &mut buf) {
            Poll::Ready(result) => result.map(|()| buf.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Reads and writes that leave no waker behind.
struct Tried<'a>(&'a mut Stream);

impl Read for Tried<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(into)
    }
}

impl Write for Tried<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.0.try_write(from)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(&mut self.0, tls => Pin::new(tls).poll_read(cx, buf)).map_err(readable)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        either!(&mut self.0, tls => Pin::new(tls).poll_write(cx, from)).map_err(readable)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(&mut self.0, tls => Pin::new(tls).poll_write_vectored(cx, from)).map_err(readable)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.0, tls => Pin::new(tls).poll_flush(cx)).map_err(readable)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.0, tls => Pin::new(tls).poll_shutdown(cx)).map_err(readable)
    }
}
