//! `cargo xtask bench`: Millstream beside its peers, in turn, on one machine, in one run. Ratios are what counts.

mod build;
mod client;
mod compute;
mod cpu;
mod figures;
mod file;
mod flow;
mod generator;
mod http;
mod latency;
mod launcher;
mod lines;
mod load;
mod machine;
mod memory;
mod results;
mod round;
mod server;
mod timers;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

/// What to measure, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    parts: Vec<Part>,
    rounds: usize,
    quick: bool,
    urgent: bool,
    /// Only these subjects; all if empty.
    only: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Http,
    HttpClient,
    Memory,
    Latency,
    Load,
    Compute,
    Flow,
    File,
    Timers,
}

const PARTS: [(&str, Part); 9] = [
    ("http", Part::Http),
    ("http-client", Part::HttpClient),
    ("memory", Part::Memory),
    ("latency", Part::Latency),
    ("load", Part::Load),
    ("compute", Part::Compute),
    ("flow", Part::Flow),
    ("file", Part::File),
    ("timers", Part::Timers),
];

impl Options {
    /// From the words after `bench`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options =
            Self { parts: Vec::new(), rounds: 0, quick: false, urgent: false, only: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match *word {
                "all" => options.parts.extend(PARTS.map(|(_, part)| part)),
                "--urgent" => options.urgent = true,
                "--quick" => options.quick = true,
                "--rounds" => options.rounds = value()?.parse().context("--rounds needs a number")?,
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                name => match PARTS.iter().find(|(known, _)| *known == name) {
                    Some((_, part)) => options.parts.push(*part),
                    None => bail!(
                        "`{name}` is no bench: http, http-client, memory, latency, load, compute, flow, file, timers or all"
                    ),
                },
            }
        }
        if options.parts.is_empty() {
            bail!(
                "which bench? http, http-client, memory, latency, load, compute, flow, file, timers or all"
            );
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 1 } else { 5 };
        }
        Ok(options)
    }

    fn wants(&self, subject: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == subject)
    }

    /// Our programs that the parts need.
    fn examples(&self) -> Vec<&'static str> {
        let example = |part: &Part| match part {
            Part::HttpClient => Some("02_fetch"),
            Part::Load | Part::Compute | Part::Flow | Part::File | Part::Timers => None,
            _ => Some("01_hello"),
        };
        let mut examples: Vec<_> = self.parts.iter().filter_map(example).collect();
        examples.sort_unstable();
        examples.dedup();
        examples
    }

    /// Is it a full run, whose result is worth keeping?
    fn is_full(&self) -> bool {
        !self.quick && self.only.is_empty()
    }

    /// What was typed, for the record.
    fn command(&self, part: &str) -> String {
        let urgent = if self.urgent { " --urgent" } else { "" };
        format!("cargo xtask bench {part} --rounds {}{urgent}", self.rounds)
    }
}

/// Builds everything, measures the parts that were asked for, prints and keeps the tables.
pub(crate) fn run(root: &Path, options: &Options) -> Result<ExitCode> {
    let wants_program = options.parts.contains(&Part::Load);
    let launcher = launcher::Launcher::new(options.urgent);
    let built = build::all(root, &options.examples(), wants_program, launcher)?;
    for part in &options.parts {
        let (title, name) = match part {
            Part::Http => ("HTTP server", "http"),
            Part::HttpClient => ("HTTP client", "http-client"),
            Part::Memory => ("Memory of idle keep-alive connections", "memory"),
            Part::Latency => ("Latency beside slow and computing requests", "latency"),
            Part::Load => ("Load generator", "load"),
            Part::Compute => ("Compute pool", "compute"),
            Part::Flow => ("Flows", "flow"),
            Part::File => ("Files", "file"),
            Part::Timers => ("Timers", "timers"),
        };
        let watch = machine::Watch::start();
        let text = match part {
            Part::Http => http::measure(&built, options)?,
            Part::HttpClient => client::measure(&built, options)?,
            Part::Memory => memory::measure(&built, options)?,
            Part::Latency => latency::measure(&built, options)?,
            Part::Load => generator::measure(&built, options)?,
            Part::Compute => compute::measure(&built, options)?,
            Part::Flow => flow::measure(&built, options)?,
            Part::File => file::measure(&built, options)?,
            Part::Timers => timers::measure(&built, options)?,
        };
        let others = watch.others();
        println!("\n## {title}\n\n{text}\nothers used {:.0} % of the cores meanwhile", 100.0 * others);
        if options.is_full() {
            results::keep(root, title, &machine::describe(root, &options.command(name), others), &text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
