//! Never more connections than the limit, none too many below it, and callers served in the order they came.

mod world;

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use millstream_base::{Kind, Origin, Phase, Seen};
use millstream_client::ClientOptions;
use millstream_peers::{Count, Gate, RawConn, Scripted, eventually};
use world::{World, block_on, call, echo, ms, target};

/// So many callers at once on a limit, and a server that answers nobody before it has all connections it will get.
fn burst(callers: usize, max_open: usize) {
    millstream_peers::raise_open_files();
    let expected = callers.min(max_open) as u64;
    let server = Patient::start(expected);
    let mut options = ClientOptions::default();
    options.max_open = max_open;
    let (world, target) = (World::with_options(2, options), target(server.address));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let calls: Vec<_> = (0..callers)
            .map(|number| {
                let (client, target) = (world.client.clone(), target.clone());
                tokio::spawn(async move {
                    let line = number.to_string();
                    assert_eq!(call(&client, &target, &line).await.expect("served"), line);
                })
            })
            .collect();
        for call in calls {
            call.await.expect("served");
        }
    });
    let stats = world.client.pool_stats();
    assert_eq!((server.accepted.value(), stats.dialled, stats.idle as u64), (expected, expected, expected));
    assert_eq!((stats.lent, stats.reserved, stats.waiting), (0, 0, 0));
    assert_eq!(stats.reused, callers as u64 - expected);
}

/// Answers lines once so many connections are there; in one thread, which ends when all have left.
struct Patient {
    address: SocketAddr,
    accepted: Count,
}

impl Patient {
    fn start(expected: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        // std listens with a queue of 128: what comes on top would be sent again a second later.
        socket2::SockRef::from(&listener).listen(4096).expect("it is a listener");
        listener.set_nonblocking(true).expect("it is a socket");
        let accepted = Count::new();
        let count = accepted.clone();
        std::thread::spawn(move || block_on(serve(listener, expected, count)));
        Self { address, accepted }
    }
}

async fn serve(listener: TcpListener, expected: u64, accepted: Count) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
    let mut streams = Vec::new();
    while streams.len() < usize::try_from(expected).expect("few") {
        streams.push(listener.accept().await.expect("there are files enough").0);
        accepted.rise();
    }
    let tasks = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let (mut from, mut to) = stream.split();
            // The client resets what it leaves in the middle.
            let _ = tokio::io::copy(&mut from, &mut to).await;
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let surplus = async {
        while listener.accept().await.is_ok() {
            accepted.rise();
        }
    };
    tokio::select! {
        () = surplus => {}
        () = async { for task in tasks { task.await.expect("no panic"); } } => {}
    }
}

#[test]
fn burst_of_201_opens_16_connections() {
    burst(201, 16);
}

#[test]
fn burst_of_201_opens_200_connections() {
    burst(201, 200);
}

#[test]
fn burst_of_201_opens_201_connections_below_a_limit_of_1024() {
    burst(201, 1024);
}

#[test]
fn burst_of_2000_opens_16_connections() {
    burst(2000, 16);
}

#[test]
fn burst_of_2000_opens_200_connections() {
    burst(2000, 200);
}

#[test]
fn burst_of_2000_opens_1024_connections() {
    burst(2000, 1024);
}

#[test]
fn callers_are_served_in_the_order_they_came() {
    let go = Gate::new();
    let server = Scripted::always({
        let go = go.clone();
        move |number, conn: &mut RawConn| {
            go.wait();
            echo(number, conn);
        }
    });
    let mut options = ClientOptions::default();
    options.max_open = 1;
    let (world, target) = (World::with_options(1, options), target(server.address()));
    let served = Arc::new(Mutex::new(Vec::new()));
    block_on(async {
        let mut calls = Vec::new();
        for number in 0..100_usize {
            let (client, target, served) = (world.client.clone(), target.clone(), served.clone());
            calls.push(tokio::spawn(async move {
                call(&client, &target, "x").await.expect("served");
                served.lock().expect("no panic").push(number);
            }));
            // Each joins the queue before the next one is there.
            while world.client.pool_stats().waiting < number {
                tokio::task::yield_now().await;
            }
        }
        go.open();
        for call in calls {
            call.await.expect("served");
        }
    });
    let served = served.lock().expect("no panic").clone();
    assert_eq!(served, (0..100).collect::<Vec<_>>());
    assert_eq!(server.accepted().value(), 1);
}

#[test]
fn waiting_for_a_connection_has_an_end_of_its_own() {
    let (read, go) = (Gate::new(), Gate::new());
    let server = Scripted::always({
        let (read, go) = (read.clone(), go.clone());
        move |number, conn: &mut RawConn| {
            read.open();
            go.wait();
            echo(number, conn);
        }
    });
    let mut options = ClientOptions::default();
    (options.max_open, options.checkout_timeout) = (1, ms(50));
    let (world, target) = (World::with_options(1, options), target(server.address()));
    block_on(async {
        let (client, here) = (world.client.clone(), target.clone());
        let first = tokio::spawn(async move { call(&client, &here, "first").await });
        read.passed().await;
        let error = world.call(&target, "second").await.expect_err("the only connection is taken");
        assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(Phase::Checkout)));
        assert_eq!((error.seen(), error.origin()), (Seen::No, Origin::Local));
        assert!(error.is_retryable() && error.elapsed().is_some_and(|elapsed| elapsed >= ms(50)));
        assert_eq!(error.target(), Some(target.to_string().as_str()));
        go.open();
        assert_eq!(first.await.expect("no panic").expect("served"), "first");
        assert_eq!(world.call(&target, "third").await.expect("served"), "third");
    });
    assert_eq!(world.client.pool_stats().waiting, 0);
}

#[test]
fn too_many_waiters_are_told_at_once() {
    let (read, go) = (Gate::new(), Gate::new());
    let server = Scripted::always({
        let (read, go) = (read.clone(), go.clone());
        move |number, conn: &mut RawConn| {
            read.open();
            go.wait();
            echo(number, conn);
        }
    });
    let mut options = ClientOptions::default();
    (options.max_open, options.max_waiters) = (1, 2);
    let (world, target) = (World::with_options(1, options), target(server.address()));
    block_on(async {
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let (client, target) = (world.client.clone(), target.clone());
                tokio::spawn(async move { call(&client, &target, "x").await })
            })
            .collect();
        read.passed().await;
        let client = world.client.clone();
        tokio::task::spawn_blocking(move || {
            eventually("two wait", || client.pool_stats().waiting == 2);
        })
        .await
        .expect("they do");
        let error = world.call(&target, "y").await.expect_err("two wait already");
        assert_eq!((error.kind(), error.phase()), (Kind::Limit, Some(Phase::Checkout)), "{error}");
        go.open();
        for call in calls {
            call.await.expect("no panic").expect("served");
        }
    });
}
