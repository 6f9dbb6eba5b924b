//! The smallest server: answers every request with a text. It is also what the benches run.
//!
//! ```sh
//! cargo run --release --example 01_hello -- --listen 127.0.0.1:9100 --workers 1 --body-bytes 64
//! curl -i http://127.0.0.1:9100/
//! ```
//!
//! `/slow` answers after 5 ms, `/compute` after 1 ms of work in the handler: the benches mix them in.

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Parser;
use millstream::prelude::*;

#[derive(Parser)]
struct Options {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9100")]
    listen: String,
    /// Worker threads; one a core by default.
    #[arg(long)]
    workers: Option<usize>,
    /// The length of the text.
    #[arg(long, default_value_t = 64)]
    body_bytes: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let builder = Engine::builder();
    let engine = match options.workers {
        Some(count) => builder.workers(count).build()?,
        None => builder.build()?,
    };
    // For the life of the program: every response shares it without counting.
    let text: &'static str = "x".repeat(options.body_bytes).leak();
    engine.run(async move |engine| {
        let server = HttpServer::new(&engine).bind(&options.listen)?;
        let running = server.serve(move |request: Request| answer(request, text))?;
        println!("listening on http://{}", running.local_addr());
        running.stopped().await;
        Ok(())
    })?
}

async fn answer(request: Request, text: &'static str) -> Response {
    match request.target() {
        // Boxed, so that the other requests need not carry a timer along.
        "/slow" => Box::pin(tokio::time::sleep(Duration::from_millis(5))).await,
        "/compute" => compute(Duration::from_millis(1)),
        _ => {}
    }
    Response::text(text)
}

/// Keeps the core busy, as a handler does that renders a page.
fn compute(span: Duration) {
    let start = Instant::now();
    let mut sum = 0u64;
    while start.elapsed() < span {
        sum = black_box(sum.wrapping_mul(31).wrapping_add(7));
    }
}
