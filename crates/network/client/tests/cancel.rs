//! Calls that are dropped, and engines that stop.

mod world;

use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Waker};

use millstream_base::Kind;
use millstream_client::transport::{Cause, Opener};
use millstream_client::{Call, Client, ClientOptions, Simple};
use millstream_peers::{Gate, RawConn, Scripted, eventually};
use world::{Lines, World, block_on, echo, target};

#[test]
fn future_of_a_call_is_send() {
    fn is_send<T: Send>(_: &T) {}
    let world = World::new();
    let target = millstream_client::Target::host("localhost", 1);
    is_send(&world.client.call(&target, String::new(), Call::new()));
    fn is_sync<T: Send + Sync>() {}
    is_sync::<Client<Simple<Lines, String>>>();
}

/// A call whose caller leaves before anything is dialled: the worker is held until it has left.
fn leave_before_the_dial(world: &World, server: SocketAddr) {
    let (is_held, release) = (Gate::new(), Gate::new());
    let (held, released) = (is_held.clone(), release.clone());
    let job = move || {
        held.open();
        released.wait();
    };
    world.engine.workers()[0].run(job).expect("the engine runs");
    is_held.wait();
    {
        let target = target(server);
        let mut call = pin!(world.call(&target, "dropped"));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    release.open();
}

#[test]
fn connection_whose_caller_left_while_it_was_dialled_goes_to_stock_and_is_watched() {
    let go = Gate::new();
    let server = Scripted::serve([{
        let go = go.clone();
        move |conn: &mut RawConn| {
            let line = conn.read_until(b"\n");
            conn.send(line);
            go.wait();
        }
    }]);
    let world = World::with_options(1, ClientOptions::default());
    leave_before_the_dial(&world, server.address());
    eventually("it lies in stock", || world.client.pool_stats().idle == 1);
    let target = target(server.address());
    assert_eq!(block_on(world.call(&target, "next")).expect("served"), "next");
    assert_eq!((server.accepted().value(), world.client.pool_stats().dialled), (1, 1));
    go.open();
    eventually("its end is noticed", || world.ended(Cause::IdleTimeoutPeer) == 1);
    server.finish();
}

#[test]
fn watch_of_a_parcel_nobody_took_sees_the_end_too() {
    let go = Gate::new();
    let server = Scripted::serve([{
        let go = go.clone();
        move |_: &mut RawConn| go.wait()
    }]);
    let world = World::with_options(1, ClientOptions::default());
    leave_before_the_dial(&world, server.address());
    eventually("it lies in stock", || world.client.pool_stats().idle == 1);
    go.open();
    eventually("its end is noticed", || world.client.pool_stats().open == 0);
    server.finish();
}

#[test]
fn dropped_call_closes_its_connection_and_frees_its_place() {
    let (read, ended) = (Gate::new(), Gate::new());
    let server = Scripted::serve([{
        let (read, ended) = (read.clone(), ended.clone());
        move |conn: &mut RawConn| {
            conn.read_until(b"\n");
            read.open();
            conn.read_to_end();
            ended.open();
        }
    }]);
    let mut options = ClientOptions::default();
    options.max_open = 1;
    let (world, target) = (World::with_options(1, options), target(server.address()));
    block_on(async {
        tokio::select! {
            reply = world.call(&target, "one") => panic!("nobody answers: {reply:?}"),
            () = read.passed() => {}
        }
    });
    ended.wait();
    eventually("the record ends", || world.ended(Cause::Cancelled) == 1);
    eventually("the place is free", || world.client.pool_stats().reserved == 0);
    assert_eq!(world.client.pool_stats().open, 0);
    server.finish();
}

#[test]
fn failed_dial_frees_its_place_for_the_next_in_line() {
    let (listener, address) = Scripted::never();
    drop(listener);
    let mut options = ClientOptions::default();
    options.max_open = 1;
    let (world, target) = (World::with_options(2, options), target(address));
    block_on(async {
        let calls = (0..20).map(|_| {
            let (client, target) = (world.client.clone(), target.clone());
            tokio::spawn(async move { world::call(&client, &target, "x").await })
        });
        for call in calls.collect::<Vec<_>>() {
            let error = call.await.expect("no panic").expect_err("nobody listens");
            assert_eq!(error.kind(), Kind::Connect);
        }
    });
    assert_eq!((world.client.pool_stats().open, world.client.pool_stats().reserved), (0, 0));
    assert_eq!(world.counter("millstream_client_dial_failures"), 20);
}

#[test]
fn stop_cancels_calls_that_wait_for_a_reply_or_a_connection() {
    let read = Gate::new();
    let server = Scripted::serve([{
        let read = read.clone();
        move |conn: &mut RawConn| {
            conn.read_until(b"\n");
            read.open();
            conn.read_to_end();
        }
    }]);
    let mut options = ClientOptions::default();
    options.max_open = 1;
    let World { engine, client, .. } = World::with_options(2, options);
    let target = target(server.address());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let spawn = || {
            let (client, target) = (client.clone(), target.clone());
            tokio::spawn(async move { world::call(&client, &target, "x").await })
        };
        let mut calls = vec![spawn()];
        read.passed().await;
        calls.extend((0..50).map(|_| spawn()));
        let waiting = client.clone();
        tokio::task::spawn_blocking(move || {
            eventually("all wait", || waiting.pool_stats().waiting == 50);
        })
        .await
        .expect("they do");
        tokio::task::spawn_blocking(move || drop(engine)).await.expect("the engine ends");
        for call in calls {
            let error = call.await.expect("no panic").expect_err("the engine has stopped");
            assert_eq!(error.kind(), Kind::Cancelled, "{error}");
        }
        let error = world::call(&client, &target, "late").await.expect_err("nobody is there");
        assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    });
    server.finish();
}

#[test]
fn client_dropped_closes_what_is_idle() {
    let server = Scripted::always(echo);
    let World { engine, lives, client } = World::new();
    block_on(world::call(&client, &target(server.address()), "x")).expect("served");
    assert_eq!(lives.open_count(), 1);
    drop(client);
    eventually("the idle connection is closed", || lives.open_count() == 0);
    assert_eq!(lives.counts().opened_for(millstream_client::transport::Side::Client, Opener::PoolEmpty), 1);
    drop(engine);
}

#[test]
fn drain_lets_go_of_idle_connections() {
    let server = Scripted::always(echo);
    let (world, target) = (World::new(), target(server.address()));
    block_on(async {
        world.call(&target, "x").await.expect("served");
        let busy = world.engine.busy();
        let engine = world.engine.clone();
        let draining = tokio::spawn(async move {
            engine.shutdown(millstream_runtime::Shutdown::Graceful(world::ms(8_000))).await
        });
        world.engine.draining().await;
        let client = world.client.clone();
        tokio::task::spawn_blocking(move || {
            eventually("they are closed", || client.pool_stats().open == 0);
        })
        .await
        .expect("they are");
        drop(busy);
        assert!(draining.await.expect("no panic"));
    });
}
