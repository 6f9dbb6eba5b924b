//! What `millstream demo` is told.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::span;

/// Plays a well-known incident on this machine, explains it, and shows the cure
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) play: Play,
}

#[derive(Subcommand)]
pub(crate) enum Play {
    TimeWait(TimeWait),
    /// What an actor is started as; nothing for people.
    #[command(hide = true)]
    Part(PartOptions),
}

/// Short connections use up all local ports, and what ends that
///
/// Three programs ask a server, each request on a connection of its own, until no local port is left and requests fail with
/// "Cannot assign requested address". The doctor says whose the ports are and why. Then the same programs ask at the same rate
/// and keep their connections. It happens in a network of its own, with 100 local ports: nothing else on this machine notices.
/// Without the right to make one it happens on loopback, with 100 ports that are used by nobody; they stay in TIME_WAIT for
/// 60 s. Exits with 0 if the requests failed before and none does after, otherwise with 1.
#[derive(Args)]
pub(crate) struct TimeWait {
    /// How long each of the two acts lasts, 3 s to 8 s
    #[arg(long = "for", value_name = "SPAN", default_value = "5s", value_parser = act_span)]
    pub(crate) span: Duration,
    /// Uses a hundred ports of loopback even where a network of its own could be made
    #[arg(long)]
    pub(crate) on_loopback: bool,
}

/// Shorter, and the ports are not used up; longer, and the whole takes more than 20 s.
fn act_span(text: &str) -> Result<Duration, String> {
    let span = span::parse(text)?;
    let is_fit = (Duration::from_secs(3)..=Duration::from_secs(8)).contains(&span);
    is_fit.then_some(span).ok_or_else(|| "want 3s to 8s".to_owned())
}

#[derive(Args)]
pub(crate) struct PartOptions {
    #[command(subcommand)]
    pub(crate) part: Part,
}

/// Who an actor is.
#[derive(Subcommand)]
pub(crate) enum Part {
    /// Tries to make a room; its exit code says whether it could.
    Probe,
    /// Answers, at this address.
    Server { at: SocketAddr },
    /// Asks.
    Client(Client),
}

#[derive(Args)]
pub(crate) struct Client {
    /// Its name, as the doctor shall see it.
    pub(crate) name: String,
    pub(crate) server: SocketAddr,
    /// How many requests.
    pub(crate) count: u32,
    /// In how many milliseconds.
    pub(crate) span_ms: u64,
    /// Keeps its connections.
    #[arg(long)]
    pub(crate) keeps: bool,
    /// Takes its ports from the window of a hundred that begins here.
    #[arg(long)]
    pub(crate) window: Option<u16>,
}
