//! Streams in both directions with back-pressure: nobody holds more than a few pieces, however much flows.
//!
//! A server that counts what is uploaded, echoes it, or sends without an end, and a client that uploads, does both at
//! once, and downloads; then both end. With `--listen` the server stays, for curl.
//!
//! ```sh
//! cargo run --release --example 04_stream -- --mib 1024
//! cargo run --release --example 04_stream -- --listen 127.0.0.1:9104
//! head -c 1G /dev/zero | curl -sT - http://127.0.0.1:9104/echo | wc -c
//! ```

use std::time::Instant;

use bytes::Bytes;
use clap::Parser;
use millstream::http::Router;
use millstream::http::router::streamed;
use millstream::prelude::*;

#[derive(Parser)]
struct Options {
    /// How much flows each way.
    #[arg(long, default_value_t = 64)]
    mib: usize,
    /// Only serves, here.
    #[arg(long)]
    listen: Option<String>,
}

const PIECE_BYTES: usize = 64 * 1024;
const PIECES_PER_MIB: usize = (1 << 20) / PIECE_BYTES;

fn main() -> Result<()> {
    let options = Options::parse();
    let engine = Engine::builder().build()?;
    engine.run(async move |engine| {
        let address = options.listen.as_deref().unwrap_or("127.0.0.1:0");
        let running = HttpServer::new(&engine).bind(address)?.serve(service())?;
        if options.listen.is_some() {
            println!(
                "listening on http://{}: try the commands at the top of this file",
                running.local_addr()
            );
            running.stopped().await;
            return Ok(());
        }
        let (client, base) = (HttpClient::new(&engine), format!("http://{}", running.local_addr()));
        upload(&client, &base, options.mib * PIECES_PER_MIB).await?;
        echo(&client, &base, options.mib * PIECES_PER_MIB).await?;
        download(&client, &base, options.mib * PIECES_PER_MIB).await
    })?
}

/// `streamed` lifts the limit on a request's body: these handlers never hold all of it.
fn service() -> Router {
    Router::new()
        .post("/count", streamed(count))
        .any("/echo", streamed(async |mut request: Request| Response::bytes(request.take_body())))
        .get("/zeros", async |_: Request| Response::bytes(zeros(usize::MAX)))
}

/// The client can send the next piece when this has taken the last one.
async fn count(mut request: Request) -> Result<String> {
    let mut bytes = 0;
    while let Some(piece) = request.body_mut().chunk().await {
        bytes += piece?.len();
    }
    Ok(bytes.to_string())
}

/// A body made piece by piece: the next one is asked for when the last one is on its way.
fn zeros(pieces: usize) -> Body {
    let piece = Bytes::from(vec![0; PIECE_BYTES]);
    let mut left = pieces;
    Body::from_fn(move || {
        let next = (left > 0).then(|| Ok(piece.clone()));
        left = left.saturating_sub(1);
        std::future::ready(next)
    })
}

async fn upload(client: &HttpClient, base: &str, pieces: usize) -> Result<()> {
    let started = Instant::now();
    let response = client.post(format!("{base}/count").as_str()).body(zeros(pieces)).send().await?;
    let counted = response.error_for_status()?.text().await?;
    assert_eq!(counted, (pieces * PIECE_BYTES).to_string());
    report("uploaded", pieces * PIECE_BYTES, started);
    Ok(())
}

/// Uploads and reads what comes back at the same time.
async fn echo(client: &HttpClient, base: &str, pieces: usize) -> Result<()> {
    let started = Instant::now();
    let mut response = client.post(format!("{base}/echo").as_str()).body(zeros(pieces)).send().await?;
    let mut bytes = 0;
    while let Some(piece) = response.chunk().await? {
        bytes += piece.len();
    }
    assert_eq!(bytes, pieces * PIECE_BYTES);
    report("echoed", bytes, started);
    Ok(())
}

/// Takes as much as it wants of an endless body and drops the rest: the server's handler ends with it.
async fn download(client: &HttpClient, base: &str, pieces: usize) -> Result<()> {
    let started = Instant::now();
    let mut response = client.get(format!("{base}/zeros").as_str()).send().await?;
    let mut bytes = 0;
    while bytes < pieces * PIECE_BYTES {
        bytes += response.chunk().await?.map_or(0, |piece| piece.len());
    }
    report("downloaded", bytes, started);
    Ok(())
}

fn report(what: &str, bytes: usize, started: Instant) {
    let (mib, seconds) = (bytes >> 20, started.elapsed().as_secs_f64());
    println!(
        "{what} {mib} MiB in {seconds:.2} s, peak memory {}",
        peak_memory().unwrap_or("unknown".to_owned())
    );
}

fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")).map(|peak| peak.trim().to_owned())
}
