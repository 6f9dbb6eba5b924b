//! Each cause for which a connection can end, produced once over real sockets, and what is booked of it.
//!
//! [`CLIENT`] and [`SERVER`] say where each cause is produced, [`NOWHERE`] why one is not: no cause may be missing.

#[path = "../client_world/mod.rs"]
mod client_world;
#[path = "../serving/mod.rs"]
mod serving;

mod client;
mod server;

use std::ops::RangeInclusive;

use millstream_client::transport::ClosedBy::{Peer, Us};
use millstream_client::transport::{Cause, Cause as C, ClosedBy, Opener};

/// What must be booked of the connection that a scene is about.
struct Row {
    cause: Cause,
    by: ClosedBy,
    opener: Opener,
    messages: u64,
    bytes_in: RangeInclusive<u64>,
    bytes_out: RangeInclusive<u64>,
}

/// A row, and what produces it.
type Case<Scene> = (Row, fn() -> Scene);

/// What is booked of one connection.
#[derive(Debug)]
struct Booked {
    cause: Cause,
    by: ClosedBy,
    opener: Opener,
    messages: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Row {
    const fn new(cause: Cause, by: ClosedBy, opener: Opener, messages: u64) -> Self {
        Self { cause, by, opener, messages, bytes_in: 0..=0, bytes_out: 0..=0 }
    }

    /// A client's, for a target that it had no connection to.
    const fn client(cause: Cause, by: ClosedBy, messages: u64) -> Self {
        Self::new(cause, by, Opener::PoolEmpty, messages)
    }

    const fn server(cause: Cause, by: ClosedBy, messages: u64) -> Self {
        Self::new(cause, by, Opener::Accepted, messages)
    }

    const fn bytes(mut self, bytes_in: RangeInclusive<u64>, bytes_out: RangeInclusive<u64>) -> Self {
        (self.bytes_in, self.bytes_out) = (bytes_in, bytes_out);
        self
    }

    #[track_caller]
    fn check(&self, booked: &Booked) {
        let cause = self.cause;
        assert_eq!(
            (booked.cause, booked.by, booked.opener, booked.messages),
            (cause, self.by, self.opener, self.messages),
            "{booked:?}"
        );
        assert!(self.bytes_in.contains(&booked.bytes_in), "{cause}: not {:?} in {booked:?}", self.bytes_in);
        assert!(
            self.bytes_out.contains(&booked.bytes_out),
            "{cause}: not {:?} in {booked:?}",
            self.bytes_out
        );
    }
}

const NONE: RangeInclusive<u64> = 0..=0;
/// A GET or a short reply of ours, with the fields that are added; and two of them.
const ONE: RangeInclusive<u64> = 40..=250;
const TWO: RangeInclusive<u64> = 80..=500;

/// Exactly as long as this text.
const fn of(text: &str) -> RangeInclusive<u64> {
    let size = text.len() as u64;
    size..=size
}

/// Produced on the client's side. Where a client closes behind its server, the server keeps TIME_WAIT: it closed first.
const CLIENT: &[Case<client::Scene>] = &[
    (Row::client(C::IdleTimeoutLocal, Us, 1).bytes(of(client::FINE), ONE), client::idle_for_too_long),
    (Row::client(C::IdleTimeoutPeer, Peer, 1).bytes(of(client::FINE), ONE), client::closed_while_idle),
    (Row::client(C::PeerCloseHeader, Peer, 1).bytes(of(client::LAST), ONE), client::server_says_close),
    (Row::client(C::OwnCloseHeader, Peer, 1).bytes(of(client::LAST), ONE), client::caller_says_close),
    (Row::client(C::MaxRequestsPeer, Peer, 1).bytes(of(client::ENOUGH), ONE), client::server_takes_no_more),
    (Row::client(C::Lifetime, Peer, 1).bytes(of(client::LAST), ONE), client::lifetime_is_over),
    (Row::client(C::BodyNotDrained, Us, 1).bytes(of(client::PART), ONE), client::reply_dropped_unread),
    (
        Row::client(C::BodyNotDrained, Peer, 1).bytes(of(client::PART), ONE),
        client::reply_dropped_behind_its_end,
    ),
    (Row::client(C::ClosedInRequest, Peer, 1).bytes(12..=12, ONE), client::closed_within_a_head),
    (Row::client(C::ClosedInRequest, Peer, 1).bytes(of(client::PART), ONE), client::closed_within_a_body),
    (Row::client(C::ProtocolError, Us, 1).bytes(of(client::NONSENSE), ONE), client::nonsense_for_a_reply),
    (Row::client(C::ParseDesync, Us, 1).bytes(of(client::TWICE), ONE), client::second_reply_unasked),
    (Row::client(C::StaleOnCheckout, Peer, 2).bytes(of(client::FINE), TWO), client::closed_on_second_request),
    (Row::client(C::ResetIdle, Peer, 1).bytes(of(client::FINE), ONE), client::reset_while_idle),
    (Row::client(C::ResetInRequest, Peer, 1).bytes(NONE, ONE), client::reset_for_a_reply),
    (Row::client(C::TimeoutRead, Us, 1).bytes(NONE, ONE), client::silence_for_a_reply),
    (Row::client(C::TimeoutWrite, Us, 1).bytes(NONE, 1..=client::LARGE), client::request_not_taken),
    (Row::client(C::Cancelled, Us, 1).bytes(NONE, ONE), client::call_dropped),
    (Row::client(C::Cancelled, Us, 1).bytes(NONE, ONE), client::deadline_of_a_call),
    (Row::client(C::Cancelled, Us, 1).bytes(of(client::PART), ONE), client::deadline_within_a_body),
    // Nothing is counted before the handshake is through.
    (Row::client(C::Tls, Us, 0).bytes(NONE, NONE), client::plain_server_behind_https),
    (Row::client(C::Shutdown, Us, 1).bytes(of(client::FINE), ONE), client::engine_stops),
    (Row::client(C::HandedOver, Us, 1).bytes(of(client::SWITCHED), 40..=300), client::upgrade),
    // CONNECT is the connection's own affair and no message of a call.
    (Row::client(C::Dropped, Us, 0).bytes(of(client::REFUSED), ONE), client::tunnel_refused),
];

/// Produced on the server's side.
const SERVER: &[Case<server::Scene>] = &[
    (Row::server(C::MaxRequestsLocal, Us, 2).bytes(of(server::TWICE), TWO), server::enough_requests),
    (Row::server(C::CapacityEvict, Us, 1).bytes(of(server::GET), ONE), server::newcomer_needs_the_place),
    (Row::server(C::ClosedInRequest, Peer, 0).bytes(of(server::PART), NONE), server::closed_within_a_head),
    (
        Row::server(C::ClosedInRequest, Peer, 1).bytes(of(server::POST_PART), ONE),
        server::closed_within_a_body,
    ),
    (Row::server(C::TimeoutRead, Us, 1).bytes(of(server::POST_PART), ONE), server::body_not_in_time),
    (Row::server(C::Panic, Us, 1).bytes(of(server::GET_PANIC), ONE), server::handler_panics),
    (Row::server(C::Shutdown, Us, 1).bytes(of(server::GET_NEVER), NONE), server::engine_stops_at_once),
    (Row::server(C::TimeoutHead, Us, 0).bytes(of(server::PART), ONE), server::head_not_in_time),
    (
        Row::server(C::TimeoutWrite, Us, 1).bytes(of(server::GET_LARGE), 1..=server::LARGE),
        server::reply_not_taken,
    ),
];

/// What no path of HTTP/1.1 books yet, and why.
const NOWHERE: &[(Cause, &str)] = &[(
    C::ConnectRaceSurplus,
    "a socket that lost the race is closed before it is a connection with a record",
)];

#[test]
fn each_cause_is_produced_somewhere_or_its_absence_has_a_reason() {
    let clients = CLIENT.iter().map(|(row, _)| row.cause);
    let produced: Vec<_> = clients.chain(SERVER.iter().map(|(row, _)| row.cause)).collect();
    for cause in Cause::ALL {
        let rows = produced.iter().filter(|other| *other == cause).count();
        let reasons = NOWHERE.iter().filter(|(other, _)| other == cause).count();
        assert_eq!(rows == 0, reasons == 1, "{cause}: {rows} rows, {reasons} reasons why there is none");
    }
}

#[test]
fn client_books_each_end_once_with_its_cause_and_who_closed() {
    for (row, scene) in CLIENT {
        scene().check(row);
    }
}

#[test]
fn server_books_each_end_once_with_its_cause_and_who_closed() {
    for (row, scene) in SERVER {
        scene().check(row);
    }
}
