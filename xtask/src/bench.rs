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

use build::Built;

/// What to measure, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    parts: Vec<&'static Part>,
    rounds: usize,
    quick: bool,
    urgent: bool,
    /// Only these subjects; all if empty.
    only: Vec<String>,
}

/// One comparison.
#[derive(Debug)]
struct Part {
    /// As it is asked for.
    name: &'static str,
    /// Its section of the results.
    title: &'static str,
    what: &'static str,
    /// Which of our programs it needs: an example, or none but what stands beside the peers.
    example: Option<&'static str>,
    measure: fn(&Built, &Options) -> Result<String>,
}

const HELLO: Option<&str> = Some("01_hello");

static PARTS: [Part; 9] = [
    Part {
        name: "http",
        title: "HTTP server",
        what: "our HTTP server beside raw epoll, hyper, axum, actix-web and nginx",
        example: HELLO,
        measure: http::measure,
    },
    Part {
        name: "http-client",
        title: "HTTP client",
        what: "our HTTP client beside raw epoll, hyper-util and reqwest",
        example: Some("02_fetch"),
        measure: client::measure,
    },
    Part {
        name: "memory",
        title: "Memory of idle keep-alive connections",
        what: "memory of idle keep-alive connections",
        example: HELLO,
        measure: memory::measure,
    },
    Part {
        name: "latency",
        title: "Latency beside slow and computing requests",
        what: "p99 of quick requests beside slow and computing ones",
        example: HELLO,
        measure: latency::measure,
    },
    Part {
        name: LOAD,
        title: "Load generator",
        what: "millstream bench beside wrk",
        example: None,
        measure: generator::measure,
    },
    Part {
        name: "compute",
        title: "Compute pool",
        what: "jobs of queues, and sorting, beside rayon",
        example: None,
        measure: compute::measure,
    },
    Part {
        name: "flow",
        title: "Flows",
        what: "steps of series and nodes of graphs beside the spawns of rayon and tokio",
        example: None,
        measure: flow::measure,
    },
    Part {
        name: "file",
        title: "Files",
        what: "reads beside preadv2, spawn_blocking and fio",
        example: None,
        measure: file::measure,
    },
    Part {
        name: "timers",
        title: "Timers",
        what: "a million timers beside tokio's",
        example: None,
        measure: timers::measure,
    },
];

/// The one part that needs the program itself.
const LOAD: &str = "load";

/// A line for each part.
pub(crate) fn usage() -> String {
    PARTS.iter().map(|part| format!("  bench {:<16} {}\n", part.name, part.what)).collect()
}

fn names() -> String {
    PARTS.each_ref().map(|part| part.name).join(", ")
}

impl Options {
    /// From the words after `bench`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options =
            Self { parts: Vec::new(), rounds: 0, quick: false, urgent: false, only: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match *word {
                "all" => options.parts.extend(&PARTS),
                "--urgent" => options.urgent = true,
                "--quick" => options.quick = true,
                "--rounds" => options.rounds = value()?.parse().context("--rounds needs a number")?,
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                name => match PARTS.iter().find(|part| part.name == name) {
                    Some(part) => options.parts.push(part),
                    None => bail!("`{name}` is no bench: {} or all", names()),
                },
            }
        }
        if options.parts.is_empty() {
            bail!("which bench? {} or all", names());
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
        let mut examples: Vec<_> = self.parts.iter().filter_map(|part| part.example).collect();
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
    let wants_program = options.parts.iter().any(|part| part.name == LOAD);
    let launcher = launcher::Launcher::new(options.urgent);
    let built = build::all(root, &options.examples(), wants_program, launcher)?;
    for Part { name, title, measure, .. } in &options.parts {
        let watch = machine::Watch::start();
        let text = measure(&built, options)?;
        let others = watch.others();
        println!("\n## {title}\n\n{text}\nothers used {:.0} % of the cores meanwhile", 100.0 * others);
        if options.is_full() {
            results::keep(root, title, &machine::describe(root, &options.command(name), others), &text)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
