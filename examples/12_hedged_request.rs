//! A second request beside the first when that is late: the first answer wins, and the other request is dropped.
//!
//! ```sh
//! cargo run --release --example 12_hedged_request -- --after-ms 50 --slow-ms 500
//! ```
//!
//! It asks two servers of its own: one that is quick at times, and one that always is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use clap::Parser;
use millstream::flow::{Hedge, Task, TaskKind};
use millstream::prelude::*;
use millstream::runtime::sleep;

#[derive(Parser)]
struct Options {
    /// How long the first server has before the second is asked as well.
    #[arg(long, default_value_t = 50)]
    after_ms: u64,
    /// How long the first server takes when it is slow.
    #[arg(long, default_value_t = 500)]
    slow_ms: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let engine = Engine::builder().build()?;
    engine.run(async move |engine| {
        let servers = [own_server(&engine, "first")?, own_server(&engine, "second")?];
        let client = HttpClient::new(&engine);
        let hedge = Hedge::after(Duration::from_millis(options.after_ms));
        println!("a second request after {} ms; the second server takes 10 ms", options.after_ms);
        for first_ms in [10, options.slow_ms] {
            let urls = [format!("{}/{first_ms}", servers[0]), format!("{}/10", servers[1])];
            let started = Instant::now();
            let (winner, asked) = fetch(&client, hedge, urls).await?;
            let ms = started.elapsed().as_millis();
            println!("first server takes {first_ms:>3} ms: {asked} asked, the {winner} won after {ms} ms");
        }
        Ok(())
    })?
}

/// Who won, and how many had been asked when it did.
async fn fetch(client: &HttpClient, hedge: Hedge, urls: [String; 2]) -> Result<(String, u32)> {
    let client = client.clone();
    let asked = Arc::new(AtomicU32::new(0));
    let count = asked.clone();
    let task = Task::hedge("fetch", TaskKind::Network, hedge, move |attempt| {
        count.store(attempt, Relaxed);
        let request = client.get(&urls[attempt as usize - 1]);
        async move { request.send().await?.error_for_status()?.text().await }
    });
    let winner = task.timeout(Duration::from_secs(20)).await?;
    Ok((winner, asked.load(Relaxed)))
}

/// Answers `/MS` after so many milliseconds with its name.
fn own_server(engine: &Engine, name: &'static str) -> Result<String> {
    let handler = move |request: Request| async move {
        sleep(Duration::from_millis(request.path()[1..].parse().unwrap_or(0))).await;
        name
    };
    let running = HttpServer::new(engine).bind("127.0.0.1:0")?.serve(handler)?;
    Ok(format!("http://{}", running.local_addr()))
}
