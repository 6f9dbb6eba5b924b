//! hyper-util's pooling client: so many callers on one thread, each asking again as soon as it was answered.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use millstream_bench_peers::{Args, Cpu, report};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let args = Args::from_process();
    let uri: Uri = args.value("url", String::new()).parse()?;
    let (callers, requests) = (args.value("callers", 64_u64), args.value("requests", 100_000_u64));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        run(&client, &uri, callers, callers).await?;
        let start = Cpu::now();
        let done = run(&client, &uri, callers, requests).await?;
        report(done, start);
        Ok(())
    })
}

/// So many requests, shared evenly among the callers; gives how many were answered.
async fn run(
    client: &Client<HttpConnector, Empty<Bytes>>,
    uri: &Uri,
    callers: u64,
    requests: u64,
) -> Result<u64, Error> {
    let each = requests / callers;
    let call = |client: Client<HttpConnector, Empty<Bytes>>, uri: Uri| async move {
        for _ in 0..each {
            let response = client.get(uri.clone()).await?;
            assert_eq!(response.status(), StatusCode::OK);
            let body = response.into_body().collect().await?.to_bytes();
            assert!(!body.is_empty());
        }
        Ok::<(), Error>(())
    };
    let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(call(client.clone(), uri.clone()))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(each * callers)
}
