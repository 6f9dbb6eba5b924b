//! What a server's connection can end for and a client's does not, each with a client that plays its part.
//!
//! A client that connects and closes without a word is `peer_close_header`: no cause is nearer.

use std::sync::{Arc, Mutex, PoisonError};

use millstream_http::server::HttpServer;
use millstream_http::{IntoResponse, Request, Response};
use millstream_peers::{End, Gate, RawConn, eventually};
use millstream_server::Shutdown;
use millstream_server::transport::{Cause, ClosedBy, Life, Side};

use super::serving::{SOON, Served, block_on};
use super::{Booked, Row};

pub(super) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const TWICE: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const GET_LARGE: &str = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const GET_PANIC: &str = "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const GET_NEVER: &str = "GET /never HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const POST_PART: &str = "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\npart";
pub(super) const PART: &str = "GET / HTT";
/// More than the kernel takes for a client that does not read.
pub(super) const LARGE: u64 = 32 << 20;

/// A server, the records of its connections in their order, and a client that holds on to its end.
pub(super) struct Scene {
    server: Served,
    lives: Arc<Mutex<Vec<Arc<Life>>>>,
    conns: Vec<RawConn>,
}

impl Scene {
    fn start(change: impl FnOnce(HttpServer) -> HttpServer) -> Self {
        let lives = Arc::<Mutex<Vec<Arc<Life>>>>::default();
        let keeps = lives.clone();
        let context = move |conn: &millstream_server::transport::Conn| {
            keeps.lock().unwrap_or_else(PoisonError::into_inner).push(conn.shared_life());
        };
        let server = Served::with(1, |server| change(server).with_context(context), answer);
        Self { server, lives, conns: Vec::new() }
    }

    /// One more client, which sends this.
    fn connect(&mut self, bytes: impl AsRef<[u8]>) -> &mut RawConn {
        self.conns.push(self.server.connect());
        let conn = self.conns.last_mut().expect("just pushed");
        conn.send(bytes);
        conn
    }

    /// Clients leave: a server that lingers waits for that.
    fn leave(mut self) -> Self {
        self.conns.clear();
        self
    }

    /// The first connection's end is as the row says, and it is counted once. Servers keep no account by target.
    #[track_caller]
    pub(super) fn check(self, row: &Row) {
        let lives = self.server.lives();
        eventually(&format!("an end by {}", row.cause), || lives.counts().ended() > 0);
        let first = self.lives.lock().unwrap_or_else(PoisonError::into_inner)[0].clone();
        let life = first.snapshot();
        row.check(&Booked {
            cause: life.cause.expect("it has ended"),
            by: life.closed_by.expect("it has ended"),
            opener: life.opener,
            messages: life.messages,
            bytes_in: life.bytes_in,
            bytes_out: life.bytes_out,
        });
        check_counts(&self.server, row);
    }
}

#[track_caller]
fn check_counts(server: &Served, row: &Row) {
    let lives = server.lives();
    let counts = lives.counts();
    let by_cause: u64 = Cause::ALL.iter().map(|cause| counts.ended_by_cause(*cause)).sum();
    assert_eq!((by_cause, counts.ended_by_cause(row.cause)), (counts.ended(), 1), "{}", row.cause);
    let each_by = ClosedBy::ALL.iter().map(|by| counts.ended_for(Side::Server, row.cause, *by));
    assert_eq!((each_by.sum::<u64>(), counts.ended_for(Side::Server, row.cause, row.by)), (1, 1));
    eventually("what was opened is open or has ended", || {
        let (opened, ended) = lives.counts().of_side(Side::Server);
        opened == lives.snapshot().len() as u64 + ended
    });
}

async fn answer(mut request: Request) -> Response {
    match request.path() {
        "/large" => Response::bytes(vec![b'x'; LARGE as usize]),
        "/panic" => panic!("as the test wants"),
        "/never" => std::future::pending().await,
        "/read" => match request.bytes().await {
            Ok(_) => Response::text("fine"),
            Err(error) => error.into_response(),
        },
        _ => Response::text("fine"),
    }
}

pub(super) fn enough_requests() -> Scene {
    let mut scene = Scene::start(|server| server.configure(|options| options.max_requests = 2));
    let conn = scene.connect(TWICE);
    assert_eq!(conn.read_response("GET").text(), "fine");
    assert_eq!(conn.read_response("GET").field("connection"), Some("close"));
    assert_eq!(conn.expect_end(), End::Fin);
    scene.leave()
}

pub(super) fn newcomer_needs_the_place() -> Scene {
    let mut scene = Scene::start(|server| server.with_max_connections(1));
    assert_eq!(scene.connect(GET).read_response("GET").text(), "fine");
    assert_eq!(scene.connect(GET).read_response("GET").text(), "fine");
    assert_eq!(scene.conns[0].expect_end(), End::Fin);
    scene
}

pub(super) fn closed_within_a_head() -> Scene {
    let mut scene = Scene::start(|server| server);
    assert_eq!(scene.connect(PART).half_close().expect_end(), End::Fin);
    scene
}

pub(super) fn closed_within_a_body() -> Scene {
    let mut scene = Scene::start(|server| server);
    let conn = scene.connect(POST_PART).half_close();
    assert_eq!(conn.read_response("POST").status, 400);
    assert_eq!(conn.expect_end(), End::Fin);
    scene
}

pub(super) fn body_not_in_time() -> Scene {
    let mut scene = Scene::start(|server| server.configure(|options| options.read_timeout = SOON));
    let conn = scene.connect(POST_PART);
    assert_eq!(conn.read_response("POST").status, 408);
    assert_eq!(conn.expect_end(), End::Fin);
    scene.leave()
}

pub(super) fn handler_panics() -> Scene {
    let mut scene = Scene::start(|server| server);
    let conn = scene.connect(GET_PANIC);
    assert_eq!(conn.read_response("GET").status, 500);
    assert_eq!(conn.expect_end(), End::Fin);
    scene.leave()
}

pub(super) fn engine_stops_at_once() -> Scene {
    let mut scene = Scene::start(|server| server);
    scene.connect(GET_NEVER);
    let lives = scene.server.lives();
    eventually("the handler is at work", || lives.snapshot().iter().any(|life| life.messages == 1));
    block_on(scene.server.engine.shutdown(Shutdown::Now));
    scene
}

/// The part of a head is there before the server looks: the limit is also that of the first byte, which a slow host would miss.
pub(super) fn head_not_in_time() -> Scene {
    let mut scene = Scene::start(|server| server.configure(|options| options.head_timeout = SOON));
    let (is_held, is_sent) = (Gate::new(), Gate::new());
    let hold = {
        let (is_held, is_sent) = (is_held.clone(), is_sent.clone());
        move || {
            is_held.open();
            is_sent.wait();
        }
    };
    scene.server.engine.workers()[0].run(hold).expect("the engine runs");
    is_held.wait();
    let conn = scene.connect(PART);
    is_sent.open();
    assert_eq!(conn.read_response("GET").status, 408);
    assert_eq!(conn.expect_end(), End::Fin);
    scene.leave()
}

/// The client holds on and reads nothing.
pub(super) fn reply_not_taken() -> Scene {
    let mut scene = Scene::start(|server| server.configure(|options| options.write_timeout = SOON));
    scene.connect(GET_LARGE);
    scene
}
