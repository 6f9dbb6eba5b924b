//! How a connection leaves HTTP: closed well, lingering where the client still sends, or handed over.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use millstream_server::turn_now;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::serve::{Serve, Stage, Step};
use super::stats::Event;
use super::{Handler, Upgraded, scratch};

/// Lingering ends after this much silence.
const LINGER_SILENCE: Duration = Duration::from_secs(2);
/// Lingering ends after this time whatever comes (nginx: `lingering_time`, 30 s).
const LINGER_MOST: Duration = Duration::from_secs(15);

impl<H: Handler> Serve<H> {
    pub(super) fn step_finish(&mut self, cx: &mut Context<'_>) -> Step {
        let Stage::Finish { cause, lingers } = self.stage else { return Step::Again };
        if !self.output.is_empty() || self.is_write_blocked {
            return Step::Wait;
        }
        if !lingers && self.input.is_empty() {
            return Step::End(cause);
        }
        match Pin::new(&mut self.session_mut().conn).poll_shutdown(cx) {
            Poll::Pending => {
                // Over TLS a close has bytes of its own, which the peer may not take.
                self.session().timer().arm(turn_now() + self.shared.options.write_timeout);
                Step::Wait
            }
            Poll::Ready(Err(_)) => Step::End(cause),
            Poll::Ready(Ok(())) => {
                let moment = turn_now();
                self.stage = Stage::Linger { cause, until: moment + LINGER_MOST };
                self.session().timer().arm(moment + LINGER_SILENCE);
                Step::Again
            }
        }
    }

    pub(super) fn step_linger(&mut self, cx: &mut Context<'_>) -> Step {
        let Stage::Linger { cause, until } = self.stage else { return Step::Again };
        let mut buffer = scratch::take_input();
        let mut buf = ReadBuf::new(&mut buffer);
        let read = Pin::new(&mut self.session_mut().conn).poll_read(cx, &mut buf);
        let count = buf.filled().len();
        scratch::put_input(buffer);
        match read {
            Poll::Pending => Step::Wait,
            Poll::Ready(Ok(())) if count > 0 => {
                let moment = turn_now();
                self.session().timer().arm(until.min(moment + LINGER_SILENCE));
                if moment < until { Step::Again } else { Step::End(cause) }
            }
            Poll::Ready(_) => Step::End(cause),
        }
    }

    pub(super) fn step_upgrade(&mut self) -> Step {
        if !self.output.is_empty() || self.is_write_blocked {
            return Step::Wait;
        }
        let Stage::Upgrade(run) = std::mem::replace(&mut self.stage, Stage::Head) else { return Step::Again };
        let Some(session) = self.session.take() else { return Step::Wait };
        self.shared.stats.count(Event::Upgraded);
        // What is idle is the new protocol's to know: nobody may take its place.
        session.on_busy(turn_now());
        let early = std::mem::take(&mut self.input).into();
        self.stage = Stage::Upgraded(run.run(Upgraded::new(session, early)));
        Step::Again
    }
}
