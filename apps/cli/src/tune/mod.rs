//! `millstream tune`: the settings that act on what the doctor found, shown, applied and put back.

mod options;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};

use millstream::doctor::{Change, Report, Revert};
use millstream::{Error, Result};

use crate::doctor::{observe, say};
use crate::exit::Exit;

pub(crate) use options::Options;

const SETTINGS: &str = "/proc/sys";

/// Shows, applies or puts back.
pub(crate) fn run(options: &Options) -> Result<Exit> {
    if let Some(file) = &options.revert {
        return put_back(file);
    }
    if options.apply && !options.yes && !std::io::stdin().is_terminal() {
        return Err(Error::invalid("--apply asks first, and there is no terminal: say --yes"));
    }
    let report = Report::of(&observe(None, options.span)?);
    let changes = report.changes();
    say(&if options.json { json(&changes)? } else { text(&changes, report.diagnoses.len()) })?;
    if options.apply && !changes.is_empty() && (options.yes || is_wanted()?) {
        apply(&report, &changes, options)?;
    }
    Ok(Exit::Done)
}

fn json(changes: &[Change]) -> Result<String> {
    let text = serde_json::to_string(changes).map_err(|error| Error::io(error.into()))?;
    Ok(text + "\n")
}

fn text(changes: &[Change], diagnoses: usize) -> String {
    let mut text = String::new();
    for one in changes {
        let now = one.now.as_deref().unwrap_or("unknown");
        // A String takes everything.
        let _ = writeln!(text, "{} = {}   (now {now}; needs root)", one.name, one.proposed);
        let _ = writeln!(text, "  why       {}", one.why);
        let _ = writeln!(text, "  expected  {}; check: {}", one.expected, one.check);
    }
    if changes.is_empty() {
        let more = if diagnoses > 0 { "; `millstream doctor` says what else helps" } else { "" };
        let _ = writeln!(text, "No setting acts on what was found ({diagnoses} diagnoses){more}.");
    }
    text
}

fn is_wanted() -> Result<bool> {
    say("Change these now? [y/N] ")?;
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Error::io(error).with_target("standard input"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What was is on the disk before anything changes, as is the report that the next one can be compared with.
fn apply(report: &Report, changes: &[Change], options: &Options) -> Result<()> {
    let below = Path::new(SETTINGS);
    let revert = Revert::of(changes, below)?;
    let default = || PathBuf::from(format!("millstream-tune-{}.json", std::process::id()));
    let file = options.keep.clone().unwrap_or_else(default);
    let before = file.with_extension("before.json");
    keep(&file, &revert.to_json())?;
    keep(&before, &report.to_json())?;
    for change in changes {
        change.apply(below)?;
        say(&format!("{} = {}\n", change.name, change.proposed))?;
    }
    say(&format!("to put it back: millstream tune --revert {}\n", file.display()))?;
    let wait = match changes.iter().map(|change| change.within_s).max() {
        Some(seconds) if seconds > 0 => format!("after {seconds} s"),
        _ => "at once".to_owned(),
    };
    say(&format!("to see what came of it, {wait}: millstream doctor --since {}\n", before.display()))
}

/// Never over another: it may be the only way back.
fn keep(file: &Path, text: &str) -> Result<()> {
    let write = || {
        let mut file = File::create_new(file)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| Error::io(error).with_target(&*file.to_string_lossy()))
}

fn put_back(file: &Path) -> Result<Exit> {
    let name = file.to_string_lossy().into_owned();
    let text = fs::read_to_string(file).map_err(|error| Error::io(error).with_target(&*name))?;
    let revert = Revert::from_json(&text).map_err(|error| error.with_target(&*name))?;
    revert.apply(Path::new(SETTINGS))?;
    for (name, value) in &revert.was {
        say(&format!("{name} = {value}\n"))?;
    }
    Ok(Exit::Done)
}
