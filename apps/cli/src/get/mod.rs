//! `millstream get`: URLs to standard output or files.

mod data;
pub(crate) mod options;
mod plan;
mod progress;
mod resume;
mod sink;
mod transfer;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use millstream::http::{HttpClient, Url};
use millstream::{Engine, Error, Result, spawn_local};

use crate::exit::{Exit, complain};

use data::Data;
pub(crate) use options::Options;
use options::Way;
use plan::{Job, Place, plan};
use progress::Progress;
use sink::Writers;
use transfer::Transfer;

/// Fetches all URLs, some at once. One line for each that failed.
pub(crate) fn run(options: Options, is_quiet: bool) -> Result<Exit> {
    // Heads are to be looked at: none of them is the file that its URL names.
    let shown = Path::new("-");
    let output = options.output.as_deref().or(options.head.then_some(shown));
    let jobs = plan(&options.urls, output)?;
    let data = data(&options)?;
    let engine = Engine::builder().workers(1).build()?;
    let client = client(&options, &engine)?;
    let (writers, gone) = Writers::new();
    let lanes = Lanes {
        options,
        data,
        client,
        progress: Progress::new(&jobs, is_quiet),
        jobs: RefCell::default(),
        exit: Cell::new(Exit::Done),
        writers,
    };
    let exit = engine.run(async move |_| lanes.fetch_all(jobs).await)?;
    // What is broken off is still being written: the more of it, the less has to be fetched again.
    let _ = gone.recv_timeout(WRITERS_WAIT);
    // Not by return: a thread may be stuck in writing to somebody who does not read.
    exit.now()
}

/// How long the end waits for what is written.
const WRITERS_WAIT: Duration = Duration::from_secs(1);

/// What is shared by all that fetch at once.
struct Lanes {
    client: HttpClient,
    options: Options,
    data: Option<Data>,
    jobs: RefCell<VecDeque<Job>>,
    progress: Progress,
    exit: Cell<Exit>,
    writers: Writers,
}

impl Lanes {
    async fn fetch_all(self, jobs: Vec<Job>) -> Exit {
        // Bodies on standard output come one behind the other.
        let is_in_order = jobs.iter().any(|job| job.place == Place::Stdout);
        let at_once = if is_in_order { 1 } else { usize::from(self.options.parallel).min(jobs.len()) };
        self.jobs.borrow_mut().extend(jobs);
        let this = Rc::new(self);
        let lanes: Vec<_> = (0..at_once).map(|_| spawn_local(this.clone().fetch_in_turn())).collect();
        for lane in lanes {
            if !matches!(lane.await, Ok(Ok(()))) {
                this.exit.set(Exit::Failed);
            }
        }
        this.exit.get()
    }

    async fn fetch_in_turn(self: Rc<Self>) {
        loop {
            let Some(job) = self.jobs.borrow_mut().pop_front() else { return };
            let bar = self.progress.bar(&job);
            let (client, options, writers) = (&self.client, &self.options, &self.writers);
            let data = self.data.as_ref();
            let until = options.deadline.and_then(|deadline| Instant::now().checked_add(deadline));
            let transfer = Transfer { client, options, data, job: &job, bar: &bar, writers, until };
            match transfer.run().await {
                Ok(()) => bar.finish(),
                Err(error) if sink::is_unread(&error) => {
                    // As if the signal that says so had ended the program: nothing to say, nothing more to do.
                    self.exit.set(Exit::Signal(SIGPIPE));
                    return self.jobs.borrow_mut().clear();
                }
                Err(error) => self.on_error(&job, &error),
            }
        }
    }

    fn on_error(&self, job: &Job, error: &Error) {
        self.exit.set(Exit::Failed);
        let is_kept = match &job.place {
            Place::File(path) => resume::is_remembered(&sink::draft(path)),
            Place::Stdout => false,
        };
        let hint = if is_kept { " (what arrived is kept: --resume goes on with it)" } else { "" };
        self.progress.say(|| complain(&format!("{}{hint}", line(&job.url, error))));
    }
}

/// A URL as it may be shown to anybody: without credentials and query.
fn place(url: &Url) -> String {
    let mut text = url.to_string();
    text.truncate(text.find('?').unwrap_or(text.len()));
    text
}

/// What went wrong, under the URL that was asked for; the call is named only where that says more (behind a redirect).
fn line(url: &Url, error: &Error) -> String {
    let asked = place(url);
    let text = error.to_string();
    let target = error.target().unwrap_or_default();
    let rest = text.strip_prefix(target).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text);
    if !target.contains("://") || target == asked {
        return format!("{asked}: {rest}");
    }
    // `GET http://host/path`, perhaps with the proxy behind it.
    let way = target.split_once(' ').and_then(|(_method, place)| place.strip_prefix(&*asked));
    match way {
        Some(way) if way.is_empty() || way.starts_with(' ') => format!("{asked}{way}: {rest}"),
        _ => format!("{asked}: {text}"),
    }
}

/// What each request carries.
fn data(options: &Options) -> Result<Option<Data>> {
    match (&*options.data, &*options.json) {
        ([], []) => Ok(None),
        ([], words) => Data::new(words, "").map(Some),
        (words, _) => Data::new(words, "&").map(Some),
    }
}

/// Nobody reads our output.
const SIGPIPE: u8 = 13;

/// Bodies are written as they came: what is compressed stays so.
fn client(options: &Options, engine: &Engine) -> Result<HttpClient> {
    let mut client = HttpClient::builder().max_redirects(options.max_redirects).without_decompression();
    if let Some(deadline) = options.deadline {
        client = client.timeout(deadline);
    }
    if options.insecure {
        client = client.danger_accept_invalid_certificates();
    }
    client = match &options.proxy {
        None => client,
        Some(Way::Direct) => client.without_proxies(),
        Some(Way::Through(proxy)) => client.proxy(proxy.clone()),
    };
    client.build(engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_names_the_url_once_and_what_says_more() {
        let url: Url = "http://u:p@a/x?y=z".parse().expect("a URL");
        for (target, expected) in [
            (None, "http://a/x: bad"),
            (Some("http://a/x"), "http://a/x: bad"),
            (Some("standard output"), "http://a/x: bad"),
            (Some("http://b/"), "http://a/x: http://b/: bad"),
            (Some("GET http://a/x"), "http://a/x: bad"),
            (Some("GET http://a/x through b:3128"), "http://a/x through b:3128: bad"),
            (Some("GET http://a/xy"), "http://a/x: GET http://a/xy: bad"),
            (Some("GET https://b/"), "http://a/x: GET https://b/: bad"),
        ] {
            let error = Error::protocol("bad");
            let error = match target {
                Some(target) => error.with_target(target),
                None => error,
            };
            assert_eq!(line(&url, &error), expected);
        }
    }
}
