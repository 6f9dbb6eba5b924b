//! The actors: each is this program again, and ends when its standard input does, so that none outlives the play.

use std::ffi::CString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use millstream::http::{HttpClient, HttpServer, Request};
use millstream::{Engine, Error, Result};

use crate::exit::Exit;

use super::options::{Client, Part};
use super::{room, tally};

/// Plays a part.
pub(crate) fn run(part: Part) -> Result<Exit> {
    match part {
        Part::Probe => room::enter().map(|()| Exit::Done),
        Part::Server { at } => {
            call_me("server");
            end_with_the_play();
            serve(at)
        }
        Part::Client(client) => {
            call_me(&client.name);
            end_with_the_play();
            if client.keeps { ask_with_the_engine(client) } else { ask_anew(&client) }
        }
    }
}

/// What an answer holds.
const ANSWER: &str = "hello\n";
/// How long the server takes: as one with a database behind it, and less than the 50 ms between two requests of the busiest client.
const WORK: Duration = Duration::from_millis(35);
/// On loopback everything else is over in less than a millisecond, unless the machine stands still.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

fn call_me(name: &str) {
    // Only for those who look: without it the part is played all the same.
    let _ = CString::new(name).map(|name| rustix::thread::set_name(&name));
}

/// A thread that waits for the end of standard input.
fn end_with_the_play() {
    std::thread::spawn(|| {
        // An error is an end as well.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        Exit::Done.now()
    });
}

fn serve(at: SocketAddr) -> Result<Exit> {
    let engine = Engine::builder().workers(1).build()?;
    engine.run(async move |engine| {
        let server = HttpServer::new(&engine).bind(&at.to_string())?;
        let running = server.serve(async |_: Request| {
            tokio::time::sleep(WORK).await;
            ANSWER
        })?;
        say(&running.local_addr().to_string());
        running.stopped().await;
        Ok(Exit::Done)
    })?
}

/// When each request is due, so that a slow one does not make them fewer.
fn due(client: &Client, started: Instant, at: u32) -> Duration {
    let span = Duration::from_millis(client.span_ms);
    (span * at / client.count.max(1)).saturating_sub(started.elapsed())
}

/// As programs do that know of no pool: a connection for each request, closed as soon as the answer is there.
fn ask_anew(client: &Client) -> Result<Exit> {
    let started = Instant::now();
    for at in 0..client.count {
        std::thread::sleep(due(client, started, at));
        let outcome = ask_once(client).map_err(|error| error.to_string());
        say(&tally::line(&outcome));
    }
    wait_for_the_end()
}

fn ask_once(client: &Client) -> std::io::Result<()> {
    let mut conn = connect(client)?;
    conn.set_read_timeout(Some(PATIENCE))?;
    write!(conn, "GET / HTTP/1.1\r\nHost: {}\r\n\r\n", client.server)?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(ANSWER.as_bytes()) {
        match conn.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            size => answer.extend(piece.iter().take(size)),
        }
        if answer.len() > 64 * piece.len() {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
    }
    // Dropped here, before the server closes: TIME_WAIT is ours.
    Ok(())
}

fn connect(client: &Client) -> std::io::Result<TcpStream> {
    match client.window {
        None => TcpStream::connect_timeout(&client.server, PATIENCE),
        Some(first) => super::window::connect(client.server, first),
    }
}

/// The same requests, over this engine's client, which keeps its connections.
fn ask_with_the_engine(client: Client) -> Result<Exit> {
    let engine = Engine::builder().workers(1).build()?;
    engine.run(async move |engine| {
        let http = HttpClient::builder().without_proxies().timeout(PATIENCE).build(&engine)?;
        let (url, started) = (format!("http://{}/", client.server), Instant::now());
        for at in 0..client.count {
            tokio::time::sleep(due(&client, started, at)).await;
            let outcome = fetch(&http, &url).await.map_err(|error| error.to_string());
            say(&tally::line(&outcome));
        }
        // The connection stays open while others look.
        std::future::pending::<()>().await;
        Ok::<_, Error>(Exit::Done)
    })?
}

async fn fetch(http: &HttpClient, url: &str) -> Result<()> {
    http.get(url).send().await?.error_for_status()?.bytes().await.map(drop)
}

fn wait_for_the_end() -> ! {
    loop {
        // The thread that waits for the end of the input ends the process.
        std::thread::park();
    }
}

/// A line to who has started us; who does not listen any more ends us soon.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
