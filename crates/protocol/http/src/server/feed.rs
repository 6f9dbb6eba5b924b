//! A request's body from the connection to its handler, or to nobody.

use std::pin::Pin;
use std::task::{Context, Poll};

use millstream_server::turn_now;
use millstream_transport::Cause;
use tokio::io::{AsyncRead, ReadBuf};

use super::intake::Intake;
use super::serve::{Serve, Stage, Step};
use super::stats::Event;
use super::{Handler, scratch};
use crate::codec::Reject;

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

impl Fed {
    /// What the connection ends for when a body ends so before it is whole.
    fn cause(&self) -> Cause {
        if matches!(self, Self::Reset) { Cause::ResetInRequest } else { Cause::ClosedInRequest }
    }
}

impl<H: Handler> Serve<H> {
    /// Hands the handler what it asked for of the request's body. Says whether anything new was handed over.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>) -> Result<bool, Cause> {
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
            Ok(fed) => {
                self.fail_body(fed.cause(), Intake::on_end);
                Ok(true)
            }
        }
    }

    /// The request's body will not be whole, which is what the connection ends for. The handler is told, and may still answer.
    #[cold]
    pub(super) fn fail_body(&mut self, cause: Cause, tell: impl FnOnce(&mut Intake)) {
        self.exchange.keeps_alive = false;
        self.session().conn.end(cause);
        if let Some(intake) = &mut self.intake {
            intake.set_starved(false);
            tell(intake);
        }
        self.disarm();
    }

    /// Reads more of the request's body. An error: malformed or too long.
    fn feed(&mut self, cx: &mut Context<'_>) -> Result<Fed, Reject> {
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

    fn feed_bytes(&mut self, bytes: &[u8]) -> Result<Fed, Reject> {
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

    pub(super) fn step_drain(&mut self, cx: &mut Context<'_>) -> Step {
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
            Ok(Fed::Nothing) => Step::Wait,
            Ok(fed) => Step::End(fed.cause()),
            Err(_) => {
                self.stage = Stage::Finish { cause: Cause::BodyNotDrained, lingers: true };
                Step::Again
            }
        }
    }
}
