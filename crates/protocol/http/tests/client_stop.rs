//! Engines that stop, runtimes that end, calls that are dropped: an error or nothing, never a hang.

mod client_world;

use client_world::{World, block_on, ms, ok, serve, url};
use millstream_base::Kind;
use millstream_client::transport::Cause;
use millstream_http::HttpClient;
use millstream_peers::{Count, Gate, RawConn, Scripted, eventually};

#[test]
fn engine_that_stops_cancels_calls_in_flight_and_bodies_half_read() {
    let read = Count::new();
    let count = read.clone();
    let server = Scripted::always(move |_, conn: &mut RawConn| {
        let request = conn.read_request();
        if request.target == "/body" {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin");
        }
        count.rise();
        conn.read_to_end();
    });
    let World { engine, client, lives } = World::new();
    drop(lives);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async {
        let calls: Vec<_> =
            (0..20).map(|_| tokio::spawn(client.get(url(server.address(), "/silent")).send())).collect();
        let mut reply = client.get(url(server.address(), "/body")).send().await.expect("a reply");
        assert_eq!(reply.chunk().await.expect("a piece").expect("a piece"), "begin");
        read.reached(21).await;
        tokio::task::spawn_blocking(move || drop(engine)).await.expect("the engine ends");
        for call in calls {
            let error = call.await.expect("no panic").expect_err("the engine has stopped");
            assert_eq!(error.kind(), Kind::Cancelled, "{error}");
        }
        let error = reply.chunk().await.expect_err("the engine has stopped");
        assert_eq!(error.kind(), Kind::Cancelled, "{error}");
        let error = client.get(url(server.address(), "/")).send().await.expect_err("nobody is there");
        assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    });
    server.finish();
}

#[test]
fn call_from_a_worker_ends_with_its_engine() {
    let (begun, ended) = (Gate::new(), Gate::new());
    let server = Scripted::serve([{
        let begun = begun.clone();
        move |conn: &mut RawConn| {
            conn.read_request();
            begun.open();
            conn.read_to_end();
        }
    }]);
    let World { engine, client, lives } = World::new();
    drop(lives);
    let (address, on_drop) = (url(server.address(), "/"), ended.on_drop());
    engine.workers()[0]
        .run(move || {
            tokio::task::spawn_local(async move {
                let _dropped_with_the_task = on_drop;
                client.get(address).send().await
            });
        })
        .expect("the engine runs");
    begun.wait();
    drop(engine);
    ended.wait();
    server.finish();
}

#[test]
fn futures_of_the_client_are_send() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    fn is_sync<T: Send + Sync>() {}
    is_sync::<HttpClient>();
    let world = World::new();
    drop(is_send(world.client.get("http://localhost/").send()));
    drop(is_send(async {
        let mut reply = world.client.get("http://localhost/").send().await?;
        reply.chunk().await?;
        reply.text().await
    }));
}

#[test]
fn runtime_that_ends_leaves_its_connections_and_bodies_to_others() {
    let server = Scripted::always(|_, conn: &mut RawConn| serve(conn, |_| ok("fine")));
    let (world, address) = (World::new(), url(server.address(), "/"));
    for _ in 0..20 {
        let reply = block_on(world.client.get(address.as_str()).send()).expect("a reply");
        // Read under another runtime than the one it was asked under.
        assert_eq!(block_on(reply.text()).expect("text"), "fine");
    }
    assert_eq!((server.accepted().value(), world.retried()), (1, 0));
}

#[test]
fn dropped_response_gives_its_connection_back_if_the_rest_is_here_and_else_closes_it() {
    let ended = Count::new();
    let count = ended.clone();
    let server = Scripted::always(move |_, conn: &mut RawConn| {
        serve(conn, |request| match request.target.as_str() {
            "/whole" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".into(),
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin".into(),
        });
        count.rise();
    });
    let world = World::new();
    block_on(async {
        for _ in 0..3 {
            drop(world.client.get(url(server.address(), "/whole")).send().await.expect("a reply"));
        }
        assert_eq!((server.accepted().value(), world.client.pool_stats().idle), (1, 1));
        drop(world.client.get(url(server.address(), "/part")).send().await.expect("a reply"));
    });
    ended.wait_for(1);
    eventually("it is closed", || world.ended(Cause::BodyNotDrained) == 1);
}

#[test]
fn rest_that_comes_soon_is_thrown_away_and_its_connection_kept() {
    for head in ["Content-Length: 100005\r\n\r\nbegin", "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"] {
        let (dropped, gate) = (Gate::new(), Gate::new());
        let (is_dropped, is_sent) = (dropped.clone(), gate.clone());
        let is_chunked = head.contains("chunked");
        let server = Scripted::serve([move |conn: &mut RawConn| {
            conn.read_request();
            conn.send(format!("HTTP/1.1 200 OK\r\n{head}"));
            is_dropped.wait();
            let rest = "x".repeat(100_000);
            conn.send(if is_chunked { format!("186A0\r\n{rest}\r\n0\r\n\r\n") } else { rest });
            is_sent.open();
            serve(conn, |_| ok("next"));
        }]);
        let world = World::new();
        block_on(async {
            let reply = world.client.get(url(server.address(), "/")).send().await.expect("a reply");
            dropped.open();
            gate.wait();
            drop(reply);
            eventually("the connection is idle", || world.client.pool_stats().idle == 1);
            let reply = world.client.get(url(server.address(), "/")).send().await.expect("a reply");
            assert_eq!(reply.text().await.expect("text"), "next");
        });
        assert_eq!((world.opened(), world.ended(Cause::BodyNotDrained)), (1, 0));
    }
}

#[test]
fn rest_that_is_longer_than_a_connection_is_worth_is_not_read() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 262150\r\n\r\nbegin");
        conn.read_to_end();
    }]);
    let world = World::new();
    block_on(async {
        drop(world.client.get(url(server.address(), "/")).send().await.expect("a reply"));
        assert_eq!(world.ended(Cause::BodyNotDrained), 1, "at once");
    });
}

#[test]
fn silence_within_a_body_has_its_own_limit() {
    let server = Scripted::serve([|conn: &mut RawConn| {
        conn.read_request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegin");
        conn.read_to_end();
    }]);
    let world = World::with(|options| options.http.read_timeout = ms(50));
    block_on(async {
        let mut reply = world.client.get(url(server.address(), "/")).send().await.expect("a reply");
        assert_eq!(reply.chunk().await.expect("a piece").expect("a piece"), "begin");
        let error = reply.chunk().await.expect_err("silence");
        assert_eq!((error.kind(), error.phase()), (Kind::Timeout, Some(millstream_base::Phase::Read)));
        assert_eq!(reply.chunk().await.expect("told once"), None);
    });
    eventually("it is closed", || world.ended(Cause::TimeoutRead) == 1);
}
