//! reqwest: so many callers on one thread, each asking again as soon as it was answered.

use millstream_bench_peers::{Args, Cpu, report};
use reqwest::{Client, StatusCode, Url};

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let args = Args::from_process();
    let url: Url = args.value("url", String::new()).parse()?;
    let (callers, requests) = (args.value("callers", 64_u64), args.value("requests", 100_000_u64));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let client = Client::builder().no_proxy().build()?;
        run(&client, &url, callers, callers).await?;
        let start = Cpu::now();
        let done = run(&client, &url, callers, requests).await?;
        report(done, start);
        Ok(())
    })
}

/// So many requests, shared evenly among the callers; gives how many were answered.
async fn run(client: &Client, url: &Url, callers: u64, requests: u64) -> Result<u64, Error> {
    let each = requests / callers;
    let call = |client: Client, url: Url| async move {
        for _ in 0..each {
            let response = client.get(url.clone()).send().await?;
            assert_eq!(response.status(), StatusCode::OK);
            assert!(!response.bytes().await?.is_empty());
        }
        Ok::<(), Error>(())
    };
    let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(call(client.clone(), url.clone()))).collect();
    for task in tasks {
        task.await??;
    }
    Ok(each * callers)
}
