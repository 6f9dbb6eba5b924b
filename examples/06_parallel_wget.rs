//! Fetches many URLs, at most so many at a time, and prints a line for each when it is there.
//!
//! ```sh
//! cargo run --release --example 06_parallel_wget -- --at-most 2
//! cargo run --release --example 06_parallel_wget -- http://example.org/ http://example.org/nothing
//! ```
//!
//! Without URLs it fetches from a server of its own.

use std::time::{Duration, Instant};

use clap::Parser;
use millstream::flow::Each;
use millstream::prelude::*;
use millstream::runtime::sleep;

#[derive(Parser)]
struct Options {
    /// What to fetch.
    urls: Vec<String>,
    /// How many at a time.
    #[arg(long, default_value_t = 4)]
    at_most: usize,
}

struct Page {
    url: String,
    /// Status and bytes.
    outcome: Result<(StatusCode, usize)>,
    took: Duration,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let engine = Engine::builder().build()?;
    engine.run(async move |engine| {
        let urls = if options.urls.is_empty() { own_urls(&engine)? } else { options.urls };
        let client = HttpClient::new(&engine);
        let started = Instant::now();
        // Only as many are begun as may run. An error is a line of the table, so that the others go on.
        let mut pages = Each::of(urls).at_most(options.at_most).run(|url| {
            let client = client.clone();
            async move { Ok(fetch(client, url).await) }
        });
        println!("status       bytes       ms  url");
        let (mut count, mut one_by_one) = (0, Duration::ZERO);
        while let Some(page) = pages.next().await {
            let page = page?;
            print(&page);
            (count, one_by_one) = (count + 1, one_by_one + page.took);
        }
        let (took, one_by_one) = (started.elapsed().as_millis(), one_by_one.as_millis());
        println!("{count} in {took} ms, one by one {one_by_one} ms");
        Ok(())
    })?
}

async fn fetch(client: HttpClient, url: String) -> Page {
    let started = Instant::now();
    let outcome = async {
        let response = client.get(&url).send().await?;
        Ok((response.status(), response.bytes().await?.len()))
    };
    let outcome = outcome.await;
    Page { url, outcome, took: started.elapsed() }
}

fn print(page: &Page) {
    let (url, ms) = (&page.url, page.took.as_millis());
    match &page.outcome {
        Ok((status, bytes)) => println!("{:>6} {bytes:>11} {ms:>8}  {url}", status.as_u16()),
        Err(error) => println!("{:>6} {:>11} {ms:>8}  {url}\n{:29}{error}", "error", "-", ""),
    }
}

/// Twenty pages of a server that takes its time: 10 ms for the first, 200 ms for the last.
fn own_urls(engine: &Engine) -> Result<Vec<String>> {
    let running = HttpServer::new(engine).bind("127.0.0.1:0")?.serve(async |request: Request| {
        let number: u64 = request.path()[1..].parse().unwrap_or(0);
        sleep(Duration::from_millis(10 * number)).await;
        "x".repeat(1000 * number as usize)
    })?;
    Ok((1..=20).map(|number| format!("http://{}/{number}", running.local_addr())).collect())
}
