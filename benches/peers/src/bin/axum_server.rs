//! axum as its documentation shows it.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use millstream_bench_peers::{Args, body};

fn main() -> std::io::Result<()> {
    let args = Args::from_process();
    let text = Bytes::from_static(body(args.body_bytes()));
    let reply =
        move || std::future::ready(([(CONTENT_TYPE, millstream_bench_peers::CONTENT_TYPE)], text.clone()));
    let router = Router::new().route("/", get(reply));
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(args.workers()).enable_all().build()?;
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::bind(args.listen()).await?;
        // As a task: the main thread is no worker.
        tokio::spawn(async move { axum::serve(listener, router).await }).await?
    })
}
