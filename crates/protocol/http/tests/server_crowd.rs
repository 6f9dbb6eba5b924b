//! Many connections: their share of each worker, their limit, and what is counted of them.

mod serving;

use millstream_base::registry::Value;
use millstream_http::{Body, Request, Response, StatusCode};
use millstream_peers::certs::Authority;
use millstream_peers::{End, RawConn, eventually, or_skip};
use millstream_server::transport::Cause;
use millstream_server::transport::tls::{Pem, TlsServer};
use serving::{Held, Served, get, post};

async fn path(request: Request) -> String {
    request.path().to_owned()
}

/// Connections on each worker, the fewest first.
fn loads(server: &Served) -> Vec<usize> {
    let mut loads: Vec<_> = server.engine.workers().iter().map(millstream_server::Worker::load).collect();
    loads.sort_unstable();
    loads
}

#[test]
fn connections_are_spread_over_the_workers() {
    for count in [64, 1000] {
        let server = Served::with(2, |server| server, path);
        let mut conns: Vec<_> = (0..count).map(|_| server.connect()).collect();
        for conn in &mut conns {
            conn.send(get("/x"));
        }
        for conn in &mut conns {
            assert_eq!(conn.read_response("GET").text(), "/x");
        }
        let loads = loads(&server);
        assert_eq!(loads.iter().sum::<usize>(), count);
        assert!(loads[1] - loads[0] <= 2 + loads[0] / 16, "{loads:?}");
    }
}

#[test]
fn connections_in_their_handshake_count_as_load() {
    let identity = Authority::new().server(&["localhost"]);
    let tls = TlsServer::builder().with_certificate(Pem::text(identity.chain), Pem::text(identity.key));
    let tls = tls.build().expect("the certificate is good");
    let server = Served::with(2, |server| server.with_tls(tls), path);
    // They say nothing, so all of them are in their handshake.
    let _conns: Vec<_> = (0..100).map(|_| server.connect()).collect();
    eventually("all are accepted", || server.metric("millstream_server_accepted") == 100);
    let loads = loads(&server);
    assert!(loads[1] - loads[0] <= 2 + loads[0] / 16, "{loads:?}");
}

#[test]
fn newcomer_at_the_limit_takes_the_place_of_the_longest_idle() {
    let held = Held::new();
    let server = Served::with(2, |server| server.with_max_connections(10), {
        let held = held.clone();
        move |request: Request| {
            let held = held.clone();
            async move {
                match request.path() {
                    "/hold" => held.hold().await,
                    "/stream" => {
                        return Response::bytes(Body::from_fn(move || {
                            let held = held.clone();
                            async move {
                                held.leaves.passed().await;
                                None
                            }
                        }));
                    }
                    _ => {}
                }
                Response::text("done")
            }
        }
    });
    let mut conns: Vec<_> = (0..10).map(|_| server.connect()).collect();
    // Busy in a handler, busy with a stream, then idle ones: the last but one is idle longest.
    conns[0].send(get("/hold"));
    conns[1].send(get("/stream")).read_until(b"\r\n\r\n");
    held.entered.wait();
    for number in [8, 2, 3, 4, 5, 6, 7, 9] {
        conns[number].send(get("/"));
        conns[number].read_response("GET");
    }
    let mut newcomer = server.connect();
    newcomer.send(get("/"));
    assert_eq!(newcomer.read_response("GET").text(), "done");
    assert_eq!(conns[8].expect_end(), End::Fin);
    server.wait_for_cause(Cause::CapacityEvict, 1);
    for number in [2, 3, 4, 5, 6, 7, 9] {
        conns[number].send(get("/"));
        assert_eq!(conns[number].read_response("GET").text(), "done", "connection {number}");
    }
    held.leaves.open();
    assert_eq!(conns[0].read_response("GET").text(), "done");
    assert_eq!(server.metric("millstream_server_evicted_idle"), 1);
}

#[test]
fn tunnels_and_unread_replies_are_not_idle() {
    let server = Served::with(
        1,
        |server| server.with_max_connections(4),
        async |request: Request| match request.path() {
            "/large" => Response::bytes(vec![b'x'; 32 << 20]),
            "/tunnel" => Response::upgrade(async |mut upgraded| {
                let mut word = [0; 4];
                while tokio::io::AsyncReadExt::read_exact(&mut upgraded, &mut word).await.is_ok()
                    && tokio::io::AsyncWriteExt::write_all(&mut upgraded, &word).await.is_ok()
                {
                }
            }),
            _ => Response::text("done"),
        },
    );
    let mut unread = server.connect();
    unread.send(get("/large")).read_until(b"\r\n\r\n");
    let mut tunnel = server.connect();
    tunnel.send("GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nping");
    assert_eq!(tunnel.read_response("GET").status, 101);
    tunnel.expect("ping");
    // Its body is skipped until the read timeout: it is not idle either, but has no one to tell so.
    let mut skipped = server.connect();
    skipped.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n");
    assert_eq!(skipped.read_response("POST").text(), "done");
    let mut newcomers = Vec::new();
    for _ in 0..10 {
        let mut newcomer = server.connect();
        newcomer.send(get("/"));
        assert_eq!(newcomer.read_response("GET").text(), "done");
        newcomers.push(newcomer);
    }
    tunnel.send("ping").expect("ping");
    skipped.send("1234567890").send(get("/"));
    assert_eq!(skipped.read_response("GET").text(), "done");
    assert_eq!(unread.read_exact(32 << 20), vec![b'x'; 32 << 20]);
    assert_eq!(server.metric("millstream_server_evicted_idle"), 9);
}

#[test]
fn counters_and_records_agree_with_what_passed() {
    let server = Served::with(
        2,
        |server| server,
        async |request: Request| match request.path() {
            "/404" => Response::new(StatusCode::NOT_FOUND),
            "/302" => Response::see_other("/"),
            "/500" => Response::new(StatusCode::INTERNAL_SERVER_ERROR),
            _ => Response::text("x"),
        },
    );
    let requests = [get("/"), get("/404"), get("/302"), get("/500"), get("/")].concat() + "bad\r\n\r\n";
    let mut conn = server.connect();
    conn.send(&requests);
    let replies = conn.read_to_fin();
    let samples = server.engine.registry().collect();
    let of_class = |class: &str| {
        let sample = samples.iter().find(|sample| {
            sample.name == "millstream_http_responses"
                && sample.labels.iter().any(|(_, value)| value == class)
        });
        match sample.map(|sample| &sample.value) {
            Some(Value::Counter(count)) => *count,
            other => panic!("{class}: {other:?}"),
        }
    };
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(of_class);
    assert_eq!(classes, [0, 2, 1, 2, 1]);
    assert_eq!(server.metric("millstream_http_rejected"), 1);
    let durations = samples.iter().find(|sample| sample.name == "millstream_http_request_duration_seconds");
    let Some(Value::Histogram(durations)) = durations.map(|sample| &sample.value) else {
        panic!("a histogram")
    };
    assert_eq!(durations.count(), 6);
    let life = server.lives().snapshot().pop().expect("it lingers until we close");
    assert_eq!((life.bytes_in, life.bytes_out), (requests.len() as u64, replies.len() as u64));
    assert_eq!(life.messages, 5, "what was refused is no message");
}

#[test]
fn two_servers_of_one_engine_are_counted_apart() {
    let server = Served::start(path);
    let other = millstream_http::HttpServer::new(&server.engine).bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().as_tcp().expect("it listens on TCP");
    let other = other.serve(async |_| "other").expect("the engine runs");
    let mut conn = RawConn::connect(address);
    conn.send(post("/", "x"));
    assert_eq!(conn.read_response("POST").text(), "other");
    assert_eq!((server.running.open_connections(), other.open_connections()), (0, 1));
    assert!(serving::block_on(other.stop(millstream_peers::PATIENCE)), "one stops");
    conn.expect_end();
    let mut conn = server.connect();
    conn.send(get("/still"));
    assert_eq!(conn.read_response("GET").text(), "/still");
}

#[test]
fn curl_over_many_connections_at_once() {
    let server = Served::with(2, |server| server, path);
    let url = server.url("/[1-200]");
    let output =
        or_skip!(millstream_peers::curl::curl(&["--parallel", "--parallel-max", "50", &url])).succeeded();
    let mut numbers: Vec<u32> =
        output.stdout.split('/').skip(1).filter_map(|word| word.parse().ok()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<_>>());
}
