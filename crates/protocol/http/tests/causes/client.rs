//! What a client's connection can end for, each with a server that plays its part.
//!
//! Where a server stays until the client has gone, the client closes first; where its FIN has come before, the server did,
//! whether anybody has read it or not.

use millstream_base::{Kind, Result};
use millstream_client::transport::tls::TlsClient;
use millstream_client::transport::{Account, Cause};
use millstream_http::HttpClientOptions;
use millstream_http::client::{Proxies, Proxy, RequestBuilder};
use millstream_peers::certs::Authority;
use millstream_peers::scripted::{Script, boxed, resetting};
use millstream_peers::{Gate, PATIENCE, RawConn, Scripted, eventually};
use millstream_server::Shutdown;
use millstream_server::transport::tls::Pem;

use super::client_world::{World, block_on, ms, serve, url};
use super::{Booked, Row};

pub(super) const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";
pub(super) const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast";
const LAST_BODY: &str = "last";
pub(super) const ENOUGH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nKeep-Alive: max=0\r\n\r\nlast";
/// More is missing than a connection is worth.
pub(super) const PART: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\npart";
pub(super) const NONSENSE: &str = "220 mail.example ESMTP\r\n";
pub(super) const TWICE: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfineHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
pub(super) const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
pub(super) const REFUSED: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";

/// A client that has called a server of its own, once or twice.
pub(super) struct Scene {
    world: World, // first: scripts end when their clients have gone
    server: Scripted,
}

impl Scene {
    /// Sets up the client, lets each connection run its script, and calls the server at the URL.
    fn play(
        change: impl FnOnce(&mut HttpClientOptions),
        scripts: Vec<Script>,
        call: impl AsyncFnOnce(&World, &str),
    ) -> Self {
        let server = Scripted::serve_boxed(scripts);
        let world = World::with(change);
        block_on(call(&world, &url(server.address(), "/")));
        Self { world, server }
    }

    /// The first connection's end is as the row says, it is booked once, and the account balances.
    #[track_caller]
    pub(super) fn check(self, row: &Row) {
        let account = self.world.lives.find_account(&self.server.address().to_string());
        let account = account.unwrap_or_else(|| panic!("{}: nothing was opened", row.cause));
        eventually(&format!("an end by {}", row.cause), || !account.records().is_empty());
        let records = account.records();
        let first = &records[0];
        row.check(&Booked {
            cause: first.cause,
            by: first.closed_by,
            opener: first.opener,
            messages: first.messages,
            bytes_in: first.bytes_in,
            bytes_out: first.bytes_out,
        });
        assert_eq!(records.len(), 1, "{}: only one connection ends", row.cause);
        check_account(&account, row.cause);
        eventually("the table says the same", || self.world.ended(row.cause) == 1);
    }
}

/// Nothing moves any more: what was opened is open or has ended, and each end has one cause.
#[track_caller]
fn check_account(account: &Account, cause: Cause) {
    let (snapshot, live) = (account.snapshot(), account.live());
    let counts = &snapshot.counts;
    assert_eq!(counts.opened(), live.len() as u64 + counts.ended(), "{cause}");
    let by_cause: u64 = Cause::ALL.iter().map(|cause| counts.ended_by_cause(*cause)).sum();
    assert_eq!((by_cause, counts.ended_by_cause(cause)), (counts.ended(), 1), "{cause}");
    let ended: u64 = account.records().iter().map(|record| record.messages).sum();
    let open: u64 = live.iter().map(|life| life.messages).sum();
    assert_eq!(snapshot.requests, ended + open, "{cause}");
}

async fn text(request: RequestBuilder) -> Result<String> {
    request.send().await?.text().await
}

/// One request, answered with a body of four letters.
async fn get(world: &World, url: &str) {
    let text = text(world.client.get(url)).await.expect("answered");
    assert_eq!(text.len(), 4, "{text}");
}

/// Answers each request, until the client leaves.
fn answers() -> Script {
    boxed(|conn| serve(conn, |_| FINE.to_owned()))
}

/// Answers one request with this, and waits for the client to leave.
fn says_and_waits(reply: &'static str) -> Script {
    boxed(move |conn| {
        conn.read_request();
        conn.send(reply).read_to_end();
    })
}

pub(super) fn idle_for_too_long() -> Scene {
    Scene::play(|options| options.client.idle_timeout = ms(50), vec![answers()], get)
}

/// Answers a request; when the gate opens the script is over.
fn answers_until(gate: &Gate) -> impl FnOnce(&mut RawConn) + Send + 'static {
    let gate = gate.clone();
    move |conn| {
        conn.read_request();
        conn.send(FINE);
        gate.wait();
    }
}

/// Calls once; opens the gate when the connection is idle.
async fn get_and_open(world: &World, url: &str, gate: &Gate) {
    get(world, url).await;
    eventually("it is idle", || world.client.pool_stats().idle == 1);
    gate.open();
}

pub(super) fn closed_while_idle() -> Scene {
    let go = Gate::new();
    let script = boxed(answers_until(&go));
    Scene::play(|_| {}, vec![script], async |world: &World, url: &str| get_and_open(world, url, &go).await)
}

pub(super) fn reset_while_idle() -> Scene {
    let go = Gate::new();
    let script = resetting(answers_until(&go));
    Scene::play(|_| {}, vec![script], async |world: &World, url: &str| get_and_open(world, url, &go).await)
}

/// A server that says goodbye. The body comes when the client has the head, and the FIN before the client reads on: however
/// slow the host is, it has come when the client looks for it.
#[derive(Clone, Default)]
struct Farewell {
    has_head: Gate,
    is_closed: Gate,
}

impl Farewell {
    /// `says` is the request's own Connection field.
    fn script(&self, says: Option<&'static str>) -> Script {
        let Self { has_head, is_closed } = self.clone();
        Box::new(move |mut conn| {
            assert_eq!(conn.read_request().fields.get("connection"), says);
            conn.send(LAST.strip_suffix(LAST_BODY).expect("it ends so"));
            has_head.wait();
            conn.send(LAST_BODY).half_close();
            is_closed.open();
            conn.read_to_end();
        })
    }

    async fn call(&self, request: RequestBuilder) {
        let reply = request.send().await.expect("a head");
        self.has_head.open();
        self.is_closed.wait();
        assert_eq!(reply.text().await.expect("a body"), LAST_BODY);
    }
}

pub(super) fn server_says_close() -> Scene {
    let farewell = Farewell::default();
    Scene::play(
        |_| {},
        vec![farewell.script(None)],
        async |world: &World, url: &str| {
            farewell.call(world.client.get(url)).await;
        },
    )
}

pub(super) fn caller_says_close() -> Scene {
    let farewell = Farewell::default();
    Scene::play(
        |_| {},
        vec![farewell.script(Some("close"))],
        async |world: &World, url: &str| {
            farewell.call(world.client.get(url).header("connection", "close")).await;
        },
    )
}

pub(super) fn server_takes_no_more() -> Scene {
    let has_end = boxed(|conn| {
        conn.read_request();
        conn.send(ENOUGH).half_close().read_to_end();
    });
    Scene::play(|_| {}, vec![has_end], get)
}

pub(super) fn lifetime_is_over() -> Scene {
    let farewell = Farewell::default();
    let change = |options: &mut HttpClientOptions| options.client.lifetime = ms(0);
    Scene::play(change, vec![farewell.script(Some("close"))], async |world: &World, url: &str| {
        farewell.call(world.client.get(url)).await;
    })
}

pub(super) fn reply_dropped_unread() -> Scene {
    Scene::play(
        |_| {},
        vec![says_and_waits(PART)],
        async |world: &World, url: &str| {
            drop(world.client.get(url).send().await.expect("a head"));
        },
    )
}

/// The server's end lies behind bytes that the client has not read, and never will.
pub(super) fn reply_dropped_behind_its_end() -> Scene {
    let is_closed = Gate::new();
    let closes = is_closed.clone();
    let script = boxed(move |conn| {
        conn.read_request();
        conn.send(PART).half_close();
        closes.open();
        conn.read_to_end();
    });
    Scene::play(
        |_| {},
        vec![script],
        async |world: &World, url: &str| {
            let reply = world.client.get(url).send().await.expect("a head");
            is_closed.wait();
            drop(reply);
        },
    )
}

pub(super) fn closed_within_a_head() -> Scene {
    let script = boxed(|conn| {
        conn.read_request();
        conn.send("HTTP/1.1 200").half_close().read_to_end();
    });
    Scene::play(
        |_| {},
        vec![script],
        async |world: &World, url: &str| {
            let error = text(world.client.get(url)).await.expect_err("no whole head");
            assert_eq!(error.kind(), Kind::Closed, "{error}");
        },
    )
}

pub(super) fn closed_within_a_body() -> Scene {
    let script = boxed(|conn| {
        conn.read_request();
        conn.send(PART).half_close().read_to_end();
    });
    Scene::play(
        |_| {},
        vec![script],
        async |world: &World, url: &str| {
            let error = text(world.client.get(url)).await.expect_err("no whole body");
            assert_eq!(error.kind(), Kind::Closed, "{error}");
        },
    )
}

pub(super) fn nonsense_for_a_reply() -> Scene {
    Scene::play(
        |_| {},
        vec![says_and_waits(NONSENSE)],
        async |world: &World, url: &str| {
            let error = text(world.client.get(url)).await.expect_err("no HTTP");
            assert_eq!(error.kind(), Kind::Protocol, "{error}");
        },
    )
}

pub(super) fn second_reply_unasked() -> Scene {
    Scene::play(|_| {}, vec![says_and_waits(TWICE)], get)
}

/// The keep-alive race: the second request meets a connection that is being closed, and is sent again on a fresh one.
pub(super) fn closed_on_second_request() -> Scene {
    let closes = boxed(|conn| {
        conn.read_request();
        conn.send(FINE).read_request();
    });
    let scene = Scene::play(
        |_| {},
        vec![closes, answers()],
        async |world: &World, url: &str| {
            get(world, url).await;
            get(world, url).await;
        },
    );
    assert_eq!(scene.world.retried(), 1);
    scene
}

pub(super) fn reset_for_a_reply() -> Scene {
    let script = resetting(|conn| drop(conn.read_request()));
    Scene::play(
        |_| {},
        vec![script],
        async |world: &World, url: &str| {
            let error = text(world.client.get(url)).await.expect_err("no reply");
            assert_eq!(error.kind(), Kind::Reset, "{error}");
        },
    )
}

pub(super) fn silence_for_a_reply() -> Scene {
    let change = |options: &mut HttpClientOptions| options.http.first_byte_timeout = ms(50);
    Scene::play(change, vec![says_and_waits("")], async |world: &World, url: &str| {
        let error = text(world.client.get(url)).await.expect_err("no reply");
        assert_eq!(error.kind(), Kind::Timeout, "{error}");
    })
}

/// More than the kernel takes for a server that does not read.
pub(super) const LARGE: u64 = 32 << 20;

pub(super) fn request_not_taken() -> Scene {
    let is_over = Gate::new();
    let waits = is_over.clone();
    let change = |options: &mut HttpClientOptions| options.http.first_byte_timeout = ms(50);
    Scene::play(change, vec![boxed(move |_| waits.wait())], async |world: &World, url: &str| {
        let call = world.client.post(url).body(vec![b'x'; LARGE as usize]);
        let error = text(call).await.expect_err("nobody reads it");
        assert_eq!(error.kind(), Kind::Timeout, "{error}");
        is_over.open();
    })
}

pub(super) fn deadline_of_a_call() -> Scene {
    Scene::play(
        |_| {},
        vec![says_and_waits("")],
        async |world: &World, url: &str| {
            let error = text(world.client.get(url).timeout(ms(50))).await.expect_err("no reply");
            assert_eq!(error.kind(), Kind::Timeout, "{error}");
        },
    )
}

pub(super) fn deadline_within_a_body() -> Scene {
    Scene::play(
        |_| {},
        vec![says_and_waits(PART)],
        async |world: &World, url: &str| {
            let error = text(world.client.get(url).total_timeout(ms(50))).await.expect_err("no whole body");
            assert_eq!(error.kind(), Kind::Timeout, "{error}");
        },
    )
}

pub(super) fn call_dropped() -> Scene {
    let read = Gate::new();
    let is_read = read.clone();
    let script = boxed(move |conn| {
        conn.read_request();
        is_read.open();
        conn.read_to_end();
    });
    Scene::play(
        |_| {},
        vec![script],
        async |world: &World, url: &str| {
            tokio::select! {
                reply = world.client.get(url).send() => panic!("nobody answers: {reply:?}"),
                () = read.passed() => {}
            }
        },
    )
}

/// Trusts nobody that a test could know.
fn tls(options: &mut HttpClientOptions) {
    let tls = TlsClient::builder().with_roots(Pem::text(Authority::new().root())).without_system_roots();
    options.tls = Some(tls.build().expect("settings"));
}

pub(super) fn plain_server_behind_https() -> Scene {
    let script = boxed(|conn| {
        conn.read_some();
        conn.send(REFUSED).read_to_end();
    });
    Scene::play(tls, vec![script], async |world: &World, url: &str| {
        let url = url.replacen("http:", "https:", 1);
        let error = text(world.client.get(url)).await.expect_err("no TLS");
        assert_eq!(error.kind(), Kind::Tls, "{error}");
    })
}

pub(super) fn engine_stops() -> Scene {
    Scene::play(
        |_| {},
        vec![answers()],
        async |world: &World, url: &str| {
            get(world, url).await;
            assert!(world.engine.shutdown(Shutdown::Graceful(PATIENCE)).await, "nothing is under way");
        },
    )
}

pub(super) fn upgrade() -> Scene {
    Scene::play(
        |_| {},
        vec![says_and_waits(SWITCHED)],
        async |world: &World, url: &str| {
            let reply = world.client.get(url).upgrade("echo").send().await.expect("a reply");
            drop(reply.into_upgraded().expect("switched"));
        },
    )
}

/// The server is a proxy, and the account is the proxy's. No cause says that a proxy refused.
pub(super) fn tunnel_refused() -> Scene {
    let script = boxed(|conn| {
        conn.read_until(b"\r\n\r\n");
        conn.send(REFUSED).read_to_end();
    });
    let server = Scripted::serve_boxed(vec![script]);
    let proxy = Proxy::all(&format!("http://{}", server.address())).expect("a proxy");
    let world = World::with(|options| {
        tls(options);
        options.proxies = Proxies::These(vec![proxy]);
    });
    let error = block_on(text(world.client.get("https://origin.test/"))).expect_err("no tunnel");
    assert_eq!(error.kind(), Kind::Connect, "{error}");
    Scene { world, server }
}
