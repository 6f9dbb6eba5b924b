//! `millstream demo time-wait`: the incident, the doctor's verdict, the cure, and both side by side.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use millstream::doctor::{Confidence, Holder, Report, Verdict};
use millstream::{Error, Kind, Origin, Result};

use crate::doctor::say;
use crate::exit::{Exit, complain};

use super::act::{self, Outcome, Scene};
use super::cast::{Actor, CLIENTS, Manner};
use super::options::TimeWait;
use super::room::{self, PORTS};
use super::window;

/// Where it is played.
enum Stage {
    /// In a network of its own, made anew for each act.
    Room,
    /// On loopback, with the window of ports that begins here.
    Loopback(u16),
}

/// Plays it.
pub(crate) fn run(options: &TimeWait, is_quiet: bool) -> Result<Exit> {
    let stage = stage(options)?;
    let show = |text: &str| if is_quiet { Ok(()) } else { say(text) };
    let watch = |scene: &Scene| {
        // Who does not read any more is told by the next part.
        let _ = show(&line(scene));
    };
    show(&opening(&stage))?;
    let manner = match stage {
        Stage::Room => Manner::Short,
        Stage::Loopback(first) => Manner::ShortFrom(first),
    };
    let before = act::play(enter(&stage)?, options.span, manner, watch)?;
    say(&verdict(&before, &stage))?;
    show(&turn(&stage))?;
    let after = act::play(enter(&stage)?, options.span, Manner::Keeping, watch)?;
    say(&table(&before, &after, &stage))?;
    Ok(judge(&before, &after))
}

fn stage(options: &TimeWait) -> Result<Stage> {
    let why = match options.on_loopback {
        true => None,
        false => match Actor::probe() {
            Ok(()) => return Ok(Stage::Room),
            Err(why) => Some(why),
        },
    };
    if let Some(why) = why {
        complain(&format!("no network of its own ({why}): it is played on loopback"));
    }
    let none = || Error::new(Kind::Io, Origin::Local, "no window of 100 free ports was found on loopback");
    window::find().map(Stage::Loopback).ok_or_else(none)
}

/// Makes the stage ready for an act; gives where the server is to listen.
fn enter(stage: &Stage) -> Result<SocketAddr> {
    match stage {
        Stage::Room => room::enter().map(|()| room::server()),
        Stage::Loopback(_) => Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
    }
}

fn opening(stage: &Stage) -> String {
    let place = match stage {
        Stage::Room => format!("In a network of its own, with {PORTS} local ports instead of 28,232"),
        Stage::Loopback(first) => {
            format!("On loopback, with the {PORTS} local ports from {first} instead of 28,232")
        }
    };
    let clients: Vec<_> = CLIENTS.iter().map(|role| format!("{} {}", role.name, role.per_second)).collect();
    let rate: u32 = CLIENTS.iter().map(|role| role.per_second).sum();
    format!(
        "{place}: three programs ask one server, {rate} requests a second ({}).\n\n\
         1. Each request has a connection of its own, and the client closes it first.\n   \
         Its port then stays in TIME_WAIT for 60 s: more than {PORTS} / 60 = {:.1} a second can't go on.\n\n",
        clients.join(", "),
        f64::from(PORTS) / 60.0
    )
}

/// `   1.5 s  [######..............]  33 of 100 ports held    33 answered    0 failed`.
fn line(scene: &Scene) -> String {
    const CELLS: usize = 20;
    let full = (scene.held as usize * CELLS).div_ceil(PORTS.into()).min(CELLS);
    let forecast = match scene.none_left_in_s {
        Some(seconds) if seconds > 0 => format!("   none left in {seconds} s"),
        _ => String::new(),
    };
    format!(
        "{:>6.1} s  [{}{}] {:>3} of {PORTS} ports held  {:>4} answered  {:>4} failed{forecast}\n",
        scene.seconds,
        "#".repeat(full),
        ".".repeat(CELLS - full),
        scene.held,
        scene.answered,
        scene.failed,
    )
}

/// The first error, and what the doctor says.
fn verdict(before: &Outcome, stage: &Stage) -> String {
    let mut text = String::from("\n");
    // A String takes everything: writing to it can't fail.
    if let Some(first) = &before.first_error {
        let _ = writeln!(
            text,
            "The first error came after {:.1} s, in {}: {}",
            first.seconds, first.client, first.text
        );
    }
    match stage {
        Stage::Room => {
            let _ = writeln!(text, "What `millstream doctor` says: {}", word(&before.report));
        }
        // Its verdict is about the whole host, which has other ports, and other programs.
        Stage::Loopback(_) => text.push_str("What `millstream doctor` sees:\n"),
    }
    for row in act::connecting(&before.report) {
        let holders: Vec<_> = row.processes.iter().map(holder).collect();
        let unknown = if row.unknown > 0 { format!(", unknown {}", row.unknown) } else { String::new() };
        let _ = writeln!(
            text,
            "  {} -> {}: {} ports held, {} of them in TIME_WAIT, by {}{unknown}",
            row.local,
            row.remote,
            act::held(&before.report),
            row.time_wait,
            holders.join(", ")
        );
    }
    if let Stage::Room = stage {
        write_diagnoses(&mut text, &before.report);
    }
    text
}

fn write_diagnoses(text: &mut String, report: &Report) {
    for one in &report.diagnoses {
        let _ = writeln!(text, "  {}: {}", one.rule, one.cause);
        if let Some(first) = one.remedies.first() {
            let _ = writeln!(text, "  do: {}\n      expect {}", first.text, first.expected);
        }
        if let Some(not) = one.not.first() {
            let _ = writeln!(text, "  not: {not}");
        }
    }
}

/// `web-shop 44 (pid 12)`; what is only probable is called so.
fn holder(one: &Holder) -> String {
    let sure = if one.confidence == Confidence::Certain { "" } else { ", probable" };
    format!("{} {} (pid {}{sure})", one.name, one.sockets, one.pid)
}

fn turn(stage: &Stage) -> String {
    let place = match stage {
        Stage::Room => " A fresh network stands for the 60 s that the ports take to come back.",
        Stage::Loopback(_) => "",
    };
    format!(
        "\n2. The same programs, requests and rate, over millstream's client: it keeps its connections.{place}\n\n"
    )
}

fn table(before: &Outcome, after: &Outcome, stage: &Stage) -> String {
    let mut text = format!("\n{:<34} {:>10} {:>10}\n", "", "before", "after");
    let mut row = |name: &str, of: &dyn Fn(&Outcome) -> String| {
        let _ = writeln!(text, "{name:<34} {:>10} {:>10}", of(before), of(after));
    };
    row("requests", &|one| (one.answered + one.failed).to_string());
    row("failed", &|one| one.failed.to_string());
    row("local ports held", &|one| act::held(&one.report).to_string());
    row("of them in TIME_WAIT", &|one| act::time_wait(&one.report).to_string());
    if let Stage::Room = stage {
        row("doctor", &|one| word(&one.report).to_owned());
    }
    text
}

fn word(report: &Report) -> &'static str {
    match report.verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Critical => "critical",
        _ => "unknown",
    }
}

fn judge(before: &Outcome, after: &Outcome) -> Exit {
    match (before.failed, after.failed) {
        (0, _) => complain("no request failed in the first act: this machine was too slow to ask so often"),
        (_, 0) => return Exit::Done,
        (_, _) => complain("requests failed in the second act as well"),
    }
    Exit::Failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_shows_how_full_it_is() {
        let mut scene = Scene { seconds: 1.5, answered: 33, failed: 0, held: 33, none_left_in_s: Some(2) };
        let text = line(&scene);
        assert!(text.contains("[#######.............]  33 of 100"), "{text}");
        assert!(text.ends_with("none left in 2 s\n"), "{text}");
        // With more than there is, as when another program has some: full, not a panic.
        (scene.held, scene.none_left_in_s) = (130, Some(0));
        assert!(line(&scene).contains("[####################] 130 of 100"), "{}", line(&scene));
    }
}
