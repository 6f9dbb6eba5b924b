//! One act: a server, three clients, and the doctor, who looks so often that it sees every connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream::doctor::{EndpointRow, Observer, Report, Side};
use millstream::{Error, Kind, Origin, Result};

use super::cast::{Actor, CLIENTS, Manner};
use super::tally::{FirstError, Tally};

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) answered: u32,
    pub(crate) failed: u32,
    pub(crate) first_error: Option<FirstError>,
    /// What the doctor says in the end, while the actors are still there.
    pub(crate) report: Report,
}

/// How it stands, for those who watch.
pub(crate) struct Scene {
    pub(crate) seconds: f64,
    pub(crate) answered: u32,
    pub(crate) failed: u32,
    pub(crate) held: u32,
    /// The doctor's forecast.
    pub(crate) none_left_in_s: Option<u32>,
}

/// Shorter than the server takes to answer, so that hardly a connection lives and dies unseen: who held it is known only if it was
/// seen while it lived. (With four looks a second the doctor saw one in a hundred here, and guessed the others wrongly.)
const PAUSE: Duration = Duration::from_millis(30);
/// Between two scenes.
const SCENE: Duration = Duration::from_millis(500);
/// So many ports are tried for the server.
const SERVERS: u32 = 16;
/// So long no request ended, though each ends within [`PATIENCE`](super::play::PATIENCE): an actor hangs. Lateness is no such sign:
/// a busy machine plays slowly, and the count of requests bounds that.
const SILENCE: Duration = Duration::from_secs(15);

/// Plays it, in the network of this thread. `watch` is shown a scene twice a second.
///
/// # Errors
/// An actor can't be started or ends too early, or the kernel shows the doctor nothing.
pub(crate) fn play(
    at: SocketAddr,
    span: Duration,
    manner: Manner,
    mut watch: impl FnMut(&Scene),
) -> Result<Outcome> {
    let (mut server, address, mut observer) = open(at)?;
    let tally = Arc::new(Tally::new());
    let clients = CLIENTS.iter().map(|role| Actor::client(role, address, span, manner, &tally));
    let mut clients = clients.collect::<Result<Vec<_>>>()?;
    let (started, wanted) = (Instant::now(), CLIENTS.iter().map(|role| role.count(span)).sum::<u32>());
    let mut scenes = 0;
    let mut progress = (0, started);
    for look in 1u32.. {
        std::thread::sleep((PAUSE * look).saturating_sub(started.elapsed()));
        // Before the sample, so that the last one has seen all of it.
        let ended = tally.answered() + tally.failed();
        let is_over = ended >= wanted;
        observer.sample()?;
        if is_over || started.elapsed() >= SCENE * (scenes + 1) {
            scenes += 1;
            watch(&scene(&tally, &Report::of(&observer.observation()), started));
        }
        if is_over {
            break;
        }
        for actor in clients.iter_mut().chain([&mut server]) {
            if actor.is_lost() {
                return Err(actor.complaint());
            }
        }
        if ended > progress.0 {
            progress = (ended, Instant::now());
        }
        if progress.1.elapsed() > SILENCE {
            return Err(Error::new(Kind::Timeout, Origin::Local, "the actors do not come to an end"));
        }
    }
    Ok(Outcome {
        answered: tally.answered(),
        failed: tally.failed(),
        first_error: tally.first_error(),
        report: Report::of(&observer.observation()),
    })
}

/// The server, where it listens, and the doctor, who has looked once. A port that the kernel chose may be one of which others have left
/// TIME_WAIT within the last minute, and those would be counted as the clients': then it is another.
fn open(at: SocketAddr) -> Result<(Actor, SocketAddr, Observer)> {
    let mut tries = 0;
    loop {
        tries += 1;
        let (server, address) = Actor::server(at)?;
        let mut observer = Observer::new()?.endpoint(address);
        observer.sample()?;
        let is_alone = connecting(&Report::of(&observer.observation())).next().is_none();
        if is_alone || at.port() != 0 || tries == SERVERS {
            return Ok((server, address, observer));
        }
    }
}

fn scene(tally: &Tally, report: &Report, started: Instant) -> Scene {
    Scene {
        seconds: started.elapsed().as_secs_f64(),
        answered: tally.answered(),
        failed: tally.failed(),
        held: held(report),
        none_left_in_s: connecting(report).filter_map(|row| row.seconds_to_exhaustion).min(),
    }
}

/// Rows of the clients' side.
pub(crate) fn connecting(report: &Report) -> impl Iterator<Item = &EndpointRow> {
    report.endpoints.iter().filter(|row| row.side == Side::Connecting)
}

/// How many local ports the clients hold. The doctor's own count leaves out those that the kernel would not choose by itself, as
/// are those of a window on loopback.
pub(crate) fn held(report: &Report) -> u32 {
    connecting(report).map(|row| row.used.max(row.established + row.time_wait + row.close_wait)).sum()
}

/// How many of them are TIME_WAIT.
pub(crate) fn time_wait(report: &Report) -> u32 {
    connecting(report).map(|row| row.time_wait).sum()
}
