//! Our HTTP server beside its peers: CPU a request, throughput, latency, in three ways of asking.

use std::fmt::Write;

use anyhow::Result;

use super::Options;
use super::build::Built;
use super::figures::{Ratio, median, table};
use super::load::{Mode, Run};
use super::round::Round;
use super::server::Subject;

const SUBJECTS: [Subject; 6] =
    [Subject::Ours, Subject::Floor, Subject::HyperPerCore, Subject::Nginx, Subject::Axum, Subject::Actix];

const MODES: [(Mode, &str); 3] = [
    (Mode::KeepAlive, "Keep-alive, one request at a time on each of 64 connections"),
    (Mode::Pipelined, "Pipelined, 16 requests at a time"),
    (Mode::Close, "`Connection: close`, a connection a request"),
];

/// Runs by subject and mode, in the order of the rounds.
type Runs = [[Vec<Run>; MODES.len()]; SUBJECTS.len()];

/// Measures, and gives the tables.
pub(super) fn measure(built: &Built, options: &Options) -> Result<String> {
    let mut runs = Runs::default();
    for number in 0..options.rounds {
        let mut round = Round::start(built, &SUBJECTS, number, |name| options.wants(name))?;
        for (index, (mode, _)) in MODES.iter().enumerate() {
            for (place, run) in round.load(*mode, slices(options, *mode))? {
                let (name, us) = (SUBJECTS[place].name(), run.total_us());
                println!("  {name:14} {mode:?}: {us:.2} µs, {:.0} requests/s", run.per_second);
                runs[place][index].push(run);
            }
        }
        println!("round {} of {} is done", number + 1, options.rounds);
    }
    Ok(report(&runs))
}

/// Seconds for each server in a round.
fn slices(options: &Options, mode: Mode) -> usize {
    match mode {
        _ if options.quick => 1,
        Mode::KeepAlive => 5,
        Mode::Pipelined | Mode::Close => 3,
    }
}

fn report(runs: &Runs) -> String {
    let mut text = String::from(
        "Server on core 0 with one worker, wrk on core 1, a second each in turn. CPU is the server's own, in µs a\n\
         request. Medians of the rounds.\n",
    );
    for (mode, (_, title)) in MODES.iter().enumerate() {
        let _ = write!(text, "\n### {title}\n\n{HEAD}");
        for (subject, runs) in SUBJECTS.iter().zip(runs) {
            text += &row(*subject, &runs[mode]);
        }
    }
    let _ = write!(text, "\n### Ratios, Millstream / peer\n\n{}", table(&ratios(runs)));
    text
}

const HEAD: &str = "| server | user | system | CPU | requests/s | p50 µs | p99 µs | errors |\n\
                    | --- | --- | --- | --- | --- | --- | --- | --- |\n";

fn row(subject: Subject, runs: &[Run]) -> String {
    let label = subject.label();
    if runs.is_empty() {
        return format!("| {label} | not built or not asked for | | | | | | |\n");
    }
    let middle = |value: fn(&Run) -> f64| median(runs.iter().map(value));
    format!(
        "| {label} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} | {:.0} |\n",
        middle(Run::user_us),
        middle(Run::system_us),
        middle(Run::total_us),
        middle(|run| run.per_second),
        middle(|run| run.p50_us),
        middle(|run| run.p99_us),
        runs.iter().map(|run| run.errors).sum::<f64>(),
    )
}

/// What must hold, and what is good to know.
fn ratios(runs: &Runs) -> Vec<Ratio> {
    let values = |subject: Subject, mode: Mode, value: fn(&Run) -> f64| -> Vec<f64> {
        let of_subject = SUBJECTS.iter().position(|known| *known == subject).map(|index| &runs[index]);
        let of_mode = MODES.iter().position(|(known, _)| *known == mode);
        let found = of_subject.zip(of_mode).map(|(runs, mode)| runs[mode].as_slice());
        found.unwrap_or_default().iter().map(value).collect()
    };
    let ratio = |wanted: &Wanted| {
        let ours = values(Subject::Ours, wanted.mode, wanted.value);
        let theirs = values(wanted.peer, wanted.mode, wanted.value);
        let what = format!("{} / {}", wanted.what, wanted.peer.label());
        Ratio::new(what, &ours, &theirs, wanted.at_most)
    };
    WANTED.iter().map(ratio).collect()
}

/// A ratio to print, and what it may be at most.
struct Wanted {
    what: &'static str,
    mode: Mode,
    value: fn(&Run) -> f64,
    peer: Subject,
    at_most: Option<f64>,
}

const fn cpu(what: &'static str, mode: Mode, peer: Subject, at_most: Option<f64>) -> Wanted {
    Wanted { what, mode, value: Run::total_us, peer, at_most }
}

const WANTED: [Wanted; 11] = [
    cpu("CPU", Mode::KeepAlive, Subject::Floor, Some(1.06)),
    cpu("CPU", Mode::KeepAlive, Subject::HyperPerCore, Some(0.95)),
    cpu("CPU", Mode::KeepAlive, Subject::Nginx, Some(0.95)),
    cpu("CPU", Mode::KeepAlive, Subject::Axum, Some(0.85)),
    cpu("CPU", Mode::KeepAlive, Subject::Actix, None),
    Wanted {
        what: "user-space CPU",
        mode: Mode::KeepAlive,
        value: Run::user_us,
        peer: Subject::HyperPerCore,
        at_most: Some(0.7),
    },
    cpu("pipelined 16, CPU", Mode::Pipelined, Subject::HyperPerCore, Some(0.75)),
    cpu("pipelined 16, CPU", Mode::Pipelined, Subject::Floor, None),
    cpu("close, CPU", Mode::Close, Subject::HyperPerCore, None),
    cpu("close, CPU", Mode::Close, Subject::Nginx, None),
    cpu("close, CPU", Mode::Close, Subject::Floor, None),
];
