//! A client from a codec: all that a request/response protocol needs.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::Poll;
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
/// `C` is copied for each connection, so it may keep state between messages. A call is tried again on its own only when
/// the peer can't have seen it, unless [`Simple::idempotent`] says that seeing it twice does no harm.
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
    Request: Send + 'static,
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
        if let Err(error) = lease.codec.encode(request, &mut output) {
            lease.release(now());
            return Err(Failed::new(error.with_seen(Seen::No)));
        }
        let begun = now();
        lease.conn_mut().life().set_state(ConnState::Busy, begun);
        lease.conn_mut().life().count_message();
        lease.arm(begun, self.reply_timeout, deadline);
        let limit = deadline.earlier(Deadline::after(begun, self.reply_timeout)).remaining(begun);
        match exchange(&mut lease, &output, limit).await {
            Ok(reply) if lease.input.is_empty() => {
                lease.release(now());
                Ok(reply)
            }
            Ok(reply) => {
                lease.close(Cause::ParseDesync);
                Ok(reply)
            }
            Err(error) => {
                lease.close(cause_of(&error));
                Err(Failed::new(error))
            }
        }
    }

    fn is_idempotent(&self, _request: &Request) -> bool {
        self.is_idempotent
    }
}

fn cause_of(error: &Error) -> Cause {
    match error.kind() {
        Kind::Timeout => Cause::TimeoutRead,
        Kind::Closed | Kind::Reset => Cause::ResetInRequest,
        _ => Cause::ProtocolError,
    }
}

async fn exchange<C, Request>(
    lease: &mut Lease<Simple<C, Request>>,
    output: &[u8],
    limit: Duration,
) -> Result<C::Message>
where
    C: Decode + Encode<Request> + Clone + Send + Sync + 'static,
    C::Message: Send,
    Request: Send + 'static,
{
    let mut sent = 0;
    poll_fn(|cx| {
        while sent < output.len() {
            match Pin::new(lease.conn_mut()).poll_write(cx, &output[sent..]) {
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => {
                    let seen = if sent == 0 { Seen::No } else { Seen::Maybe };
                    return Poll::Ready(Err(Error::io(error).with_phase(Phase::Write).with_seen(seen)));
                }
                Poll::Pending => break,
            }
        }
        if let Poll::Ready(Err(error)) = Pin::new(lease.conn_mut()).poll_flush(cx) {
            return Poll::Ready(Err(error.into()));
        }
        loop {
            let session = &mut **lease;
            if let Some(reply) = session.codec.decode(&mut session.input)? {
                return Poll::Ready(Ok(reply));
            }
            let mut chunk = [0u8; READ_BYTES];
            let mut buf = ReadBuf::new(&mut chunk);
            match Pin::new(&mut session.conn).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return Poll::Ready(Err(closed())),
                Poll::Ready(Ok(())) => session.input.extend_from_slice(buf.filled()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::io(error).with_phase(Phase::Read))),
                Poll::Pending => break,
            }
        }
        lease.timer().poll_expired(cx).map(|()| Err(Error::timeout(Phase::FirstByte, limit)))
    })
    .await
}

fn closed() -> Error {
    Error::new(Kind::Closed, Origin::Peer, "closed before the reply was whole").with_phase(Phase::Read)
}

/// One read of the socket.
const READ_BYTES: usize = 8 * 1024;
