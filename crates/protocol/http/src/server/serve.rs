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
//! - Each stage that waits has a deadline in the session's one timer. While the peer takes nothing it is the write
//!   timeout's, whatever the stage.
//! - Here stand the stages and what all of them share; their steps are in `answering.rs`, `feed.rs` and `ending.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use millstream_server::{Session, turn_now};
use millstream_transport::{Cause, PeerEvent};
use tokio::io::{AsyncRead, ReadBuf};

use super::answering::HALF_CLOSE_GRACE;
use super::exchange::Exchange;
use super::http_server::Shared;
use super::intake::Intake;
use super::output::Output;
use super::request::ConnInfo;
use super::respond::Frame;
use super::upgrade::OnUpgrade;
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
    /// The place of the next handler's future, if it is small.
    pub(super) spare: Option<Call<H>>,
    pub(super) exchange: Exchange,
    /// Responses whose bytes lie in `output`, for the latency histogram.
    pub(super) unsent: u32,
    is_registered: bool,
    /// The peer takes nothing now: the timer is the write timeout's.
    pub(super) is_write_blocked: bool,
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
            spare: None,
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
    pub(super) fn send(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
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
                    // A reply that waits for its reader is no idle connection.
                    session.on_busy(turn_now());
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
        self.rearm();
    }

    /// Sets the deadline that belongs to the stage, where it is not known what the timer was set to last.
    fn rearm(&mut self) {
        let (timer, moment) = (self.session().timer(), turn_now());
        match &self.stage {
            _ if self.is_write_blocked => timer.arm(moment + self.shared.options.write_timeout),
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
    pub(super) fn is_starved(&self) -> bool {
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
        let moment = turn_now();
        if self.unsent > 0 {
            self.shared.stats.on_sent(self.exchange.started, moment, self.unsent);
            self.unsent = 0;
        }
        if matches!(self.stage, Stage::Head) {
            self.rest(moment);
        }
    }

    /// Sets the deadline for the next request, or for the rest of its head.
    #[inline]
    pub(super) fn rest(&mut self, moment: Instant) {
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
        if self.session().conn.is_waiting(cx) {
            return self.wait_for_head();
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
        self.end_idle(self.session().idle_cause())
    }

    /// Ends an idle connection, unless a request has come just now: the reactor may not have looked yet.
    #[cold]
    fn end_idle(&mut self, cause: Cause) -> Step {
        if !matches!(self.session().conn.peek_now(), Some(PeerEvent::Data)) {
            return Step::End(cause);
        }
        self.arm(turn_now() + self.shared.options.head_timeout);
        Step::Wait
    }

    #[inline]
    fn wait_for_head(&mut self) -> Step {
        if self.session().is_draining() && self.input.is_empty() && self.output.is_empty() {
            return self.end_idle(Cause::Shutdown);
        }
        Step::Wait
    }

    /// A deadline has passed.
    #[cold]
    fn on_expired(&mut self) -> Step {
        let may_be_rung = matches!(self.stage, Stage::Head | Stage::Finish { .. } | Stage::Linger { .. });
        if self.session().timer().is_rung() && (self.is_write_blocked || !may_be_rung) {
            // A ring, meant for the idle, came as the request did: it is taken back.
            self.rearm();
            return Step::Wait;
        }
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
                self.fail_body(Cause::TimeoutRead, Intake::on_timeout);
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
