//! `millstream bench`: loads a URL and tells how it went, connections included.

mod html;
mod latency;
mod load;
mod options;
mod progress;
mod report;
mod schedule;
mod tally;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use millstream::http::HttpClient;
use millstream::http::client::HttpClientOptions;
use millstream::{Engine, Error, Kind, Origin, Result};
use tokio::sync::watch;

use crate::exit::Exit;
use crate::signals::Signals;

use load::Run;
pub(crate) use options::Options;
use report::Report;
use tally::Tally;

/// Loads, and prints the report.
pub(crate) fn run(options: Options, is_quiet: bool) -> Result<Exit> {
    let engine = Engine::builder().workers(options.workers().into()).build()?;
    let client = client(&options, &engine)?;
    let (is_json, html) = (options.json, options.html.clone());
    let report = engine.run(async move |engine| load_all(engine, client, options, is_quiet).await)??;
    if let Some(path) = html {
        let failed = |error: std::io::Error| {
            let why = format!("can't write {}", path.display());
            Error::new(Kind::Io, Origin::Local, why).with_source(error)
        };
        std::fs::write(&path, html::page(&report)).map_err(failed)?;
    }
    print(&if is_json { report.json() } else { report.text() })?;
    Ok(if report.has_errors() { Exit::Warning } else { Exit::Done })
}

fn print(text: &str) -> Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}").map_err(Error::io)
}

/// As many connections as callers; no retries, which would hide errors; no proxy between.
fn client(options: &Options, engine: &Engine) -> Result<HttpClient> {
    let mut settings = HttpClientOptions::default();
    settings.client.max_open = options.connections.into();
    settings.client.retries = false;
    settings.max_redirects = 0;
    let mut client = HttpClient::builder().options(settings).without_decompression().without_proxies();
    if options.insecure {
        client = client.danger_accept_invalid_certificates();
    }
    client.build(engine)
}

async fn load_all(engine: Engine, client: HttpClient, options: Options, is_quiet: bool) -> Result<Report> {
    let mut signals = Signals::new()?;
    let lives = millstream::server::lives(&engine);
    let (stop, _) = watch::channel(false);
    let start = Instant::now();
    let run = Arc::new(Run {
        until: options.span().map(|span| start + span),
        left: options.requests.map(AtomicU64::new),
        answered: AtomicBool::new(false),
        ended: engine.workers().iter().map(|_| AtomicU64::new(0)).collect(),
        client,
        options,
        start,
    });
    let lanes: Vec<_> = engine
        .workers()
        .iter()
        .enumerate()
        .map(|(number, worker)| {
            let (run, stop) = (run.clone(), stop.clone());
            worker.spawn(async move || load::load(run, number, stop).await)
        })
        .collect();
    let all = async {
        let mut total = Tally::new();
        for lane in lanes {
            total.add(lane.await??);
        }
        Ok::<_, Error>(total)
    };
    let shown = progress::show(&run, is_quiet);
    tokio::pin!(all);
    let outcome = tokio::select! {
        outcome = &mut all => outcome,
        _ = signals.next() => {
            stop.send_replace(true);
            all.await
        }
        () = shown => unreachable!("progress is shown until it is dropped"),
    };
    Ok(Report::new(outcome?, &lives.counts(), start.elapsed(), &run.options))
}
