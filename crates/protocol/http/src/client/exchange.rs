//! One request and its reply's head on one connection.
//!
//! The request goes out while the reply is watched for. A server that answers early with a refusal or a redirect is heard
//! even if it reads no more, and nothing more of the body is sent. One that answers early with success is sent the rest
//! while its answer is read.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{Method, StatusCode};
use millstream_base::{Deadline, Error, Kind, Origin, Phase, Result, Seen};
use millstream_client::{Failed, Lease, idle_span, now, turn_now};
use millstream_transport::{Cause, ConnState};
use tokio::io::{AsyncRead, ReadBuf};

use super::head::ReplyHead;
use super::outgoing::{Outgoing, Stall, Unsent};
use super::reply_body::{ReplyBody, Rest};
use super::upgraded::UpgradedConn;
use super::wire::{Http1, Sent, WireReply, WireRequest, malformed};
use crate::Body;
use crate::codec::{Framing, Parse, Progress, ResponseHead, list_items, parse_response};
use crate::server::scratch;

/// One request and its reply's head on one connection.
pub(crate) struct Exchange<'a> {
    protocol: &'a Http1,
    lease: Lease<Http1>,
    request: Box<WireRequest>,
    outgoing: Outgoing,
    /// Sending failed with this; the reply that explains it is waited for.
    broken: Option<io::Error>,
    /// Bytes of the reply that were read and not used.
    input: Vec<u8>,
    head: ReplyHead,
    progress: Progress,
    deadline: Deadline,
    phase: Phase,
    /// What the timer is armed for.
    stall: Stall,
    has_reply_begun: bool,
    interims: u32,
}

/// Interim replies (1xx) to one request at most: more is a flood. A guess; servers send one or two.
const MOST_INTERIMS: u32 = 32;

/// Counts an interim reply.
pub(super) fn count_interim(count: &mut u32) -> Result<()> {
    *count += 1;
    if *count > MOST_INTERIMS { Err(Error::protocol("too many interim replies")) } else { Ok(()) }
}

impl<'a> Exchange<'a> {
    /// Sends the request and gives the reply.
    pub(crate) async fn run(
        protocol: &'a Http1,
        lease: Lease<Http1>,
        mut request: Box<WireRequest>,
        deadline: Deadline,
    ) -> Result<WireReply, Failed<Box<WireRequest>>> {
        request.is_last = lease.is_ending(turn_now()) && request.may_be_last();
        let mut output = scratch::take_output();
        let upload = match request.encode(&mut output) {
            Ok(upload) => upload,
            Err(error) => {
                scratch::put_output(output);
                lease.release(now());
                return Err(Failed::new(error));
            }
        };
        let mut exchange = Self {
            protocol,
            lease,
            request,
            outgoing: Outgoing::new(output, upload),
            broken: None,
            input: Vec::new(),
            head: ReplyHead::take(),
            progress: Progress::default(),
            deadline,
            phase: Phase::Write,
            stall: Stall::Peer,
            has_reply_begun: false,
            interims: 0,
        };
        exchange.begin();
        match poll_fn(|cx| exchange.poll(cx)).await {
            Ok(()) => Ok(exchange.into_reply()),
            Err(error) => Err(exchange.into_failed(error)),
        }
    }

    fn begin(&mut self) {
        let moment = turn_now();
        let life = self.lease.conn_mut().life();
        life.set_state(ConnState::Busy, moment);
        life.count_message();
        self.arm(moment);
    }

    fn arm(&self, moment: Instant) {
        self.lease.arm(moment, self.limit(), self.deadline);
    }

    /// The limit of what is waited for.
    fn limit(&self) -> Duration {
        match self.stall {
            Stall::Peer => self.protocol.first_byte_timeout,
            Stall::Continue => self.protocol.continue_timeout,
            Stall::Source => Duration::MAX,
        }
    }

    /// Ready when the reply's head is whole.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Err(error));
            }
            let interims = self.interims;
            match self.poll_head(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.explain(error))),
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                // An interim reply may have set the body free.
                Poll::Pending if interims != self.interims => {}
                Poll::Pending => match self.poll_late(cx) {
                    Poll::Ready(Ok(())) => {}
                    other => return other,
                },
            }
        }
    }

    /// Sends, and has the timer armed for what is waited for then. Errors of the connection are kept for later.
    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.outgoing.is_done() || self.broken.is_some() {
            return Poll::Pending;
        }
        let before = self.outgoing.written();
        match self.outgoing.poll(self.lease.conn_mut(), cx) {
            Poll::Ready(Err(Unsent::Source(error))) => {
                return Poll::Ready(Err(error.with_phase(Phase::Write)));
            }
            Poll::Ready(Err(Unsent::Socket(error))) => self.broken = Some(error),
            Poll::Ready(Ok(())) => self.phase = Phase::FirstByte,
            Poll::Pending => {}
        }
        // The limit is one of silence: a body that goes on takes as long as it takes.
        let has_progress = self.outgoing.is_body_begun() && self.outgoing.written() != before;
        if has_progress || self.stall != self.outgoing.stall() {
            self.stall = self.outgoing.stall();
            self.arm(turn_now());
        }
        Poll::Pending
    }

    /// Ready with an error when the time is up, or without one when a body that was held back is to go out now.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        std::task::ready!(self.lease.timer().poll_expired(cx));
        if self.stall == Stall::Continue && !self.deadline.is_past(now()) {
            self.outgoing.stop_waiting();
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err(self.late()))
    }

    #[cold]
    fn late(&self) -> Error {
        let message = if self.deadline.is_past(now()) {
            "timed out (the call's deadline)".to_owned()
        } else {
            format!("timed out (limit {:?})", self.limit())
        };
        Error::new(Kind::Timeout, Origin::Peer, message).with_phase(self.phase).with_seen(self.seen())
    }

    /// Reads until the final reply's head is whole.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            let mut buffer = scratch::take_input();
            let mut buf = ReadBuf::new(&mut buffer);
            let read = Pin::new(self.lease.conn_mut()).poll_read(cx, &mut buf);
            let parsed = match read {
                Poll::Pending => None,
                Poll::Ready(Ok(())) if buf.filled().is_empty() => Some(Err(self.ended())),
                Poll::Ready(Ok(())) => Some(self.take_bytes(buf.filled())),
                Poll::Ready(Err(error)) => Some(Err(self.io_error(error))),
            };
            scratch::put_input(buffer);
            match parsed {
                None => return Poll::Pending,
                Some(Ok(false)) => {}
                Some(Ok(true)) => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn seen(&self) -> Seen {
        if self.has_reply_begun { Seen::Yes } else { self.outgoing.seen() }
    }

    #[cold]
    fn ended(&self) -> Error {
        let what =
            if self.has_reply_begun { "closed within the reply's head" } else { "closed without a reply" };
        Error::new(Kind::Closed, Origin::Peer, what).with_phase(self.phase).with_seen(self.seen())
    }

    #[cold]
    fn io_error(&self, error: io::Error) -> Error {
        self.lease.sort(error).with_phase(self.phase).with_seen(self.seen())
    }

    /// No reply explains why sending failed: the failure itself is all there is to say.
    #[cold]
    fn explain(&mut self, error: Error) -> Error {
        match self.broken.take() {
            Some(broken) if !self.has_reply_begun => self.io_error(broken),
            _ => error,
        }
    }

    /// Looks at what came; says whether the final head is whole.
    fn take_bytes(&mut self, bytes: &[u8]) -> Result<bool> {
        self.has_reply_begun = true;
        self.phase = Phase::Read;
        if self.input.is_empty() {
            let (used, is_whole) = self.parse(bytes)?;
            self.input.extend_from_slice(&bytes[used..]);
            return Ok(is_whole);
        }
        self.input.extend_from_slice(bytes);
        let input = std::mem::take(&mut self.input);
        let (used, is_whole) = self.parse(&input)?;
        self.input = input;
        self.input.drain(..used);
        Ok(is_whole)
    }

    fn parse(&mut self, bytes: &[u8]) -> Result<(usize, bool)> {
        let mut used = 0;
        loop {
            let (limits, method) = (&self.protocol.head, &self.request.method);
            let head = &mut *self.head;
            let parsed = parse_response(&bytes[used..], limits, method, head, &mut self.progress);
            match parsed.map_err(malformed)? {
                Parse::Partial => return Ok((used, false)),
                Parse::Complete(count) => used += count,
            }
            if !self.head.is_interim() {
                self.check_upgrade()?;
                return Ok((used, true));
            }
            self.on_interim()?;
            if used == bytes.len() {
                return Ok((used, false));
            }
        }
    }

    #[cold]
    fn on_interim(&mut self) -> Result<()> {
        count_interim(&mut self.interims).map_err(|error| error.with_seen(Seen::Yes))?;
        if self.head.status == StatusCode::CONTINUE {
            self.outgoing.stop_waiting();
        }
        Ok(())
    }

    /// Another protocol is spoken only with who asked for it.
    #[inline]
    fn check_upgrade(&self) -> Result<()> {
        let is_asked = || self.request.headers.contains(&UPGRADE) || self.request.method == Method::CONNECT;
        if self.head.upgrade && !is_asked() {
            return Err(Error::protocol("the server switched protocols unasked").with_seen(Seen::Yes));
        }
        Ok(())
    }

    /// The reply, with its body; the connection goes back at once when the body is there already.
    fn into_reply(self) -> WireReply {
        let is_reused = self.lease.is_reused();
        let Self { protocol, lease, request, mut outgoing, input, head, deadline, .. } = self;
        if head.upgrade {
            lease.conn().life().set_owner(request.caller);
            let upgraded = Some(Box::new(UpgradedConn::new(lease, input.into())));
            return WireReply { head, body: Body::empty(), upgraded, is_reused, sent: None };
        }
        let is_request_whole = outgoing.is_done();
        // Who asked for the end sends nothing more, whatever the server says (RFC 9112 section 9.6).
        let is_kept = head.keep_alive && head.keep_alive_max != Some(0) && !asks_to_close(&request);
        let farewell = (!is_kept).then(|| asked_by(&request, &head));
        let (whole_by, caller) = (request.whole_by, request.caller);
        let keep = head.keep_alive_timeout.map_or(Duration::MAX, idle_span);
        let sent = head.status.is_redirection().then(|| Sent::new(request, &mut outgoing, deadline));
        let body = match whole_body(head.framing, &input) {
            Some(is_empty) => {
                end_exchange(lease, Ends::of(is_request_whole, farewell), keep);
                if is_empty { Body::empty() } else { Body::from(Bytes::from(input)) }
            }
            None => {
                lease.conn().life().set_owner(caller);
                let goes_on = !is_request_whole && head.keep_alive && head.status.is_success();
                // A request that is cut off is its connection's last.
                let is_cut = !is_request_whole && !goes_on;
                let farewell = farewell.or(is_cut.then_some(Cause::PeerCloseHeader));
                let outgoing = goes_on.then(|| Box::new(outgoing));
                let read_timeout = protocol.read_timeout;
                let rest = Rest { lease, farewell, keep, outgoing, read_timeout, whole_by };
                Body::stream(ReplyBody::new(rest, head.framing, input))
            }
        };
        WireReply { head, body, upgraded: None, is_reused, sent }
    }

    fn into_failed(mut self, error: Error) -> Failed<Box<WireRequest>> {
        let is_late = self.deadline.is_past(now());
        let cause = match error.kind() {
            Kind::Closed | Kind::Reset if self.lease.is_reused() && !self.has_reply_begun => {
                Cause::StaleOnCheckout
            }
            Kind::Timeout if is_late => Cause::Cancelled,
            _ => Cause::of_failure(&error),
        };
        self.lease.close(cause);
        let sent = Sent::new(self.request, &mut self.outgoing, self.deadline);
        if sent.is_repeatable { Failed::with_request(error, sent.request) } else { Failed::new(error) }
    }
}

/// Does the request say that it is its connection's last?
#[inline]
fn asks_to_close(request: &WireRequest) -> bool {
    if request.is_last {
        return true;
    }
    let mut items = request.headers.get_all(&CONNECTION).flat_map(|value| list_items(value.as_bytes()));
    items.any(|item| item.eq_ignore_ascii_case(b"close"))
}

/// Who asked that the connection ends: we, when the request said so, the caller's own or since its time is over; or the server.
#[cold]
fn asked_by(request: &WireRequest, head: &ResponseHead) -> Cause {
    match request.is_last {
        true => Cause::Lifetime,
        false if asks_to_close(request) => Cause::OwnCloseHeader,
        false if head.keep_alive && head.keep_alive_max == Some(0) => Cause::MaxRequestsPeer,
        false => Cause::PeerCloseHeader,
    }
}

/// Has all of the body come with the head; and if so, is there nothing of it?
#[inline]
fn whole_body(framing: Framing, input: &[u8]) -> Option<bool> {
    match framing {
        Framing::None | Framing::Length(0) if input.is_empty() => Some(true),
        Framing::Length(length) if length == input.len() as u64 && length > 0 => Some(false),
        _ => None,
    }
}

/// The exchange is over: the connection goes back, or ends.
#[inline]
pub(crate) fn end_exchange(lease: Lease<Http1>, ends: Ends, keep: Duration) {
    match ends {
        Ends::Kept if keep > Duration::ZERO => lease.release_for(turn_now(), keep),
        Ends::Kept => lease.close_behind_peer(Cause::PeerCloseHeader),
        Ends::Closed(cause) => lease.close_behind_peer(cause),
        // The server may wait for the rest of the request.
        Ends::Within => lease.close(Cause::PeerCloseHeader),
    }
}

/// What an exchange leaves behind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    /// A connection for another one.
    Kept,
    /// One that its server closes, for this reason.
    Closed(Cause),
    /// One in the middle of a request.
    Within,
}

impl Ends {
    /// `farewell` says why the connection is not kept.
    pub(crate) fn of(is_request_whole: bool, farewell: Option<Cause>) -> Self {
        match (is_request_whole, farewell) {
            (false, _) => Self::Within,
            (true, None) => Self::Kept,
            (true, Some(cause)) => Self::Closed(cause),
        }
    }
}
