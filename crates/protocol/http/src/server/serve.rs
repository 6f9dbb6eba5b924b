//! One connection from its first byte to its last: which stage it is in, and what each wake moves.
//!
//! ```text
//! Head ──> Handler ──> Body ──> Drain ──> Head ...
//!   │         │          │        │
//!   └─────────┴──────────┴────────┴─────> Finish ──> Linger ──> end
//! ```
//!
//! - A turn reads once, parses all requests that came with it, and answers them with one write.
//! - A handler that is ready at once costs no stage: the loop in `parse.rs` goes on to the next request.
//! - Each stage that waits has a deadline in the session's one timer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use millstream_server::{Session, fresh_now, now, turn_now};
use millstream_transport::{Cause, PeerEvent};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::exchange::Exchange;
use super::http_server::Shared;
use super::intake::Intake;
use super::output::Output;
use super::request::ConnInfo;
use super::respond::{self, Frame};
use super::stats::Event;
use super::upgrade::{OnUpgrade, Upgraded};
use super::{Handler, scratch};
use crate::Body;
use crate::codec::Progress;

/// One connection being served: a future that ends with the connection.
pub struct Serve<H: Handler> {
    pub(super) session: Option<Session>,
    pub(super) shared: Arc<Shared<H>>,
    pub(super) info: Option<Arc<ConnInfo>>,
    /// Bytes read and not used yet; empty, without memory, while the connection is idle.
    pub(super) input: Vec<u8>,
    /// `input` holds bytes that were not looked at since they came.
    pub(super) is_input_fresh: bool,
    pub(super) output: Output,
    pub(super) progress: Progress,
    pub(super) stage: Stage<H>,
    pub(super) intake: Option<Box<Intake>>,
    pub(super) exchange: Exchange,
    /// Responses whose bytes lie in `output`, for the latency histogram.
    pub(super) unsent: u32,
    is_registered: bool,
    is_write_blocked: bool,
}

/// Where a connection is.
pub(super) enum Stage<H: Handler> {
    /// Waits for a request, or for the rest of its head.
    Head,
    /// The handler is at work. `is_abandoned`: its client has closed, and it has until the timer to end.
    Handler { call: Call<H>, is_polled: bool, is_abandoned: bool },
    /// The response's body is a stream.
    Body(Box<Sending>),
    /// The response is out; the rest of the request's body is read and dropped.
    Drain,
    /// What is in `output` goes out, then the connection ends.
    Finish { cause: Cause, lingers: bool },
    /// Our side is closed; what the client still sends is read and dropped, lest a reset destroys the response.
    Linger { cause: Cause, until: Instant },
    /// What is in `output` goes out, then the connection leaves HTTP.
    Upgrade(OnUpgrade),
    /// The connection has left HTTP.
    Upgraded(Pin<Box<dyn Future<Output = ()>>>),
}

/// A handler's future in a box that is used again within a turn.
pub(super) type Call<H> = Pin<Box<Option<<H as Handler>::Future>>>;

/// A response's body that is a stream.
pub(super) struct Sending {
    pub(super) body: Body,
    pub(super) frame: Frame,
    pub(super) keeps_alive: bool,
    /// Its client has closed: it has until the timer to give the next piece.
    pub(super) is_abandoned: bool,
}

/// What came of reading more of a request's body.
enum Fed {
    /// Bytes, and what was made of them is with the handler.
    Bytes,
    /// None are there.
    Nothing,
    /// The client sends no more.
    End,
    /// The connection broke.
    Reset,
}

/// What a step came to.
pub(super) enum Step {
    /// Something moved: look again.
    Again,
    /// Nothing can move until a wake.
    Wait,
    /// The connection ends.
    End(Cause),
}

/// Steps in one wake: then the other connections of the worker get their turn (hyper's dispatcher takes 16 as well).
const STEPS: usize = 16;
/// No more is produced while this much waits to be sent.
pub(super) const HIGH_WATER: usize = 64 * 1024;
/// A client that closed its sending side gets its answer if the handler ends within this time: a FIN alone does not
/// say whether it still reads (RFC 9112 §9.6). A guess, between a person's patience and a handler's cost.
const HALF_CLOSE_GRACE: Duration = Duration::from_millis(500);
/// While a handler works, what its client sends is read up to this much: behind unread bytes nobody sees it leave.
const READ_AHEAD: usize = 64 * 1024;
/// Lingering ends after this much silence.
const LINGER_SILENCE: Duration = Duration::from_secs(2);
/// Lingering ends after this time whatever comes (nginx: `lingering_time`, 30 s).
const LINGER_MOST: Duration = Duration::from_secs(15);

impl<H: Handler> Serve<H> {
    pub(super) fn new(session: Session, shared: Arc<Shared<H>>) -> Self {
        let opened = turn_now();
        // The first request has the head's deadline from the start: a silent newcomer is not an idle customer.
        session.timer().arm(opened + shared.options.head_timeout);
        session.conn.life().set_state(millstream_transport::ConnState::Idle, opened);
        Self {
            session: Some(session),
            shared,
            info: None,
            input: Vec::new(),
            is_input_fresh: false,
            output: Output::default(),
            progress: Progress::default(),
            stage: Stage::Head,
            intake: None,
            exchange: Exchange::none(opened),
            unsent: 0,
            is_registered: false,
            is_write_blocked: false,
        }
    }

    #[inline]
    pub(super) fn session(&self) -> &Session {
        self.session.as_ref().expect("taken only when the connection ends or leaves HTTP")
    }

    #[inline]
    pub(super) fn session_mut(&mut self) -> &mut Session {
        self.session.as_mut().expect("taken only when the connection ends or leaves HTTP")
    }

    #[inline]
    fn step(&mut self, cx: &mut Context<'_>) -> Step {
        // Blocked with nothing to write: TLS holds the rest.
        if !self.output.is_empty() || self.unsent > 0 || self.is_write_blocked {
            match self.send(cx) {
                Ok(true) => {}
                Ok(false) if self.output.len() >= HIGH_WATER => return Step::Wait,
                Ok(false) => {}
                Err(cause) => return Step::End(cause),
            }
        }
        match &mut self.stage {
            Stage::Head => self.step_head(cx),
            Stage::Handler { .. } => self.step_handler(cx),
            Stage::Body(_) => self.step_body(cx),
            Stage::Drain => self.step_drain(cx),
            Stage::Finish { .. } => self.step_finish(cx),
            Stage::Linger { .. } => self.step_linger(cx),
            Stage::Upgrade(_) => self.step_upgrade(),
            Stage::Upgraded(run) => match run.as_mut().poll(cx) {
                Poll::Ready(()) => Step::End(Cause::HandedOver),
                Poll::Pending => Step::Wait,
            },
        }
    }

    /// Sends what can be sent; says whether that was all.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let Some(session) = &mut self.session else { return Ok(true) };
        let before = self.output.len();
        match self.output.poll_send(&mut session.conn, cx) {
            Poll::Ready(Ok(())) => {
                if self.is_write_blocked {
                    self.on_unblocked();
                }
                self.on_sent();
                Ok(true)
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "response not taken by the peer");
                Err(Cause::ResetInRequest)
            }
            Poll::Pending => {
                if !self.is_write_blocked || self.output.len() < before {
                    self.is_write_blocked = true;
                    session.timer().arm(turn_now() + self.shared.options.write_timeout);
                }
                Ok(false)
            }
        }
    }

    /// The timer was the write timeout's: whatever waits besides gets it back.
    #[cold]
    fn on_unblocked(&mut self) {
        self.is_write_blocked = false;
        let (timer, moment) = (self.session().timer(), turn_now());
        match &self.stage {
            Stage::Handler { is_abandoned: true, .. } => timer.arm(moment + HALF_CLOSE_GRACE),
            Stage::Body(sending) if sending.is_abandoned => timer.arm(moment + HALF_CLOSE_GRACE),
            Stage::Drain => timer.arm(moment + self.shared.options.read_timeout),
            Stage::Handler { .. } | Stage::Body(_) if self.is_starved() => {
                timer.arm(moment + self.shared.options.read_timeout);
            }
            _ => timer.disarm(),
        }
    }

    /// Does the handler wait for bytes of its request's body that are not there?
    fn is_starved(&self) -> bool {
        self.intake.as_ref().is_some_and(|intake| intake.is_starved())
    }

    /// Sets the deadline of a stage, unless the write timeout runs, which ends all the same.
    pub(super) fn arm(&self, deadline: Instant) {
        if !self.is_write_blocked {
            self.session().timer().arm(deadline);
        }
    }

    /// Takes the deadline of a stage away, unless it is the write timeout's.
    pub(super) fn disarm(&self) {
        if !self.is_write_blocked {
            self.session().timer().disarm();
        }
    }

    /// All bytes are with the kernel: latencies are known, and an idle connection's time begins.
    #[inline]
    fn on_sent(&mut self) {
        let moment = if self.unsent > 0 { fresh_now() } else { turn_now() };
        if self.unsent > 0 {
            let span = moment.saturating_duration_since(self.exchange.started);
            let nanoseconds = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
            self.shared.stats.record_latency(nanoseconds, u64::from(self.unsent));
            self.unsent = 0;
        }
        if matches!(self.stage, Stage::Head) {
            self.rest(moment);
        }
    }

    /// Sets the deadline for the next request, or for the rest of its head.
    #[inline]
    fn rest(&mut self, moment: Instant) {
        if self.input.is_empty() {
            self.session().on_idle(moment);
        } else {
            self.session().timer().arm(moment + self.shared.options.head_timeout);
        }
    }

    fn step_head(&mut self, cx: &mut Context<'_>) -> Step {
        if self.is_input_fresh {
            self.is_input_fresh = false;
            if self.parse_input(turn_now(), cx) {
                return Step::Again;
            }
        }
        let mut buffer = scratch::take_input();
        let step = self.read_head(&mut buffer, cx);
        scratch::put_input(buffer);
        step
    }

    #[inline]
    fn read_head(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Step {
        let mut buf = ReadBuf::new(buffer);
        match Pin::new(&mut self.session_mut().conn).poll_read(cx, &mut buf) {
            Poll::Pending => self.wait_for_head(),
            Poll::Ready(Err(_)) if self.input.is_empty() => Step::End(Cause::ResetIdle),
            Poll::Ready(Err(_)) => Step::End(Cause::ResetInRequest),
            Poll::Ready(Ok(())) if buf.filled().is_empty() => self.on_client_end(),
            Poll::Ready(Ok(())) => {
                self.parse_read(buf.filled(), turn_now(), cx);
                Step::Again
            }
        }
    }

    /// The client sends nothing more while we wait for a request.
    fn on_client_end(&mut self) -> Step {
        let cause = match (self.input.is_empty(), self.session().conn.life().messages()) {
            (true, 0) => Cause::PeerCloseHeader,
            (true, _) => Cause::IdleTimeoutPeer,
            (false, _) => Cause::ClosedInRequest,
        };
        if self.output.is_empty() && !self.is_write_blocked {
            return Step::End(cause);
        }
        // It may still read what it asked for.
        self.input.clear();
        self.stage = Stage::Finish { cause, lingers: false };
        Step::Again
    }

    /// Nothing to read: is it time to go?
    #[cold]
    fn expire_head(&mut self) -> Step {
        if !self.input.is_empty() {
            self.reject(crate::codec::Reject::new(408, "request head not in time"), turn_now());
            self.stage = Stage::Finish { cause: Cause::TimeoutHead, lingers: true };
            return Step::Again;
        }
        Step::End(self.session().idle_cause())
    }

    #[inline]
    fn wait_for_head(&mut self) -> Step {
        if self.session().is_draining() && self.input.is_empty() && self.output.is_empty() {
            return Step::End(Cause::Shutdown);
        }
        Step::Wait
    }

    fn step_handler(&mut self, cx: &mut Context<'_>) -> Step {
        let has_fed = match self.pump(cx) {
            Ok(has_fed) => has_fed,
            Err(cause) => return Step::End(cause),
        };
        let Stage::Handler { call, is_polled, .. } = &mut self.stage else { return Step::Again };
        let is_news = has_fed || !std::mem::take(is_polled);
        if is_news {
            if let Poll::Ready(response) = poll_call::<H>(call, &self.shared, cx) {
                self.stage = Stage::Head;
                self.respond(response, turn_now());
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
    fn abandon(&mut self) -> Step {
        self.shared.stats.count(Event::Abandoned);
        Step::End(Cause::Cancelled)
    }

    fn step_body(&mut self, cx: &mut Context<'_>) -> Step {
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
                self.shared.on_panic(&*panic);
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
    fn go_on(&mut self, frame: Option<http_body::Frame<bytes::Bytes>>) -> Step {
        if let Stage::Body(sending) = &mut self.stage {
            sending.is_abandoned = false;
        }
        self.disarm();
        self.take_piece(frame)
    }

    /// Encodes a piece of the body, or its end.
    fn take_piece(&mut self, frame: Option<http_body::Frame<bytes::Bytes>>) -> Step {
        let Stage::Body(sending) = &mut self.stage else { return Step::Again };
        let trailers = match frame.map(http_body::Frame::into_data) {
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
            session.conn.end(Cause::OwnCloseHeader);
        }
        Step::End(Cause::OwnCloseHeader)
    }

    fn step_drain(&mut self, cx: &mut Context<'_>) -> Step {
        let Some(intake) = &mut self.intake else {
            self.stage = Stage::Head;
            return Step::Again;
        };
        if intake.is_done() {
            self.intake = None;
            self.stage = Stage::Head;
            if !self.is_write_blocked {
                self.rest(turn_now());
            }
            self.is_input_fresh = !self.input.is_empty();
            return Step::Again;
        }
        // The timer is not armed anew: whoever drips its body must not keep the connection.
        match self.feed(cx) {
            Ok(Fed::Bytes) => Step::Again,
            Ok(Fed::End | Fed::Reset) => Step::End(Cause::BodyNotDrained),
            Ok(Fed::Nothing) => Step::Wait,
            Err(_) => {
                self.stage = Stage::Finish { cause: Cause::BodyNotDrained, lingers: true };
                Step::Again
            }
        }
    }

    fn step_finish(&mut self, cx: &mut Context<'_>) -> Step {
        let Stage::Finish { cause, lingers } = self.stage else { return Step::Again };
        if !self.output.is_empty() || self.is_write_blocked {
            return Step::Wait;
        }
        if !lingers && self.input.is_empty() {
            return Step::End(cause);
        }
        match Pin::new(&mut self.session_mut().conn).poll_shutdown(cx) {
            Poll::Pending => Step::Wait,
            Poll::Ready(Err(_)) => Step::End(cause),
            Poll::Ready(Ok(())) => {
                let moment = now();
                self.stage = Stage::Linger { cause, until: moment + LINGER_MOST };
                self.session().timer().arm(moment + LINGER_SILENCE);
                Step::Again
            }
        }
    }

    fn step_linger(&mut self, cx: &mut Context<'_>) -> Step {
        let Stage::Linger { cause, until } = self.stage else { return Step::Again };
        let mut buffer = scratch::take_input();
        let mut buf = ReadBuf::new(&mut buffer);
        let read = Pin::new(&mut self.session_mut().conn).poll_read(cx, &mut buf);
        let count = buf.filled().len();
        scratch::put_input(buffer);
        match read {
            Poll::Pending => Step::Wait,
            Poll::Ready(Ok(())) if count > 0 => {
                let moment = now();
                self.session().timer().arm(until.min(moment + LINGER_SILENCE));
                if moment < until { Step::Again } else { Step::End(cause) }
            }
            Poll::Ready(_) => Step::End(cause),
        }
    }

    fn step_upgrade(&mut self) -> Step {
        if !self.output.is_empty() || self.is_write_blocked {
            return Step::Wait;
        }
        let Stage::Upgrade(run) = std::mem::replace(&mut self.stage, Stage::Head) else { return Step::Again };
        let Some(session) = self.session.take() else { return Step::Wait };
        self.shared.stats.count(Event::Upgraded);
        let early = std::mem::take(&mut self.input).into();
        self.stage = Stage::Upgraded(run.run(Upgraded::new(session, early)));
        Step::Again
    }

    /// Hands the handler what it asked for of the request's body. Says whether anything new was handed over.
    fn pump(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
        let Some(intake) = &mut self.intake else { return Ok(false) };
        if !intake.wants_more(cx.waker()) {
            if intake.set_starved(false) {
                self.disarm();
            }
            return Ok(false);
        }
        // Once the response has begun, its head has told the client how things stand.
        let may_tell = matches!(self.stage, Stage::Handler { .. });
        if may_tell && intake.take_continue() && self.input.is_empty() {
            self.output.tail().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.send(cx)?;
        }
        match self.feed(cx) {
            Ok(Fed::Bytes) | Err(_) => Ok(true),
            Ok(Fed::Nothing) => {
                if self.intake.as_mut().is_some_and(|intake| intake.set_starved(true)) {
                    self.arm(turn_now() + self.shared.options.read_timeout);
                }
                Ok(false)
            }
            Ok(Fed::Reset) if !self.shared.options.finish_abandoned => {
                self.shared.stats.count(Event::Abandoned);
                Err(Cause::ResetInRequest)
            }
            Ok(Fed::End | Fed::Reset) => {
                self.fail_body(Intake::on_end);
                Ok(true)
            }
        }
    }

    /// The request's body will not be whole. The handler is told, and may still answer.
    #[cold]
    fn fail_body(&mut self, tell: impl FnOnce(&mut Intake)) {
        self.exchange.keeps_alive = false;
        if let Some(intake) = &mut self.intake {
            intake.set_starved(false);
            tell(intake);
        }
        self.disarm();
    }

    /// Reads more of the request's body. An error: malformed or too long.
    fn feed(&mut self, cx: &mut Context<'_>) -> Result<Fed, crate::codec::Reject> {
        if !self.input.is_empty() {
            let input = std::mem::take(&mut self.input);
            return self.feed_bytes(&input);
        }
        let mut buffer = scratch::take_input();
        let mut buf = ReadBuf::new(&mut buffer);
        let read = Pin::new(&mut self.session_mut().conn).poll_read(cx, &mut buf);
        let result = match read {
            Poll::Pending => Ok(Fed::Nothing),
            Poll::Ready(Ok(())) if !buf.filled().is_empty() => self.feed_bytes(buf.filled()),
            Poll::Ready(Ok(())) => Ok(Fed::End),
            Poll::Ready(Err(_)) => Ok(Fed::Reset),
        };
        scratch::put_input(buffer);
        result
    }

    fn feed_bytes(&mut self, bytes: &[u8]) -> Result<Fed, crate::codec::Reject> {
        let Some(intake) = &mut self.intake else { return Ok(Fed::End) };
        // The silence is over, and the next one has its own time.
        intake.set_starved(false);
        match intake.take(bytes) {
            Ok(used) => {
                self.input.extend_from_slice(&bytes[used..]);
                Ok(Fed::Bytes)
            }
            Err(reject) => {
                self.exchange.keeps_alive = false;
                Err(reject)
            }
        }
    }

    /// A deadline has passed.
    #[cold]
    fn on_expired(&mut self) -> Step {
        if self.is_write_blocked {
            return Step::End(Cause::TimeoutWrite);
        }
        match &self.stage {
            Stage::Head => self.expire_head(),
            Stage::Handler { is_abandoned: true, .. } => self.abandon(),
            Stage::Body(sending) if sending.is_abandoned => self.abandon(),
            Stage::Handler { .. } | Stage::Body(_) => {
                if !self.is_starved() {
                    self.session().timer().disarm();
                    return Step::Wait;
                }
                self.fail_body(Intake::on_timeout);
                if let Stage::Handler { is_polled, .. } = &mut self.stage {
                    *is_polled = false;
                }
                Step::Again
            }
            Stage::Drain => Step::End(Cause::BodyNotDrained),
            Stage::Finish { cause, .. } | Stage::Linger { cause, .. } => Step::End(*cause),
            Stage::Upgrade(_) | Stage::Upgraded(_) => Step::Wait,
        }
    }

    /// Before the task sleeps: the timer knows whom to wake, and a deadline that has passed is acted on.
    #[inline]
    fn before_sleep(&mut self, cx: &mut Context<'_>) -> Step {
        let Some(session) = &self.session else { return Step::Wait };
        if !self.is_registered {
            // The task's waker stays the same for its life.
            session.timer().register(cx.waker());
            self.is_registered = true;
        }
        if session.timer().has_fired() {
            return self.on_expired();
        }
        Step::Wait
    }

    fn end(&mut self, cause: Cause) {
        self.output.release();
        if let Some(session) = self.session.take() {
            session.close(cause);
        }
    }
}

/// Polls a handler; its panic becomes a 500 that closes the connection.
#[inline]
pub(super) fn poll_call<H: Handler>(
    call: &mut Call<H>,
    shared: &Shared<H>,
    cx: &mut Context<'_>,
) -> Poll<super::Response> {
    let Some(future) = call.as_mut().as_pin_mut() else {
        return Poll::Ready(super::Response::new(http::StatusCode::INTERNAL_SERVER_ERROR));
    };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| future.poll(cx))) {
        Ok(poll) => poll,
        Err(panic) => Poll::Ready(shared.on_panic(&*panic)),
    }
}

/// The next piece of a response's body; its panic as an error.
fn poll_piece(body: &mut Body, cx: &mut Context<'_>) -> std::thread::Result<Poll<Option<Piece>>> {
    let body = Pin::new(body);
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| http_body::Body::poll_frame(body, cx)))
}

type Piece = Result<http_body::Frame<bytes::Bytes>, millstream_base::Error>;

impl<H: Handler> Future for Serve<H> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        for _ in 0..STEPS {
            let mut step = this.step(cx);
            if matches!(step, Step::Wait) {
                step = this.before_sleep(cx);
            }
            match step {
                Step::Again => {}
                Step::Wait => {
                    this.output.release();
                    return Poll::Pending;
                }
                Step::End(cause) => {
                    this.end(cause);
                    return Poll::Ready(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
