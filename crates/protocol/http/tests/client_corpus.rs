//! The smuggling corpus against a running client: the bytes of each case as a server's whole answer.

mod client_world;
mod corpus;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use client_world::{World, block_on, url};
use corpus::{Case, End, Outcome};
use millstream_base::{Kind, Result, Seen};
use millstream_http::HttpClient;
use millstream_peers::{PATIENCE, RawConn, Scripted};

/// What a client saw.
#[derive(Debug)]
struct Answer {
    body: Result<Vec<u8>>,
    is_upgrade: bool,
}

async fn fetch(client: &HttpClient, case: &Case, address: &str) -> Answer {
    let mut request = client.request(case.method.clone(), address);
    if case.expected.end == End::Upgrade {
        request = request.upgrade("anything");
    }
    let reply = match request.send().await {
        Ok(reply) => reply,
        Err(error) => return Answer { body: Err(error), is_upgrade: false },
    };
    // Framing is what counts here, and a redirect's Location must lead nowhere.
    if reply.status().as_u16() == 101 || case.method == http::Method::CONNECT && reply.status().is_success() {
        let is_upgrade = reply.into_upgraded().is_ok();
        return Answer { body: Ok(Vec::new()), is_upgrade };
    }
    Answer { body: reply.bytes().await.map(|bytes| bytes.to_vec()), is_upgrade: false }
}

/// Runs all cases over one server, each on a connection of its own, and gives what the client saw.
fn run(pieces: fn(&[u8]) -> Vec<&[u8]>) -> HashMap<String, (Answer, usize)> {
    let cases = Arc::new(corpus::responses());
    let shared = cases.clone();
    let server = Scripted::always(move |number, conn: &mut RawConn| {
        conn.read_until(b"\r\n\r\n");
        let case = &shared[usize::try_from(number).expect("few")];
        for piece in pieces(&case.bytes) {
            // The client may have seen enough.
            if conn.try_send(piece).is_err() {
                break;
            }
        }
        conn.try_half_close();
        let _ = conn.try_read_some();
    });
    let world = World::with(|options| (options.decompresses, options.max_redirects) = (false, 0));
    block_on(async {
        let mut seen = HashMap::new();
        for case in cases.iter() {
            let outcome = fetch(&world.client, case, &url(server.address(), "/")).await;
            world.client.close_idle();
            // A connection that its server is about to close waits for that.
            let begun = Instant::now();
            while world.client.pool_stats().lent > 0 && begun.elapsed() < PATIENCE {
                tokio::task::yield_now().await;
            }
            seen.insert(case.name.clone(), (outcome, world.client.pool_stats().lent));
        }
        seen
    })
}

/// Is this what must become of a client's one call?
fn is_right(expected: &Outcome, seen: &Answer) -> bool {
    let first = expected.bodies.first();
    match (&expected.end, first) {
        (End::Upgrade, _) => seen.is_upgrade,
        // A whole message stands in front of whatever comes then.
        (_, Some(first)) => seen.body.as_ref().is_ok_and(|body| body == first),
        (End::Reject(_), None) => seen.body.as_ref().is_err_and(|error| {
            matches!(error.kind(), Kind::Protocol | Kind::Limit) && error.seen() == Seen::Yes
        }),
        (End::Wait | End::Open, None) => seen.body.as_ref().is_err_and(|error| error.kind() == Kind::Closed),
        (End::Close | End::UntilClose, None) => false,
    }
}

fn check(pieces: fn(&[u8]) -> Vec<&[u8]>) {
    let seen = run(pieces);
    let cases = corpus::responses();
    let wrong: Vec<_> = cases
        .iter()
        .map(|case| (case, &seen[&case.name]))
        .filter(|(case, (seen, lent))| !is_right(&case.expected, seen) || *lent > 0)
        .map(|(case, (seen, lent))| {
            format!("{}: expected {:?}, saw {seen:?}, lent {lent}", case.name, case.expected)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn cases_meet_their_verdict_whole() {
    check(|bytes| vec![bytes]);
}

#[test]
fn cases_meet_their_verdict_in_small_pieces() {
    check(|bytes| if bytes.len() < 2_000 { bytes.chunks(1).collect() } else { bytes.chunks(997).collect() });
}
