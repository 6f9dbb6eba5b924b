//! Clients that leave: before, in and after each part of a message, with a FIN or a reset.

mod serving;

use std::pin::Pin;

use millstream_http::{Body, Request, Response};
use millstream_peers::{Count, Gate, RawConn, eventually};
use millstream_server::transport::Cause;
use serving::{Held, Served, echo, get, post};

/// What a handler does with a request, and what is known of it outside.
#[derive(Clone, Default)]
struct Watch {
    held: Held,
    /// Rises with each poll of a handler that waits for nothing but `held`.
    polls: Count,
    /// Opens when a handler came to its end.
    finished: Gate,
}

impl Watch {
    /// Serves: `/hold` waits; `/read` reads the body, then waits; `/stream` answers with a stream that is silent behind its
    /// first piece; `/flood` with one that never ends; all else echoes.
    fn serve(&self, server: impl FnOnce(Box<dyn Fn(Request) -> Answer + Send + Sync>) -> Served) -> Served {
        let watch = self.clone();
        server(Box::new(move |request| Box::pin(watch.clone().answer(request))))
    }

    async fn answer(self, mut request: Request) -> Response {
        match request.path() {
            "/hold" => self.hold().await,
            "/read" => {
                let _dropped = self.held.dropped.on_drop();
                while let Some(Ok(_)) = request.body_mut().chunk().await {}
                self.hold().await;
            }
            "/stream" => return Response::bytes(self.stream(false)),
            "/flood" => return Response::bytes(self.stream(true)),
            _ => return millstream_http::IntoResponse::into_response(echo(request).await),
        }
        self.finished.open();
        Response::text("done")
    }

    async fn hold(&self) {
        let polls = self.polls.clone();
        let held = self.held.clone();
        let mut hold = Box::pin(async move { held.hold().await });
        std::future::poll_fn(move |cx| {
            polls.rise();
            Pin::new(&mut hold).poll(cx)
        })
        .await;
    }

    fn stream(&self, is_endless: bool) -> Body {
        let held = self.held.clone();
        let dropped = held.dropped.on_drop();
        let mut is_first = true;
        Body::from_fn(move || {
            let _owned = &dropped;
            held.entered.open();
            let waits = !is_endless && !std::mem::take(&mut is_first);
            let leaves = held.leaves.clone();
            async move {
                if waits {
                    leaves.passed().await;
                    return None;
                }
                Some(Ok("x".repeat(1000).into()))
            }
        })
    }
}

type Answer = Pin<Box<dyn Future<Output = Response>>>;

/// How a client leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Fin,
    Reset,
}

const BOTH: [Leave; 2] = [Leave::Fin, Leave::Reset];

fn leave(conn: RawConn, how: Leave) {
    match how {
        Leave::Fin => conn.close(),
        Leave::Reset => conn.reset(),
    }
}

/// All places are free again, and the server serves.
#[track_caller]
fn assert_well(server: &Served) {
    eventually("the connection is gone", || server.running.open_connections() == 0);
    assert_eq!(server.engine.workers()[0].load(), 0);
    let mut conn = server.connect();
    conn.send(post("/", "well"));
    assert_eq!(conn.read_response("POST").text(), "well");
    conn.close();
    eventually("the connection is gone", || server.running.open_connections() == 0);
}

#[test]
fn client_that_leaves_outside_a_handler_leaves_nothing_behind() {
    let whole = [&get("/")[..], "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"].concat();
    let server = Watch::default().serve(Served::start);
    for how in BOTH {
        for count in (0..whole.len()).step_by(5).chain([whole.len()]) {
            let mut conn = server.connect();
            conn.send(&whole.as_bytes()[..count]);
            leave(conn, how);
        }
    }
    assert_well(&server);
}

#[test]
fn handler_is_dropped_when_its_client_leaves() {
    for how in BOTH {
        let watch = Watch::default();
        let server = watch.serve(Served::start);
        let mut conn = server.connect();
        conn.send(get("/hold"));
        watch.held.entered.wait();
        leave(conn, how);
        watch.held.dropped.wait();
        assert!(!watch.finished.is_open());
        server.wait_for_cause(Cause::Cancelled, 1);
        assert_eq!(server.metric("millstream_http_abandoned"), 1);
        assert_well(&server);
    }
}

#[test]
fn handler_that_may_finish_is_not_dropped() {
    for how in BOTH {
        let watch = Watch::default();
        let server =
            watch.serve(|handler| Served::configured(|options| options.finish_abandoned = true, handler));
        let mut conn = server.connect();
        conn.send(get("/hold"));
        watch.held.entered.wait();
        leave(conn, how);
        // As long as it would have been given otherwise: 500 ms, and more.
        let start = std::time::Instant::now();
        eventually("time passes", || start.elapsed().as_millis() > 700);
        assert!(!watch.held.dropped.is_open());
        watch.held.leaves.open();
        watch.finished.wait();
        assert_eq!(server.metric("millstream_http_abandoned"), 0);
        assert_well(&server);
    }
}

#[test]
fn client_that_closes_its_side_is_answered_by_a_handler_that_ends_soon() {
    let watch = Watch::default();
    let server = watch.serve(Served::start);
    let mut conn = server.connect();
    conn.send(get("/hold")).half_close();
    watch.held.entered.wait();
    watch.held.leaves.open();
    assert_eq!(conn.read_response("GET").text(), "done");
    conn.expect_end();
    assert_eq!(server.metric("millstream_http_abandoned"), 0);
}

#[test]
fn client_that_closes_its_side_gets_a_stream_to_its_end() {
    let server = Served::start(async |_| {
        let mut left = 2000;
        Response::bytes(Body::from_fn(move || {
            left -= 1;
            let piece = (left >= 0).then(|| Ok("x".repeat(10_000).into()));
            async move {
                tokio::task::yield_now().await;
                piece
            }
        }))
    });
    let mut conn = server.connect();
    conn.send(get("/")).half_close();
    assert_eq!(conn.read_response("GET").body.len(), 20_000_000);
}

#[test]
fn handler_is_dropped_when_its_client_leaves_behind_a_body_it_did_not_read() {
    for how in BOTH {
        let watch = Watch::default();
        let server = watch.serve(Served::start);
        let mut conn = server.connect();
        conn.send("POST /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
        watch.held.entered.wait();
        leave(conn, how);
        watch.held.dropped.wait();
        assert_well(&server);
    }
}

#[test]
fn handler_is_told_when_its_client_leaves_within_the_body_and_dropped_if_it_goes_on() {
    for how in BOTH {
        let watch = Watch::default();
        let server = watch.serve(Served::start);
        let mut conn = server.connect();
        conn.send("POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
        eventually("the handler runs", || {
            server.lives().snapshot().first().is_some_and(|life| life.bytes_in > 50)
        });
        leave(conn, how);
        if how == Leave::Fin {
            // It was told by an error: it goes on behind the loop that reads.
            watch.held.entered.wait();
        }
        watch.held.dropped.wait();
        // Nobody polls it in vain meanwhile.
        assert!(watch.polls.value() < 10, "{} polls", watch.polls.value());
        assert_well(&server);
    }
}

#[test]
fn handler_of_a_request_behind_another_is_dropped_as_well() {
    for how in BOTH {
        let watch = Watch::default();
        let server = watch.serve(Served::start);
        let mut conn = server.connect();
        conn.send(get("/") + &get("/hold") + &get("/behind"));
        assert_eq!(conn.read_response("GET").status, 200);
        watch.held.entered.wait();
        leave(conn, how);
        watch.held.dropped.wait();
        assert_well(&server);
    }
}

#[test]
fn handler_is_dropped_when_more_requests_come_before_its_client_leaves() {
    for how in BOTH {
        let watch = Watch::default();
        let server = watch.serve(Served::start);
        let mut conn = server.connect();
        conn.send(get("/hold"));
        watch.held.entered.wait();
        conn.send(get("/later"));
        leave(conn, how);
        watch.held.dropped.wait();
        assert_well(&server);
    }
}

#[test]
fn stream_is_dropped_when_its_client_leaves() {
    for path in ["/stream", "/flood"] {
        for how in BOTH {
            let watch = Watch::default();
            let server = watch.serve(Served::start);
            let mut conn = server.connect();
            conn.send(get(path));
            conn.read_until(b"x");
            leave(conn, how);
            watch.held.dropped.wait();
            assert_well(&server);
        }
    }
}

#[test]
fn client_that_leaves_within_a_reply_ends_it() {
    for how in BOTH {
        let server = Served::start(async |_| Response::bytes(vec![b'x'; 32 << 20]));
        let mut conn = server.connect();
        conn.send(get("/"));
        conn.read_exact(100_000);
        leave(conn, how);
        server.wait_for_cause(Cause::ResetInRequest, 1);
        eventually("the connection is gone", || server.running.open_connections() == 0);
    }
}

#[test]
fn client_that_leaves_while_idle_is_booked_so() {
    let server = Served::start(echo);
    for (how, cause) in [(Leave::Fin, Cause::IdleTimeoutPeer), (Leave::Reset, Cause::ResetIdle)] {
        let mut conn = server.connect();
        conn.send(post("/", "x"));
        conn.read_response("POST");
        leave(conn, how);
        server.wait_for_cause(cause, 1);
    }
}

#[test]
fn hundred_clients_that_leave_at_once_leave_no_handler_behind() {
    let dropped = Count::new();
    let entered = Count::new();
    let server = Served::with(2, |server| server, {
        let (entered, dropped) = (entered.clone(), dropped.clone());
        move |_: Request| {
            let (entered, dropped) = (entered.clone(), dropped.on_drop());
            async move {
                entered.rise();
                std::future::pending::<()>().await;
                drop(dropped);
            }
        }
    });
    let conns: Vec<_> = (0..100)
        .map(|_| {
            let mut conn = server.connect();
            conn.send(get("/"));
            conn
        })
        .collect();
    entered.wait_for(100);
    for (number, conn) in conns.into_iter().enumerate() {
        leave(conn, BOTH[number % 2]);
    }
    dropped.wait_for(100);
    eventually("all are gone", || server.running.open_connections() == 0);
}
