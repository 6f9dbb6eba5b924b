//! A hundred local ports, and servers that close after every few requests: nobody runs out.
//!
//! Each test has a network namespace of its own, with `tcp_tw_reuse=0`: a port whose connection we close first is lost for a
//! minute, and the test with it.

mod client_world;

use std::sync::Arc;

use client_world::{World, block_on, raise_open_files, url};
use millstream_http::HttpClient;
use millstream_peers::netns::Namespace;
use millstream_peers::nginx::{Nginx, NginxConfig};
use millstream_peers::or_skip;
use tokio::sync::Semaphore;

fn nginx(requests: u64) -> Result<Nginx, millstream_peers::Skip> {
    NginxConfig::new().answer("hello").keepalive_requests(requests).directive("access_log off").start()
}

/// So many requests by so many callers; what failed.
async fn fetch(client: &HttpClient, url: &str, requests: usize, callers: usize, closes: bool) -> Vec<String> {
    let left = Arc::new(Semaphore::new(requests));
    let calls = (0..callers).map(|_| {
        let (client, url, left) = (client.clone(), url.to_owned(), left.clone());
        tokio::spawn(async move {
            let mut failed = Vec::new();
            while let Ok(permit) = left.try_acquire() {
                permit.forget();
                let mut request = client.get(url.as_str());
                if closes {
                    request = request.header("connection", "close");
                }
                let text = async { request.send().await?.text().await };
                match text.await {
                    Ok(text) => assert_eq!(text, "hello"),
                    Err(error) => failed.push(error.to_string()),
                }
            }
            failed
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut failed = Vec::new();
    for call in calls {
        failed.extend(call.await.expect("no panic"));
    }
    failed
}

/// 2,000 requests from this many callers, in a namespace of their own: what a client that ends leaves in TIME_WAIT is not
/// the next one's.
fn check(keepalive_requests: u64) {
    for callers in [64, 300, 1000] {
        or_skip!(Namespace::run(|_| {
            raise_open_files();
            let nginx = or_skip!(nginx(keepalive_requests));
            let world = World::new();
            block_on(async {
                let url = url(nginx.address(), "/");
                let failed = fetch(&world.client, &url, 2000, callers, false).await;
                assert!(failed.is_empty(), "{callers} callers: {} failed: {}", failed.len(), failed[0]);
                // The share of a hundred ports that one destination gets.
                assert!(world.client.pool_stats().open <= 45);
            });
        }));
    }
}

#[test]
fn server_that_keeps_connections_is_served_by_45_of_them() {
    check(100_000_000);
}

#[test]
fn server_that_closes_after_seven_requests_costs_no_port() {
    check(7);
}

#[test]
fn server_that_closes_after_each_request_costs_no_port() {
    check(1);
}

#[test]
fn connections_that_we_asked_to_be_closed_cost_no_port() {
    or_skip!(Namespace::run(|_| {
        let nginx = or_skip!(nginx(100_000_000));
        let world = World::new();
        block_on(async {
            let url = url(nginx.address(), "/");
            let failed = fetch(&world.client, &url, 20_000, 64, true).await;
            assert!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
        });
        assert!(world.opened() >= 20_000);
    }));
}
