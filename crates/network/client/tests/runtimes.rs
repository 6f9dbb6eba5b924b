//! Callers of every kind: workers, other runtimes, runtimes that end while their connections lie idle.

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use millstream_client::ClientOptions;
use millstream_peers::{Scripted, eventually};
use world::{World, block_on, call, echo, target};

#[test]
fn runtime_that_ends_leaves_its_connections_to_the_next_caller() {
    let server = Scripted::always(echo);
    let (world, target) = (World::new(), target(server.address()));
    for round in 0..50 {
        let line = round.to_string();
        assert_eq!(block_on(world.call(&target, &line)).expect("no error of another runtime's"), line);
    }
    assert_eq!((server.accepted().value(), world.client.pool_stats().reused), (1, 49));
}

#[test]
fn runtime_that_ends_within_a_call_costs_nobody_else_an_error() {
    let server = Scripted::always(echo);
    let (world, target) = (World::new(), target(server.address()));
    for _ in 0..20 {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (client, target) = (world.client.clone(), target.clone());
            tokio::spawn(async move { call(&client, &target, "cut off").await });
            tokio::task::yield_now().await;
        });
        drop(runtime);
        assert_eq!(block_on(world.call(&target, "x")).expect("served"), "x");
    }
    eventually("all are back", || world.client.pool_stats().lent == 0);
}

#[test]
fn workers_and_threads_of_another_runtime_share_the_stock() {
    let server = Scripted::always(echo);
    let mut options = ClientOptions::default();
    options.max_open = 4;
    let (world, target) = (World::with_options(2, options), target(server.address()));
    let done = Arc::new(AtomicU64::new(0));
    let work = |name: String| {
        let (client, target, done) = (world.client.clone(), target.clone(), done.clone());
        async move {
            for number in 0..200 {
                let line = format!("{name} {number}");
                assert_eq!(call(&client, &target, &line).await.expect("served"), line);
                done.fetch_add(1, Relaxed);
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().expect("a runtime");
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for caller in 0..8 {
            tasks.push(tokio::spawn(work(format!("tokio {caller}"))));
            let future = Box::pin(work(format!("worker {caller}")));
            let on_worker = world.engine.workers()[caller % 2].spawn(async move || future.await);
            tasks.push(tokio::spawn(async move { on_worker.await.expect("no panic") }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
    });
    assert_eq!(done.load(Relaxed), 16 * 200);
    let stats = world.client.pool_stats();
    assert_eq!((server.accepted().value(), stats.dialled, stats.lent), (4, 4, 0));
    assert_eq!(world.counter("millstream_client_retries"), 0);
}

#[test]
fn many_calls_in_one_task_do_not_lose_connections_to_its_budget() {
    // A task that has used up tokio's budget is told `Pending` by everything: its connections are not gone for that.
    let server = Scripted::always(echo);
    let mut options = ClientOptions::default();
    options.max_open = 64;
    let (world, target) = (World::with_options(1, options), target(server.address()));
    block_on(async {
        for _ in 0..20 {
            let calls = (0..64).map(|_| Box::pin(world.call(&target, "x")));
            for reply in all(calls.collect()).await {
                assert_eq!(reply.expect("served"), "x");
            }
        }
    });
    let stats = world.client.pool_stats();
    assert_eq!(stats.evicted_total(), 0, "{stats:?}");
}

/// Polls all futures in one task until each has ended.
async fn all<F: Future + Unpin>(mut futures: Vec<F>) -> Vec<F::Output> {
    let mut outputs = Vec::new();
    std::future::poll_fn(|cx| {
        let mut index = 0;
        while index < futures.len() {
            match std::pin::Pin::new(&mut futures[index]).poll(cx) {
                std::task::Poll::Ready(output) => {
                    outputs.push(output);
                    drop(futures.swap_remove(index));
                }
                std::task::Poll::Pending => index += 1,
            }
        }
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    outputs
}
