//! From bytes that were read to requests, handlers and responses: the loop that serves pipelined requests.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http::StatusCode;
use millstream_transport::{Cause, ConnState};

use super::answering::poll_slot;
use super::exchange::Exchange;
use super::intake::{Intake, check_length};
use super::plain;
use super::pool::{HeadBox, Turn};
use super::request::ConnInfo;
use super::respond::{self, HeadContext, Rest};
use super::serve::{Call, HIGH_WATER, Sending, Serve, Stage};
use super::stats::Event;
use super::upgrade::OnUpgrade;
use super::{Handler, Request, Response};
use crate::Body;
use crate::codec::{Framing, Parse, Reject, parse_request};

impl<H: Handler> Serve<H> {
    /// Serves what was just read. What can't be used yet goes to `input`.
    #[inline]
    pub(super) fn parse_read(&mut self, bytes: &[u8], moment: Instant, cx: &mut Context<'_>) {
        if self.input.is_empty() {
            let used = self.parse(bytes, moment, cx);
            if used < bytes.len() {
                self.keep(&bytes[used..], moment);
            }
        } else {
            self.input.extend_from_slice(bytes);
            self.parse_input(moment, cx);
        }
    }

    /// Keeps the beginning of a head, or what came behind a request that is still being served.
    fn keep(&mut self, rest: &[u8], moment: Instant) {
        self.input.extend_from_slice(rest);
        if matches!(self.stage, Stage::Head) {
            self.arm(moment + self.shared.options.head_timeout);
        }
    }

    /// Serves what lies in `input`; says whether any of it could be used.
    pub(super) fn parse_input(&mut self, moment: Instant, cx: &mut Context<'_>) -> bool {
        let input = std::mem::take(&mut self.input);
        let used = self.parse(&input, moment, cx);
        if used == 0 {
            self.input = input;
        } else if used < input.len() {
            self.input.extend_from_slice(&input[used..]);
        }
        used > 0 || !matches!(self.stage, Stage::Head)
    }

    /// Serves the requests at the front of `bytes`, one behind the other, while their handlers answer at once. Gives how
    /// many bytes were used.
    fn parse(&mut self, bytes: &[u8], moment: Instant, cx: &mut Context<'_>) -> usize {
        let mut used = 0;
        let mut call = self.spare.take();
        let turn = Turn::begin();
        while used < bytes.len() && matches!(self.stage, Stage::Head) {
            if self.output.len() >= HIGH_WATER {
                self.is_input_fresh = true;
                break;
            }
            let mut head = HeadBox::take();
            let parsed = parse_request(
                &bytes[used..],
                &self.shared.options.head,
                &mut head.parsed,
                &mut self.progress,
            );
            match parsed {
                Ok(Parse::Complete(count)) => used += count,
                Ok(Parse::Partial) => break,
                Err(reject) => {
                    self.reject(reject, moment);
                    return bytes.len();
                }
            }
            self.exchange = Exchange::of(&head.parsed, moment);
            match self.open_body(&mut head, &bytes[used..]) {
                Ok(count) => {
                    used += count;
                    self.answer(head, &mut call, &turn, moment, cx);
                }
                Err(reject) => {
                    self.reject(reject, moment);
                    return bytes.len();
                }
            }
        }
        if size_of::<H::Future>() <= SPARE_BYTES {
            self.spare = call;
        }
        used
    }

    /// Gives the request its body; says how many of `bytes` belong to it.
    #[inline]
    fn open_body(&mut self, head: &mut HeadBox, bytes: &[u8]) -> Result<usize, Reject> {
        if head.parsed.framing.is_empty() {
            head.max_body = self.shared.options.max_body;
            return Ok(0);
        }
        self.open_some_body(head, bytes)
    }

    fn open_some_body(&mut self, head: &mut HeadBox, bytes: &[u8]) -> Result<usize, Reject> {
        let framing = head.parsed.framing;
        let allowed = self.shared.handler.max_body(&head.parsed).unwrap_or(self.shared.options.max_body);
        head.max_body = allowed;
        check_length(framing, allowed)?;
        if let Some(count) = whole_length(framing, bytes) {
            head.body = Body::from(bytes[..count].to_vec());
            return Ok(count);
        }
        let (mut intake, incoming) =
            Intake::new(framing, allowed, head.parsed.expect_continue && bytes.is_empty());
        let mut used = 0;
        if !bytes.is_empty() {
            used = intake.take(bytes)?;
        }
        if !intake.is_done() {
            self.intake = Some(Box::new(intake));
        }
        head.body = Body::incoming(incoming);
        Ok(used)
    }

    /// Calls the handler and polls it once.
    #[inline]
    fn answer(
        &mut self,
        mut head: HeadBox,
        call: &mut Option<Call<H>>,
        turn: &Turn,
        moment: Instant,
        cx: &mut Context<'_>,
    ) {
        head.number = self.session().conn.life().count_message();
        head.conn = Some(self.info.take().unwrap_or_else(|| self.make_info()));
        let request = Request::new(head);
        let shared = &self.shared;
        let mut slot = call.take().unwrap_or_else(|| Box::pin(None));
        // The future is made where it is polled, and its output looked at where it is: moving them costs as much as
        // writing a head.
        let mut polled = shared.contain(self.session.as_ref(), || {
            slot.set(Some(shared.handler.call(request)));
            poll_slot::<H>(&mut slot, cx)
        });
        self.take_back(turn);
        match &mut polled {
            Poll::Ready(response) => {
                slot.set(None);
                *call = Some(slot);
                self.respond(response, moment);
            }
            Poll::Pending => self.wait_for_handler(slot, moment),
        }
    }

    fn wait_for_handler(&mut self, call: Call<H>, moment: Instant) {
        self.stage = Stage::Handler { call, is_polled: true, is_abandoned: false };
        self.session().on_busy(moment);
        // The handler may take its time; it is the client that may not, and only while the handler waits for it.
        self.disarm();
    }

    /// The request has gone, or has not: what it knew of the connection is for the next one.
    #[inline]
    pub(super) fn take_back(&mut self, turn: &Turn) {
        if let Some(info) = turn.returned()
            && info.is_of(self.session().conn.life())
        {
            self.info = Some(info);
        }
    }

    #[cold]
    fn make_info(&self) -> Arc<ConnInfo> {
        let session = self.session();
        let context = session.context().cloned();
        Arc::new(ConnInfo::new(session.conn.shared_life(), session.conn.tls_info(), context))
    }

    /// What becomes of a response that switches protocols, or that is none (1xx).
    #[cold]
    fn settle_upgrade(&mut self, response: &mut Response) -> Option<OnUpgrade> {
        let upgrade = response.upgrade.take();
        let has_unread_body = self.intake.as_ref().is_some_and(|intake| !intake.is_done());
        match upgrade {
            // What is left of the body would be taken for the other protocol.
            Some(_) if has_unread_body => *response = Response::new(StatusCode::BAD_REQUEST).with_close(),
            Some(upgrade) if self.exchange.wants_upgrade => {
                let is_connect = self.exchange.is_connect;
                response.status = if is_connect { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS };
                return Some(upgrade);
            }
            Some(_) => *response = Response::new(StatusCode::UPGRADE_REQUIRED),
            None => *response = respond::interim_response(response.status),
        }
        None
    }

    /// Encodes a response and decides what comes next on this connection.
    #[inline]
    pub(super) fn respond(&mut self, response: &mut Response, moment: Instant) {
        if !self.respond_plainly(response, moment) {
            self.respond_fully(response, moment);
        }
    }

    /// The response that most are: 200, a body that is there, and nothing to decide. False where it is not that.
    #[inline]
    fn respond_plainly(&mut self, response: &Response, moment: Instant) -> bool {
        let Some(body) = plain::plain_body(response) else { return false };
        let session = self.session();
        let is_plain = self.exchange.is_plain
            && self.intake.is_none()
            && session.conn.life().messages() < self.shared.options.max_requests
            && !session.is_draining();
        if !is_plain {
            return false;
        }
        debug_assert!(matches!(self.stage, Stage::Head), "respond is called between stages");
        self.shared.stats.count_response(response.status);
        let context = HeadContext {
            exchange: &self.exchange,
            keeps_alive: true,
            idle_seconds: session.options().idle_timeout.as_secs(),
            now: moment,
            server: self.shared.options.server_name.as_ref(),
        };
        plain::encode(self.output.tail(), response, body, &context, self.shared.id);
        self.unsent += 1;
        true
    }

    fn respond_fully(&mut self, response: &mut Response, moment: Instant) {
        let is_rare = response.upgrade.is_some() || response.status.is_informational();
        let upgrade = if is_rare { self.settle_upgrade(response) } else { None };
        let keeps_alive = upgrade.is_none() && self.may_keep(response);
        let status = response.status;
        self.shared.stats.count_response(status);
        self.unsent += 1;
        let idle_seconds = self.session().options().idle_timeout.as_secs();
        let context = HeadContext {
            exchange: &self.exchange,
            keeps_alive,
            idle_seconds,
            now: moment,
            server: self.shared.options.server_name.as_ref(),
        };
        let rest = respond::encode_response(&mut self.output, response, &context);
        match (upgrade, rest) {
            (Some(upgrade), _) => self.stage = Stage::Upgrade(upgrade),
            (None, Rest::Whole) => self.on_response_whole(keeps_alive, moment),
            (None, Rest::Stream(body, frame)) => {
                self.session().on_busy(moment);
                self.disarm();
                if let Some(intake) = &mut self.intake {
                    intake.set_starved(false);
                }
                let sending = Sending { body, frame, keeps_alive, is_abandoned: false };
                self.stage = Stage::Body(Box::new(sending));
            }
        }
    }

    /// May another request follow this response on the connection?
    #[inline]
    fn may_keep(&self, response: &Response) -> bool {
        let is_open_ended = self.exchange.allows_body(response.status)
            && respond::frame_of(&response.body, &self.exchange) == respond::Frame::Close;
        // While a stream goes out, the request's body may still be read: an echo does nothing else.
        let may_read = |intake: &Intake| !intake.awaits_continue() && response.body.as_full().is_none();
        let can_skip_body = self
            .intake
            .as_ref()
            .is_none_or(|intake| intake.is_done() || intake.can_drain() || may_read(intake));
        self.exchange.keeps_alive
            && self.session().conn.life().messages() < self.shared.options.max_requests
            && !response.closes
            && !is_open_ended
            // The client takes what follows for a tunnel.
            && !(self.exchange.is_connect && response.status.is_success())
            && can_skip_body
            && !self.session().is_draining()
    }

    /// The response is encoded to its end.
    #[inline]
    pub(super) fn on_response_whole(&mut self, keeps_alive: bool, moment: Instant) {
        let has_unread_body = self.intake.as_ref().is_some_and(|intake| !intake.is_done());
        // Whatever the head has announced: behind a body that went wrong nobody knows where the next request begins, and
        // one that is too long is not read for the sake of the connection.
        if !keeps_alive || self.intake.as_ref().is_some_and(|intake| !intake.is_done() && !intake.can_drain())
        {
            // A client that did not ask for the end may have sent more requests already.
            let lingers = has_unread_body || self.exchange.keeps_alive;
            self.stage = Stage::Finish { cause: self.close_cause(has_unread_body), lingers };
            return;
        }
        if !matches!(self.stage, Stage::Head) {
            self.stage = Stage::Head;
        }
        if !has_unread_body {
            if self.intake.is_some() {
                self.intake = None;
            }
            return;
        }
        if let Some(intake) = &mut self.intake {
            intake.start_drain();
            self.stage = Stage::Drain;
            self.session().on_busy(moment);
            self.arm(moment + self.shared.options.read_timeout);
        }
    }

    fn close_cause(&self, has_unread_body: bool) -> Cause {
        let session = self.session();
        if session.is_draining() {
            Cause::Shutdown
        } else if has_unread_body {
            Cause::BodyNotDrained
        } else if session.conn.life().messages() >= self.shared.options.max_requests {
            Cause::MaxRequestsLocal
        } else if self.exchange.keeps_alive {
            Cause::OwnCloseHeader
        } else {
            Cause::PeerCloseHeader
        }
    }

    /// Answers what can't be served, and closes: where the next request begins is unknown.
    #[cold]
    pub(super) fn reject(&mut self, reject: Reject, moment: Instant) {
        self.shared.stats.count(Event::Rejected);
        tracing::debug!(status = reject.status, reason = reject.reason, "request refused");
        self.exchange = Exchange { keeps_alive: false, ..Exchange::none(moment) };
        self.intake = None;
        self.input.clear();
        self.respond(&mut respond::reject_response(reject.status, reject.reason), moment);
        self.session().conn.life().set_state(ConnState::Closing, moment);
        self.stage = Stage::Finish { cause: Cause::ProtocolError, lingers: true };
    }
}

/// The length of a body that is wholly there.
#[inline]
fn whole_length(framing: Framing, bytes: &[u8]) -> Option<usize> {
    match framing {
        Framing::Length(length) => usize::try_from(length).ok().filter(|length| *length <= bytes.len()),
        _ => None,
    }
}

/// The place of a handler's future is kept between requests if it is no larger than this: an allocation less for each, at
/// a price that an idle connection can bear (it is to cost under 2 KiB in all).
const SPARE_BYTES: usize = 256;
