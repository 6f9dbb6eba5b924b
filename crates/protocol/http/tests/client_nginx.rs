//! Real servers: nginx that closes when it likes, and hyper.

mod client_world;

use std::sync::Arc;

use client_world::{World, url};
use millstream_base::Result;
use millstream_http::HttpClient;
use millstream_peers::nginx::NginxConfig;
use millstream_peers::raise_open_files;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

async fn fetch(client: &HttpClient, address: &str) -> Result<usize> {
    Ok(client.get(address).send().await?.bytes().await?.len())
}

/// So many callers, each with so many calls: all must be answered.
fn load(client: &HttpClient, address: &str, callers: usize, calls: usize, length: usize) {
    let address: Arc<str> = address.into();
    runtime().block_on(async {
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (client, address) = (client.clone(), address.clone());
                tokio::spawn(async move {
                    for _ in 0..calls {
                        assert_eq!(fetch(&client, &address).await.expect("answered"), length);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("all answered");
        }
    });
}

/// 64 callers against an nginx that closes after so many requests.
fn closing_after(requests: u64, calls: usize) {
    raise_open_files();
    let config = NginxConfig::new().answer("hello").keepalive_requests(requests);
    let nginx = millstream_peers::or_skip!(config.start());
    let world = World::new();
    load(&world.client, &url(nginx.address(), "/"), 64, calls, 5);
    let total = 64 * calls as u64;
    let opened = world.opened();
    assert!(opened >= total / requests, "{opened} connections for {total} requests");
    // nginx announces its last reply: nobody runs into a closed connection.
    assert_eq!(world.retried(), 0);
    let most = total / requests + 64 * 2;
    assert!(opened <= most, "{opened} connections, at most {most} are needed");
    assert_eq!(nginx.access_log().lines().count() as u64, total, "nothing is asked twice");
}

#[test]
fn nginx_that_closes_after_each_request_serves_all() {
    closing_after(1, 100);
}

#[test]
fn nginx_that_closes_after_seven_requests_serves_all() {
    closing_after(7, 500);
}

#[test]
fn nginx_that_keeps_connections_serves_all() {
    closing_after(1_000_000, 2_000);
}

#[test]
fn hyper_serves_all_and_reads_what_we_send() {
    use http_body_util::{BodyExt as _, Full};
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    let server = runtime();
    let listener = server.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("it is bound");
    server.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.expect("whole");
                let trailer = body.trailers().and_then(|map| map.get("x-t")).is_some();
                let text = format!("{} {} {} {trailer}", parts.method, parts.uri, body.to_bytes().len());
                Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(bytes::Bytes::from(text))))
            });
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    let world = World::new();
    load(&world.client, &url(address, "/"), 16, 200, "GET / 0 false".len());
    runtime().block_on(async {
        for (length, is_streamed) in [(0, false), (10, false), (1_000_000, false), (1_000_000, true)] {
            let mut body = millstream_http::Body::from(vec![b'x'; length]);
            if is_streamed {
                let (sender, stream) = millstream_http::Body::channel(1);
                tokio::spawn(async move {
                    for _ in 0..length / 1000 {
                        sender.send(vec![b'x'; 1000]).await.expect("read");
                    }
                    let mut trailers = millstream_http::HeaderMap::new();
                    trailers.insert("x-t", 1.into());
                    sender.send_trailers(trailers).await.expect("read");
                });
                body = stream;
            }
            let reply = world.client.put(url(address, "/p?q")).body(body).send().await.expect("a reply");
            assert_eq!(reply.text().await.expect("text"), format!("PUT /p?q {length} {is_streamed}"));
        }
    });
    assert_eq!(world.retried(), 0);
}
