//! Each phase of a call has its end, within the call's own; and the error says which phase it was.

mod world;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind, Origin, Phase, Result, Seen};
use millstream_client::transport::tls::TlsClient;
use millstream_client::transport::{Cause, LifeTable};
use millstream_client::upstream::{Resolve, Resolved};
use millstream_client::{Call, Client, ClientOptions, Engine, Simple, Target};
use millstream_peers::{RawConn, Scripted};
use world::{Lines, World, block_on, ms, target};

/// Knows one name; answers others never.
struct Table(&'static str);

impl Resolve for Table {
    fn resolve<'a>(&'a self, host: &'a str) -> Pin<Box<dyn Future<Output = Result<Resolved>> + Send + 'a>> {
        Box::pin(async move {
            if host == self.0 {
                return Ok(Resolved::new([[127, 0, 0, 1].into()], Duration::from_secs(1)));
            }
            if host == "unknown" {
                return Err(Error::new(Kind::Resolve, Origin::Network, "name not resolved"));
            }
            std::future::pending().await
        })
    }
}

struct Expected {
    phase: Phase,
    kind: Kind,
    seen: Seen,
}

/// The error of a call that may take 60 ms.
fn error_of(target: &Target, options: ClientOptions) -> Error {
    let engine = Engine::builder().workers(1).build().expect("threads can be started");
    let lives = LifeTable::new(engine.id(), 1);
    let protocol = Simple::new("lines", Lines);
    let client = Client::with_resolver(&engine, lives, protocol, options, Arc::new(Table("known")));
    let begun = Instant::now();
    let error = block_on(client.call(target, "x".to_owned(), Call::new().with_timeout(ms(60))));
    let error = error.expect_err("it can't be answered");
    assert!(begun.elapsed() < ms(2_000), "{error} came after {:?}", begun.elapsed());
    assert!(error.elapsed().is_some_and(|elapsed| elapsed <= begun.elapsed()), "{error}");
    assert_eq!(error.target(), Some(target.to_string().as_str()));
    error
}

fn check(target: &Target, expected: &Expected) {
    let error = error_of(target, ClientOptions::default());
    let got = (error.phase(), error.kind(), error.seen());
    assert_eq!(got, (Some(expected.phase), expected.kind, expected.seen), "{error}");
}

fn timeout(phase: Phase, seen: Seen) -> Expected {
    Expected { phase, kind: Kind::Timeout, seen }
}

#[test]
fn name_that_nobody_knows() {
    let expected = Expected { phase: Phase::Resolve, kind: Kind::Resolve, seen: Seen::No };
    check(&Target::host("unknown", 1), &expected);
}

#[test]
fn resolver_that_never_answers() {
    check(&Target::host("slow", 1), &timeout(Phase::Resolve, Seen::No));
}

#[test]
fn port_where_nobody_listens() {
    let (listener, address) = Scripted::never();
    drop(listener);
    let expected = Expected { phase: Phase::Connect, kind: Kind::Connect, seen: Seen::No };
    check(&Target::host("known", address.port()), &expected);
}

#[test]
fn listener_whose_queue_is_full() {
    let (listener, address) = Scripted::never();
    socket2::SockRef::from(&listener).listen(0).expect("it is a listener");
    let fillers: Vec<_> = (0..4).map(|_| std::net::TcpStream::connect_timeout(&address, ms(50))).collect();
    check(&target(address), &timeout(Phase::Connect, Seen::No));
    drop(fillers);
}

#[test]
fn peer_that_is_silent_in_the_tls_handshake() {
    let (_listener, address) = Scripted::never();
    let tls = TlsClient::builder().without_system_roots().danger_accept_invalid_certificates();
    let target = target(address).with_tls(tls.build().expect("settings"), "localhost");
    check(&target, &timeout(Phase::Tls, Seen::No));
}

#[test]
fn peer_that_takes_the_request_and_never_answers() {
    let (_listener, address) = Scripted::never();
    check(&target(address), &timeout(Phase::FirstByte, Seen::Maybe));
}

#[test]
fn reply_that_is_never_whole() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_until(b"\n");
        conn.send("no end");
        conn.read_to_end();
    }]);
    check(&target(server.address()), &timeout(Phase::FirstByte, Seen::Yes));
}

#[test]
fn limit_of_a_phase_counts_below_a_longer_deadline() {
    let (_listener, address) = Scripted::never();
    let protocol = Simple::new("lines", Lines).with_reply_timeout(ms(40));
    let world = World::with(1, ClientOptions::default(), protocol);
    let error = block_on(world.call(&target(address), "x")).expect_err("nobody answers");
    assert_eq!((error.phase(), error.kind()), (Some(Phase::FirstByte), Kind::Timeout));
    assert!(error.to_string().contains("40ms"), "{error}");
    assert_eq!(world.ended(Cause::TimeoutRead), 1);
}

#[test]
fn reply_cut_off_was_seen() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_until(b"\n");
        conn.send("cut o");
    }]);
    check(&target(server.address()), &Expected { phase: Phase::Read, kind: Kind::Closed, seen: Seen::Yes });
}

#[test]
fn request_that_can_not_be_said_leaves_its_connection_in_stock() {
    let server = Scripted::always(world::echo);
    let (world, target) = (World::new(), target(server.address()));
    block_on(async {
        let error = world.call(&target, "two\nlines").await.expect_err("no line");
        assert_eq!((error.kind(), error.seen()), (Kind::Invalid, Seen::No));
        world.call(&target, "one").await.expect("served");
    });
    assert_eq!(server.accepted().value(), 1);
}
