//! Serves a folder: listings, ranges, conditional requests, compressed variants that lie beside a file, and no way out of it.
//!
//! ```sh
//! cargo run --release --example 10_file_server -- --root .
//! curl -i http://127.0.0.1:9110/
//! curl -i -r 0-9 http://127.0.0.1:9110/Cargo.toml
//! curl -i -r 0-1,-2 http://127.0.0.1:9110/Cargo.toml
//! ```

use std::path::PathBuf;

use clap::Parser;
use millstream::http::Files;
use millstream::prelude::*;

#[derive(Parser)]
struct Options {
    /// The folder.
    #[arg(long, default_value = ".")]
    root: PathBuf,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9110")]
    listen: String,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let engine = Engine::builder().build()?;
    engine.run(async move |engine| {
        let files = Files::new(&options.root)?.with_listing().with_cache_control("max-age=60")?;
        let running = HttpServer::new(&engine).bind(&options.listen)?.serve(files)?;
        println!("listening on http://{}: try the commands at the top of this file", running.local_addr());
        running.stopped().await;
        Ok(())
    })?
}
