//! While a request is answered: its handler, the stream of its response, and a client that may leave meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use millstream_server::{Session, turn_now};
use millstream_transport::{Cause, PeerEvent};
use tokio::io::{AsyncRead, ReadBuf};

use super::http_server::Shared;
use super::pool::Turn;
use super::serve::{Call, HIGH_WATER, Serve, Stage, Step};
use super::stats::Event;
use super::{Handler, Response, respond, scratch};
use crate::Body;

/// A client that closed its sending side gets its answer if the handler ends within this time: a FIN alone does not
/// say whether it still reads (RFC 9112 §9.6). A guess, between a person's patience and a handler's cost.
pub(super) const HALF_CLOSE_GRACE: Duration = Duration::from_millis(500);
/// While a handler works, what its client sends is read up to this much: behind unread bytes nobody sees it leave.
const READ_AHEAD: usize = 64 * 1024;

impl<H: Handler> Serve<H> {
    pub(super) fn step_handler(&mut self, cx: &mut Context<'_>) -> Step {
        let has_fed = match self.pump(cx) {
            Ok(has_fed) => has_fed,
            Err(cause) => return Step::End(cause),
        };
        let Stage::Handler { call, is_polled, .. } = &mut self.stage else { return Step::Again };
        let is_news = has_fed || !std::mem::take(is_polled);
        if is_news {
            let turn = Turn::begin();
            let polled = self.shared.contain(self.session.as_ref(), || poll_slot::<H>(call, cx));
            self.take_back(&turn);
            drop(turn);
            if let Poll::Ready(mut response) = polled {
                self.stage = Stage::Head;
                self.respond(&mut response, turn_now());
                // Requests that came meanwhile lie in the input.
                self.is_input_fresh = !self.input.is_empty();
                return Step::Again;
            }
            if has_fed {
                return Step::Again;
            }
        }
        self.watch_client(cx)
    }

    /// While the handler works, or its stream is silent: has the client gone?
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Step {
        // Who waits for the body reads it, and learns of the end by that.
        if self.is_starved() || self.shared.options.finish_abandoned {
            return Step::Wait;
        }
        let Some(session) = &mut self.session else { return Step::Wait };
        let is_abandoned = match &mut self.stage {
            Stage::Handler { is_abandoned, .. } => is_abandoned,
            Stage::Body(sending) => &mut sending.is_abandoned,
            _ => return Step::Wait,
        };
        if *is_abandoned {
            return Step::Wait;
        }
        match session.conn.poll_peer(cx) {
            Poll::Ready(PeerEvent::Reset(_)) => self.abandon(),
            Poll::Ready(PeerEvent::Fin) => {
                *is_abandoned = true;
                self.arm(turn_now() + HALF_CLOSE_GRACE);
                Step::Wait
            }
            Poll::Ready(PeerEvent::Data) if self.input.len() < READ_AHEAD => self.read_ahead(cx),
            Poll::Ready(PeerEvent::Data) | Poll::Pending => Step::Wait,
        }
    }

    /// Keeps what the client sent behind its request.
    #[cold]
    fn read_ahead(&mut self, cx: &mut Context<'_>) -> Step {
        let mut buffer = scratch::take_input();
        let most = READ_AHEAD - self.input.len();
        let mut buf = ReadBuf::new(&mut buffer[..most]);
        let read = Pin::new(&mut self.session_mut().conn).poll_read(cx, &mut buf);
        self.input.extend_from_slice(buf.filled());
        scratch::put_input(buffer);
        match read {
            Poll::Ready(Ok(())) => Step::Again,
            Poll::Ready(Err(_)) => self.abandon(),
            Poll::Pending => Step::Wait,
        }
    }

    #[cold]
    pub(super) fn abandon(&mut self) -> Step {
        self.shared.stats.count(Event::Abandoned);
        Step::End(Cause::Cancelled)
    }

    pub(super) fn step_body(&mut self, cx: &mut Context<'_>) -> Step {
        let has_fed = match self.pump(cx) {
            Ok(has_fed) => has_fed,
            Err(cause) => return Step::End(cause),
        };
        if self.output.len() >= HIGH_WATER {
            return Step::Wait;
        }
        let Stage::Body(sending) = &mut self.stage else { return Step::Again };
        let polled = match poll_piece(&mut sending.body, cx) {
            Ok(polled) => polled,
            Err(panic) => {
                self.shared.on_panic(self.session.as_ref(), &*panic);
                return self.break_off("its stream panicked");
            }
        };
        let frame = match polled {
            Poll::Pending if has_fed => return Step::Again,
            Poll::Pending => return self.watch_client(cx),
            Poll::Ready(None) => None,
            Poll::Ready(Some(Ok(frame))) => Some(frame),
            Poll::Ready(Some(Err(error))) => return self.break_off(&error.to_string()),
        };
        if sending.is_abandoned {
            return self.go_on(frame);
        }
        self.take_piece(frame)
    }

    /// The next piece came in time, though its client has closed.
    #[cold]
    fn go_on(&mut self, frame: Option<Frame<Bytes>>) -> Step {
        if let Stage::Body(sending) = &mut self.stage {
            sending.is_abandoned = false;
        }
        self.disarm();
        self.take_piece(frame)
    }

    /// Encodes a piece of the body, or its end.
    fn take_piece(&mut self, frame: Option<Frame<Bytes>>) -> Step {
        let Stage::Body(sending) = &mut self.stage else { return Step::Again };
        let trailers = match frame.map(Frame::into_data) {
            Some(Ok(data)) => {
                return match respond::encode_piece(&mut self.output, &mut sending.frame, data) {
                    Ok(()) => Step::Again,
                    Err(why) => self.break_off(why),
                };
            }
            Some(Err(frame)) => frame.into_trailers().ok(),
            None => None,
        };
        let (frame, keeps_alive) = (sending.frame, sending.keeps_alive);
        if let Err(why) = respond::encode_end(&mut self.output, frame, trailers.as_ref()) {
            return self.break_off(why);
        }
        self.on_response_whole(keeps_alive, turn_now());
        self.is_input_fresh = !self.input.is_empty();
        Step::Again
    }

    /// The body can't be whole: the connection ends so that the client sees it.
    #[cold]
    fn break_off(&mut self, why: &str) -> Step {
        self.shared.stats.count(Event::BodyFailed);
        tracing::warn!(%why, "response broken off");
        // A close-delimited body would look whole after a FIN, and after the close_notify of a good close: only a reset
        // says that it is not.
        if let Some(session) = self.session.take() {
            session.conn.set_linger_zero();
            session.conn.end(Cause::ResetInRequest);
        }
        Step::End(Cause::ResetInRequest)
    }
}

/// Polls the handler in this slot.
#[inline]
pub(super) fn poll_slot<H: Handler>(slot: &mut Call<H>, cx: &mut Context<'_>) -> Poll<Response> {
    let future = slot.as_mut().as_pin_mut().expect("a slot is polled while its future is in it");
    future.poll(cx)
}

impl<H: Handler> Shared<H> {
    /// Runs a handler; its panic becomes a 500 that closes the connection.
    #[inline]
    pub(super) fn contain(
        &self,
        session: Option<&Session>,
        handler: impl FnOnce() -> Poll<Response>,
    ) -> Poll<Response> {
        catch_unwind(AssertUnwindSafe(handler))
            .unwrap_or_else(|panic| Poll::Ready(self.on_panic(session, &*panic)))
    }
}

/// The next piece of a response's body; its panic as an error.
fn poll_piece(body: &mut Body, cx: &mut Context<'_>) -> std::thread::Result<Poll<Option<Piece>>> {
    let body = Pin::new(body);
    catch_unwind(AssertUnwindSafe(|| HttpBody::poll_frame(body, cx)))
}

type Piece = Result<Frame<Bytes>, millstream_base::Error>;
