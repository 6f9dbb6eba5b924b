//! The smuggling corpus against a running server: it serves what the corpus says, and nothing behind it, however the
//! bytes arrive.

mod corpus;
mod serving;

use corpus::{Case, End, Outcome};
use millstream_http::{Request, Response};
use millstream_peers::message::RawResponse;
use millstream_peers::{RawConn, eventually};
use millstream_server::transport::{Addr, ConnState};
use serving::{Served, get};

/// Answers with the body it got, read piece by piece; CONNECT becomes a tunnel that ends at once.
async fn mirror(mut request: Request) -> millstream_base::Result<Response> {
    if request.method() == "CONNECT" {
        return Ok(Response::upgrade(async |upgraded| drop(upgraded)));
    }
    let mut whole = if request.path() == PROBE { b"probed".to_vec() } else { Vec::new() };
    while let Some(piece) = request.body_mut().chunk().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(Response::bytes(whole))
}

/// Stands behind each case: it must be served where the connection stays open, and nowhere else.
const PROBE: &str = "/probe";

/// Sends the pieces of a case, the probe behind them, and gives what the server made of it, as the corpus words it.
fn outcome<'a>(
    server: &Served,
    case: &Case,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    waits: bool,
) -> Outcome {
    // What follows a response to CONNECT is not its body.
    let method = if case.bytes.starts_with(b"CONNECT") { "CONNECT" } else { "GET" };
    let before = server.lives().counts().opened();
    let mut conn = server.connect();
    let mut sent = 0;
    for piece in pieces {
        // It may have closed already: then what it said is still to be read.
        if conn.try_send(piece).is_err() {
            break;
        }
        sent += piece.len();
        if waits {
            wait_until_read(server, &conn, before, sent as u64);
        }
    }
    // Whether it still reads is seen by the answer.
    let _ = conn.try_send(get(PROBE));
    let mut responses = Vec::new();
    loop {
        let response = conn.read_response(method);
        let (is_probe, status) = (response.body == b"probed", response.status);
        if is_probe {
            return Outcome { bodies: responses, end: End::Open };
        }
        let end = match (status, response.field("connection")) {
            (200, Some("close")) => End::Close,
            (200, Some(_)) => {
                responses.push(response.body);
                continue;
            }
            (200, None) => End::Upgrade,
            (100, _) => continue,
            (status, connection) => {
                assert_eq!(connection, Some("close"), "with {status}");
                End::Reject(status)
            }
        };
        if end != End::Reject(status) {
            responses.push(response.body);
        }
        let (rest, _) = conn.read_to_end();
        assert!(rest.is_empty(), "behind the end: {}", rest.escape_ascii());
        return Outcome { bodies: responses, end };
    }
}

/// Waits until the server has read so much, or reads no more. `before` connections were opened before this one.
fn wait_until_read(server: &Served, conn: &RawConn, before: u64, count: u64) {
    let address = Addr::Tcp(conn.local_addr());
    eventually("the server has read it", || {
        let was_opened = server.lives().counts().opened() > before;
        let lives = server.lives().snapshot();
        let life = lives.iter().find(|life| life.peer == address);
        life.map_or(was_opened, |life| life.bytes_in >= count || life.state == ConnState::Closing)
    });
}

/// Runs each case that does not wait for more, and lists those that came out otherwise.
fn check<'a>(workers: usize, cases: &'a [Case], run: impl Fn(&Served, &'a Case) -> Outcome) {
    let server = Served::with(workers, |server| server, mirror);
    let mut wrong = Vec::new();
    for case in cases.iter().filter(|case| case.expected.end != End::Wait) {
        let got = run(&server, case);
        if !is_same(&got, &case.expected) {
            wrong.push((&case.name, got, &case.expected));
        }
    }
    assert!(wrong.is_empty(), "(name, got, expected): {wrong:#?}");
}

/// Trailers over the limit are 431 where the server sees them first, and 413 where the handler does, which only learns
/// that a limit was passed.
fn is_same(got: &Outcome, expected: &Outcome) -> bool {
    let is_told_handler = (got.end, expected.end) == (End::Reject(413), End::Reject(431));
    got.bodies == expected.bodies && (got.end == expected.end || is_told_handler)
}

#[test]
fn requests_meet_their_verdict_whole() {
    for workers in [1, 2] {
        check(workers, &corpus::requests(), |server, case| outcome(server, case, [&case.bytes[..]], false));
    }
}

#[test]
fn requests_meet_their_verdict_byte_by_byte() {
    // Waiting for each byte of the long ones would only take long.
    check(2, &corpus::requests(), |server, case| {
        outcome(server, case, case.bytes.chunks(1), case.bytes.len() < 2_000)
    });
}

#[test]
fn requests_meet_their_verdict_at_random_splits() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..3 {
        let cases = corpus::requests();
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        check(1, &cases, |server, case| {
            let number = case.name.bytes().fold(seed, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
            let at = (number >> 33) as usize % case.bytes.len();
            let (before, behind) = case.bytes.split_at(at);
            outcome(server, case, [before, behind], true)
        });
    }
}

#[test]
fn unfinished_requests_are_waited_for() {
    let server = Served::start(mirror);
    for case in corpus::requests().iter().filter(|case| case.expected.end == End::Wait) {
        let before = server.lives().counts().opened();
        let mut conn = server.connect();
        conn.send(&case.bytes);
        wait_until_read(&server, &conn, before, case.bytes.len() as u64);
        assert!(conn.is_silent(), "{}", case.name);
        let (bytes, _) = conn.half_close().read_to_end();
        let statuses: Vec<_> =
            RawResponse::read_each(&bytes).iter().map(|response| response.status).collect();
        assert!(statuses.iter().all(|status| *status >= 400), "{}: {statuses:?}", case.name);
    }
}
