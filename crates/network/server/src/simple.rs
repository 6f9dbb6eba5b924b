//! A server from a codec: all that a request/response protocol needs.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use millstream_base::codec::{Decode, Encode};
use millstream_base::{Error, Phase, Result};
use millstream_runtime::{Timer, now};
use millstream_transport::{Cause, PeerEvent};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{Protocol, Session};

/// Serves a protocol that is only a codec: decode a request, call the handler, encode its reply, in order.
///
/// `C` is copied for each connection, so it may keep state between messages. Requests that arrive together are answered
/// together. A request that breaks the protocol, or is over its limits, closes the connection.
///
/// A handler whose client has gone is dropped, unless [`Simple::finish_abandoned`] says otherwise.
pub struct Simple<C, H> {
    codec: C,
    handler: H,
    name: &'static str,
    finishes: bool,
}

impl<C, H> Simple<C, H> {
    /// A server called `name` in metrics, from a codec and an async function from request to reply.
    pub fn new(name: &'static str, codec: C, handler: H) -> Self {
        Self { codec, handler, name, finishes: false }
    }

    /// Lets handlers go on when their client has gone.
    #[must_use]
    pub fn finish_abandoned(mut self) -> Self {
        self.finishes = true;
        self
    }
}

impl<C, H, Fut, Reply> Protocol for Simple<C, H>
where
    C: Decode + Encode<Reply> + Clone + Send + Sync + 'static,
    H: Fn(C::Message) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Reply>> + 'static,
    Reply: 'static,
{
    type Serve = Pin<Box<dyn Future<Output = ()>>>;

    fn serve(self: &Arc<Self>, session: Session) -> Self::Serve {
        let this = self.clone();
        Box::pin(async move {
            let mut talk = Talk {
                codec: this.codec.clone(),
                session,
                input: BytesMut::new(),
                output: BytesMut::new(),
                finishes: this.finishes,
            };
            let cause = match talk.run(&this.handler).await {
                Ok(cause) => cause,
                Err(error) => {
                    tracing::debug!(protocol = this.name, %error, "connection closed");
                    Cause::of_failure(&error)
                }
            };
            talk.session.close(cause);
        })
    }

    fn name(&self) -> &'static str {
        self.name
    }
}

/// One connection under way.
struct Talk<C> {
    codec: C,
    session: Session,
    input: BytesMut,
    output: BytesMut,
    finishes: bool,
}

impl<C> Talk<C> {
    async fn run<H, Fut, Reply>(&mut self, handler: &H) -> Result<Cause>
    where
        C: Decode + Encode<Reply>,
        H: Fn(C::Message) -> Fut,
        Fut: Future<Output = Result<Reply>>,
    {
        loop {
            while let Some(request) = self.codec.decode(&mut self.input)? {
                self.session.on_busy(now());
                self.session.conn.life().count_message();
                let Some(reply) = self.attend(handler(request)).await else { return Ok(Cause::Cancelled) };
                self.codec.encode(reply?, &mut self.output)?;
                if self.output.len() >= FLUSH_BYTES {
                    self.flush().await?;
                }
            }
            self.flush().await?;
            // A connection that was never served may have asked already: the read below finds out.
            if self.session.is_draining() && self.session.conn.life().messages() > 0 {
                self.linger().await;
                return Ok(Cause::Shutdown);
            }
            if let Some(cause) = self.read().await? {
                return Ok(cause);
            }
        }
    }

    /// Runs a handler to its end; `None` when its client went first.
    async fn attend<F: Future>(&mut self, call: F) -> Option<F::Output> {
        let mut call = pin!(call);
        let (finishes, mut is_gone) = (self.finishes, false);
        let (conn, timer) = self.session.conn_and_timer();
        timer.disarm();
        poll_fn(|cx| {
            if let Poll::Ready(output) = call.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if !finishes && !is_gone {
                match conn.poll_peer(cx) {
                    Poll::Ready(PeerEvent::Reset(_)) => return Poll::Ready(None),
                    Poll::Ready(PeerEvent::Fin) => {
                        is_gone = true;
                        timer.arm(now() + HALF_CLOSE_GRACE);
                    }
                    // Behind unread bytes nobody sees it leave; they are few, or it would not wait for an answer.
                    Poll::Ready(PeerEvent::Data) | Poll::Pending => {}
                }
            }
            // A timer rung to make room, at the moment when the request came, means nothing here.
            if is_gone { timer.poll_expired(cx).map(|()| None) } else { Poll::Pending }
        })
        .await
    }

    /// Sends what is encoded. The peer may take nothing for the idle timeout.
    async fn flush(&mut self) -> Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let patience = self.session.options().idle_timeout;
        let (conn, timer) = self.session.conn_and_timer();
        let mut sent = 0;
        timer.arm(now() + patience);
        poll_fn(|cx| {
            while sent < self.output.len() {
                let Poll::Ready(count) = Pin::new(&mut *conn).poll_write(cx, &self.output[sent..]) else {
                    return poll_patience(timer, patience, cx);
                };
                sent += count?;
                timer.arm(now() + patience);
            }
            match Pin::new(&mut *conn).poll_flush(cx) {
                Poll::Ready(flushed) => Poll::Ready(flushed.map_err(Error::from)),
                Poll::Pending => poll_patience(timer, patience, cx),
            }
        })
        .await?;
        self.output.clear();
        Ok(())
    }

    /// Closes our side and reads on for a while: a close over unread bytes is a reset, which destroys replies on their way.
    async fn linger(&mut self) {
        let (conn, timer) = self.session.conn_and_timer();
        timer.arm(now() + LINGER_MOST);
        poll_fn(|cx| {
            // A peer that is gone needs no reply.
            if Pin::new(&mut *conn).poll_shutdown(cx).is_pending() {
                return timer.poll_expired(cx);
            }
            let mut chunk = [0u8; READ_BYTES];
            loop {
                let mut buf = ReadBuf::new(&mut chunk);
                match Pin::new(&mut *conn).poll_read(cx, &mut buf) {
                    Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return timer.poll_expired(cx),
                }
            }
        })
        .await;
    }

    /// Reads what has come; gives a cause when the connection is at its end.
    async fn read(&mut self) -> Result<Option<Cause>> {
        self.session.on_idle(now());
        let is_between = self.input.is_empty();
        let read = read_or_expire(&mut self.session, &mut self.input).await?;
        Ok(match read {
            Read::Bytes => None,
            Read::End if is_between => Some(Cause::IdleTimeoutPeer),
            Read::End => Some(Cause::ClosedInRequest),
            Read::Expired => Some(self.session.idle_cause()),
            Read::Drained => Some(Cause::Shutdown),
        })
    }
}

/// Has the peer taken nothing for too long? A ring, meant for the idle, came as the message did: it is taken back.
fn poll_patience(timer: &Timer, patience: Duration, cx: &mut Context<'_>) -> Poll<Result<()>> {
    if timer.is_rung() {
        timer.arm(now() + patience);
    }
    timer.poll_expired(cx).map(|()| Err(Error::timeout(Phase::Write, patience)))
}

enum Read {
    Bytes,
    End,
    Expired,
    Drained,
}

async fn read_or_expire(session: &mut Session, input: &mut BytesMut) -> Result<Read> {
    poll_fn(|cx| {
        let mut chunk = [0u8; READ_BYTES];
        let mut buf = ReadBuf::new(&mut chunk);
        if let Poll::Ready(result) = Pin::new(&mut session.conn).poll_read(cx, &mut buf) {
            result?;
            input.extend_from_slice(buf.filled());
            return Poll::Ready(Ok(if buf.filled().is_empty() { Read::End } else { Read::Bytes }));
        }
        let has_expired = session.timer().poll_expired(cx).is_ready();
        if !has_expired && !session.is_draining() {
            return Poll::Pending;
        }
        // Bytes may lie there before the reactor has looked: a connection with a request is not idle.
        if matches!(session.conn.peek_now(), Some(PeerEvent::Data)) {
            session.on_idle(now());
            return Poll::Pending;
        }
        Poll::Ready(Ok(if has_expired { Read::Expired } else { Read::Drained }))
    })
    .await
}

/// A client that closed its sending side gets its answer if the handler ends within this time: it may still read.
const HALF_CLOSE_GRACE: Duration = Duration::from_millis(500);
/// A close waits this long for the peer's own.
const LINGER_MOST: Duration = Duration::from_secs(2);
/// Replies are written once this much has gathered, or when no request is left.
const FLUSH_BYTES: usize = 64 * 1024;
/// One read of the socket.
const READ_BYTES: usize = 8 * 1024;
