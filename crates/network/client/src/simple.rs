//! A client from a codec: all that a request/response protocol needs.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use millstream_base::codec::{Decode, Encode};
use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
use millstream_runtime::now;
use millstream_transport::{Cause, Conn, ConnState};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{DEFAULT_FIRST_BYTE_TIMEOUT, Failed, Lease, Protocol, Session, Target};

/// A protocol that is only a codec: encode a request, wait for its reply, decode it. One call at a time on a connection.
///
/// `C` is copied for each connection, so it may keep state between messages. A request is copied when its connection had
/// served a call before: it is tried again on its own, but only when the peer can't have seen it, unless [`Simple::idempotent`] says that seeing it twice does no harm.
pub struct Simple<C, Request> {
    codec: C,
    name: &'static str,
    is_idempotent: bool,
    reply_timeout: Duration,
    requests: PhantomData<fn(Request)>,
}

impl<C, Request> Simple<C, Request> {
    /// A protocol called `name` in metrics, from a codec.
    pub fn new(name: &'static str, codec: C) -> Self {
        let (is_idempotent, reply_timeout) = (false, DEFAULT_FIRST_BYTE_TIMEOUT);
        Self { codec, name, is_idempotent, reply_timeout, requests: PhantomData }
    }

    /// Says that a request may be done twice without harm.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.is_idempotent = true;
        self
    }

    /// How long a reply may be silent, 10 s by default.
    #[must_use]
    pub fn with_reply_timeout(mut self, timeout: Duration) -> Self {
        self.reply_timeout = timeout;
        self
    }
}

/// A connection of a [`Simple`] protocol.
pub struct SimpleSession<C> {
    conn: Conn,
    codec: C,
    input: BytesMut,
}

impl<C: Send + 'static> Session for SimpleSession<C> {
    fn conn(&self) -> &Conn {
        &self.conn
    }

    fn conn_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl<C, Request> Protocol for Simple<C, Request>
where
    C: Decode + Encode<Request> + Clone + Send + Sync + 'static,
    C::Message: Send,
    Request: Clone + Send + 'static,
{
    type Session = SimpleSession<C>;
    type Request = Request;
    type Reply = C::Message;

    fn name(&self) -> &'static str {
        self.name
    }

    async fn open(&self, conn: Conn, _target: &Target, _deadline: Deadline) -> Result<Self::Session> {
        Ok(SimpleSession { conn, codec: self.codec.clone(), input: BytesMut::new() })
    }

    async fn call(
        &self,
        mut lease: Lease<Self>,
        request: Request,
        deadline: Deadline,
    ) -> Result<C::Message, Failed<Request>> {
        let mut output = BytesMut::new();
        let copy = lease.is_reused().then(|| request.clone());
        if let Err(error) = lease.codec.encode(request, &mut output) {
            lease.release(now());
            return Err(Failed::new(error.with_seen(Seen::No)));
        }
        let begun = now();
        lease.conn_mut().life().set_state(ConnState::Busy, begun);
        lease.conn_mut().life().count_message();
        lease.arm(begun, self.reply_timeout, deadline);
        let limit = deadline.earlier(Deadline::after(begun, self.reply_timeout)).remaining(begun);
        let mut exchange = Exchange { lease: &mut lease, output: &output, sent: 0 };
        let outcome = poll_fn(|cx| exchange.poll(cx, limit)).await;
        let is_sent = exchange.sent == output.len();
        match outcome {
            Ok(reply) => {
                if is_sent && lease.input.is_empty() {
                    lease.release(now());
                } else {
                    lease.close(Cause::ParseDesync);
                }
                Ok(reply)
            }
            Err(error) => {
                let is_late = error.kind() == Kind::Timeout && deadline.is_past(now());
                lease.close(if is_late { Cause::Cancelled } else { Cause::of_failure(&error) });
                Err(Failed { error, request: copy })
            }
        }
    }

    fn is_idempotent(&self, _request: &Request) -> bool {
        self.is_idempotent
    }
}

/// One request and its reply on one connection.
struct Exchange<'a, C, Request>
where
    C: Decode + Encode<Request> + Clone + Send + Sync + 'static,
    C::Message: Send,
    Request: Clone + Send + 'static,
{
    lease: &'a mut Lease<Simple<C, Request>>,
    output: &'a [u8],
    sent: usize,
}

impl<C, Request> Exchange<'_, C, Request>
where
    C: Decode + Encode<Request> + Clone + Send + Sync + 'static,
    C::Message: Send,
    Request: Clone + Send + 'static,
{
    fn poll(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<Result<C::Message>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(self.broken(error, Phase::Write)));
        }
        if let Poll::Ready(reply) = self.poll_reply(cx) {
            return Poll::Ready(reply);
        }
        let phase = if self.sent < self.output.len() { Phase::Write } else { Phase::FirstByte };
        let late = || Error::timeout(phase, limit).with_seen(self.seen());
        self.lease.timer().poll_expired(cx).map(|()| Err(late()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while self.sent < self.output.len() {
            match ready!(Pin::new(self.lease.conn_mut()).poll_write(cx, &self.output[self.sent..]))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                count => self.sent += count,
            }
        }
        Pin::new(self.lease.conn_mut()).poll_flush(cx)
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<C::Message>> {
        loop {
            let SimpleSession { conn, codec, input } = &mut **self.lease;
            match codec.decode(input) {
                Ok(None) => {}
                Ok(Some(reply)) => return Poll::Ready(Ok(reply)),
                Err(error) => return Poll::Ready(Err(error.with_phase(Phase::Read).with_seen(Seen::Yes))),
            }
            let mut chunk = [0u8; READ_BYTES];
            let mut buf = ReadBuf::new(&mut chunk);
            if let Err(error) = ready!(Pin::new(conn).poll_read(cx, &mut buf)) {
                return Poll::Ready(Err(self.broken(error, Phase::Read)));
            }
            if buf.filled().is_empty() {
                let error = Error::new(Kind::Closed, Origin::Peer, "closed before the reply was whole");
                return Poll::Ready(Err(error.with_phase(Phase::Read).with_seen(self.seen())));
            }
            input.extend_from_slice(buf.filled());
        }
    }

    #[cold]
    fn broken(&self, error: std::io::Error, phase: Phase) -> Error {
        self.lease.sort(error).with_phase(phase).with_seen(self.seen())
    }

    fn seen(&self) -> Seen {
        match (self.sent, self.lease.input.is_empty()) {
            (_, false) => Seen::Yes,
            (0, true) => Seen::No,
            (_, true) => Seen::Maybe,
        }
    }
}

/// One read of the socket.
const READ_BYTES: usize = 8 * 1024;
