//! A network call, computations, a file and a timer as one flow: a graph knows what waits for what, runs the rest at once, and tells
//! afterwards when each ran, where, and what the whole waited for.
//!
//! ```sh
//! cargo run --release --example 11_graph -- --svg run.svg --mermaid graph.mmd
//! cargo run --release --example 11_graph -- http://example.org/
//! ```
//!
//! Without a URL it fetches from a server of its own, which fails at first.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use millstream::files::Files;
use millstream::flow::{Graph, GraphBuilder, Node, Retry, TaskKind};
use millstream::prelude::*;
use millstream::runtime::sleep;

#[derive(Parser)]
struct Options {
    /// What to fetch.
    url: Option<String>,
    /// Where the page goes; by default `millstream-page` in the folder for temporary files.
    #[arg(long)]
    to: Option<PathBuf>,
    /// Writes a picture of the run here.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Writes the graph as a flowchart here, in the language of Mermaid.
    #[arg(long)]
    mermaid: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let to = options.to.unwrap_or_else(|| std::env::temp_dir().join("millstream-page"));
    let engine = Engine::builder().build()?;
    engine.run(async move |engine| {
        let url = options.url.map_or_else(|| own_url(&engine), Ok)?;
        let files = Files::of(&engine);
        let (graph, report) = graph(&engine, to)?;
        if let Some(path) = options.mermaid {
            files.replace(path, graph.to_mermaid()).await?;
        }
        let finished = graph.recorded(url).await;
        // Also of a run that failed.
        if let Some(record) = finished.record() {
            print!("{record}");
            if let Some(path) = options.svg {
                files.replace(path, record.to_svg()).await?;
            }
        }
        let finished = finished.ok()?;
        println!("{}", finished.get(report).expect("no node failed"));
        Ok(())
    })?
}

/// The page is fetched; from it are counted words and lines, while it is written to the disk; a report comes after all of them, and
/// not before the pause is over. The input of a run is the URL.
fn graph(engine: &Engine, to: PathBuf) -> Result<(Graph<String>, Node<String>)> {
    let (client, files, queue) = (HttpClient::new(engine), Files::of(engine), engine.compute("text")?);
    let mut graph = GraphBuilder::<String>::new("page");
    let url = graph.input();
    let page = graph.task("page", TaskKind::Network, url, move |url| {
        let request = client.get(url.as_str());
        async move { request.send().await?.error_for_status()?.bytes().await }
    });
    graph.retry(page, Retry::times(3));
    graph.deadline(page, Duration::from_secs(10));
    let words = graph.compute("words", &queue, page, |page| {
        let words = page.split(|byte| !byte.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        Ok(words.collect::<HashSet<_>>().len())
    });
    let lines =
        graph.compute("lines", &queue, page, |page| Ok(page.iter().filter(|byte| **byte == b'\n').count()));
    let copy = graph.task("copy", TaskKind::File, page, move |page| {
        let (files, to) = (files.clone(), to.clone());
        async move { files.replace(to, page.as_ref().clone()).await }
    });
    let pause = graph.task("pause", TaskKind::Timer, (), |()| async {
        sleep(PAUSE).await;
        Ok(())
    });
    let inputs = (words, lines, copy.after(), pause.after());
    let report = graph.task("report", TaskKind::Other, inputs, |(words, lines, (), ())| async move {
        Ok(format!("{words} different words in {lines} lines"))
    });
    Ok((graph.build(), report))
}

/// Long enough to be seen in the picture.
const PAUSE: Duration = Duration::from_millis(30);

fn own_url(engine: &Engine) -> Result<String> {
    let was_asked = AtomicBool::new(false);
    let running = HttpServer::new(engine).bind("127.0.0.1:0")?.serve(move |_: Request| {
        let page = (0..20_000).map(|line| format!("line {line} of a long page\n")).collect::<String>();
        let status = if was_asked.swap(true, Relaxed) { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
        std::future::ready(Response::text(page).with_status(status))
    })?;
    Ok(format!("http://{}/", running.local_addr()))
}
