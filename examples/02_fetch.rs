//! The smallest client: fetches a URL and prints it. With `--requests` it fetches it many times from many callers and
//! prints what that cost, which is what the benches run.
//!
//! ```sh
//! cargo run --release --example 02_fetch -- --url http://127.0.0.1:9100/
//! cargo run --release --example 02_fetch -- --url http://127.0.0.1:9100/ --callers 64 --requests 100000
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use clap::Parser;
use millstream::prelude::*;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

#[derive(Parser)]
struct Options {
    /// What to fetch.
    #[arg(long)]
    url: String,
    /// Callers at once.
    #[arg(long, default_value_t = 64)]
    callers: u64,
    /// How many times in all. Without it: once, and the body is printed.
    #[arg(long)]
    requests: Option<u64>,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    workers: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let engine = Engine::builder().workers(options.workers).build()?;
    engine.run(async move |engine| {
        let client = HttpClient::new(&engine);
        match options.requests {
            None => print!("{}", client.get(&options.url).send().await?.text().await?),
            Some(requests) => fetch_many(client, &options, requests).await?,
        }
        Ok(())
    })?
}

async fn fetch_many(client: HttpClient, options: &Options, requests: u64) -> Result<()> {
    let (started, cpu) = (Instant::now(), cpu_us());
    let left = Arc::new(AtomicU64::new(requests));
    let callers: Vec<_> = (0..options.callers)
        .map(|_| spawn_local(fetch_until(client.clone(), options.url.clone(), left.clone())))
        .collect();
    for caller in callers {
        caller.await.expect("callers are not cancelled")??;
    }
    let (seconds, spent) = (started.elapsed().as_secs_f64(), cpu_us());
    let (user, system) = (spent.0 - cpu.0, spent.1 - cpu.1);
    println!(
        r#"{{"requests":{requests},"seconds":{seconds:.6},"cpu_user_us":{user},"cpu_system_us":{system}}}"#
    );
    Ok(())
}

async fn fetch_until(client: HttpClient, url: String, left: Arc<AtomicU64>) -> Result<()> {
    while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
        let response = client.get(&url).send().await?.error_for_status()?;
        response.bytes().await?;
    }
    Ok(())
}

/// What this process has used of the processor so far: user and system, in microseconds.
fn cpu_us() -> (i64, i64) {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("every process may ask for its own");
    (usage.user_time().num_microseconds(), usage.system_time().num_microseconds())
}
