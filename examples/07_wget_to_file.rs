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
use millstream::files::{File, Files};
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
        let mut part = to.clone().into_os_string();
        part.push(".part");
        let fetched = receive(&engine, response, Path::new(&part), &to).await;
        if fetched.is_err() {
            // What is half there is of no use. If it can't be removed, the first error says why.
            let _ = engine.blocking(move || std::fs::remove_file(part)).await?;
        }
        println!("{} has {} bytes", to.display(), fetched?);
        Ok(())
    })?
}

/// Into a file beside it, to the disk, and only then under its name.
async fn receive(engine: &Engine, mut response: client::Response, part: &Path, to: &Path) -> Result<u64> {
    let file = Files::of(engine).create(part).await?;
    let mut progress = Progress::new(response.content_length());
    let mut writer = file.writer(0);
    while let Some(piece) = response.chunk().await? {
        progress.add(piece.len());
        writer.write(piece).await?;
    }
    let bytes = writer.finish().await?;
    file.sync_data().await?;
    rename(engine, file, to).await?;
    Ok(bytes)
}

async fn rename(engine: &Engine, file: File, to: &Path) -> Result<()> {
    let path = to.to_owned();
    let renamed = engine.blocking(move || std::fs::rename(file.path(), path)).await?;
    renamed.map_err(|error| Error::io(error).with_target(to.display().to_string()))
}

/// A line that is written again each 100 ms, and at last when it is dropped.
struct Progress {
    bytes: u64,
    whole: Option<u64>,
    started: Instant,
    shown: Instant,
}

impl Progress {
    fn new(whole: Option<u64>) -> Self {
        let now = Instant::now();
        Self { bytes: 0, whole, started: now, shown: now }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.shown.elapsed() >= Duration::from_millis(100) {
            self.show();
        }
    }

    fn show(&mut self) {
        self.shown = Instant::now();
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let rate = mib(self.bytes) / self.started.elapsed().as_secs_f64();
        let whole = self.whole.map_or("?".to_owned(), |whole| format!("{:.1}", mib(whole)));
        eprint!("\r{:.1} of {whole} MiB, {rate:.1} MiB/s    ", mib(self.bytes));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show();
        eprintln!();
    }
}

fn own_url(engine: &Engine) -> Result<String> {
    let body = Bytes::from(vec![7; 64 << 20]);
    let handler = move |_: Request| std::future::ready(Response::bytes(body.clone()));
    let running = HttpServer::new(engine).bind("127.0.0.1:0")?.serve(handler)?;
    Ok(format!("http://{}/", running.local_addr()))
}
