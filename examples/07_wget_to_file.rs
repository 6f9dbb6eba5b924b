//! Streams a body into a file of any size, in a few MiB of memory. Whoever opens the file finds the old one or all of the new one.
//!
//! ```sh
//! cargo run --release --example 07_wget_to_file
//! cargo run --release --example 07_wget_to_file -- http://example.org/ --to example.html
//! ```
//!
//! Without a URL it fetches 64 MiB from a server of its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use millstream::files::Files;
use millstream::http::client;
use millstream::prelude::*;

#[derive(Parser)]
struct Options {
    /// What to fetch.
    url: Option<String>,
    /// The file; by default `millstream-wget` in the folder for temporary files.
    #[arg(long)]
    to: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let to = options.to.unwrap_or_else(|| std::env::temp_dir().join("millstream-wget"));
    let engine = Engine::builder().build()?;
    engine.run(async move |engine| {
        let url = options.url.map_or_else(|| own_url(&engine), Ok)?;
        let response = HttpClient::new(&engine).get(&url).send().await?.error_for_status()?;
        let fetched = receive(&engine, response, &to).await;
        eprintln!();
        println!("{} has {} bytes", to.display(), fetched?);
        Ok(())
    })?
}

/// Into a file beside it, to the disk, and only then under its name. What is half there when it fails is removed.
async fn receive(engine: &Engine, mut response: client::Response, to: &Path) -> Result<u64> {
    let mut file = Files::of(engine).replacement(to).await?;
    let (whole, started) = (response.content_length(), Instant::now());
    let (mut bytes, mut shown) = (0, started);
    while let Some(piece) = response.chunk().await? {
        bytes += piece.len() as u64;
        file.write(piece).await?;
        if shown.elapsed() >= Duration::from_millis(100) {
            shown = Instant::now();
            show(bytes, whole, started);
        }
    }
    let size = file.finish().await?;
    show(size, whole, started);
    Ok(size)
}

/// The progress, on a line that is written again and again.
fn show(bytes: u64, whole: Option<u64>, started: Instant) {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let whole = whole.map_or("?".to_owned(), |whole| format!("{:.1}", mib(whole)));
    let rate = mib(bytes) / started.elapsed().as_secs_f64();
    eprint!("\r{:.1} of {whole} MiB, {rate:.1} MiB/s    ", mib(bytes));
}

fn own_url(engine: &Engine) -> Result<String> {
    let body = Bytes::from(vec![7; 64 << 20]);
    let handler = move |_: Request| std::future::ready(Response::bytes(body.clone()));
    let running = HttpServer::new(engine).bind("127.0.0.1:0")?.serve(handler)?;
    Ok(format!("http://{}/", running.local_addr()))
}
