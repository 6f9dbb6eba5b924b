//! One worker's callers: what they begin, when they stop, what they count.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use millstream::http::HttpClient;
use millstream::http::client::RequestBuilder;
use millstream::{Error, Kind, Result, spawn_local};
use tokio::sync::watch;

use super::Options;
use super::schedule::Schedule;
use super::tally::Tally;

/// What all workers share.
pub(crate) struct Run {
    pub(crate) client: HttpClient,
    pub(crate) options: Options,
    pub(crate) start: Instant,
    /// No request is begun from this moment on.
    pub(crate) until: Option<Instant>,
    /// Requests that may still be begun, when they are counted.
    pub(crate) left: Option<AtomicU64>,
    pub(crate) answered: AtomicBool,
    /// For the progress bar: written a few times a second by each worker.
    pub(crate) ended: Vec<AtomicU64>,
}

/// One worker's part.
struct Lane {
    run: Arc<Run>,
    number: usize,
    schedule: Option<RefCell<Schedule>>,
    tally: RefCell<Tally>,
    begun: Cell<u64>,
    /// Why nothing can come of it.
    fatal: RefCell<Option<Error>>,
    stop: watch::Sender<bool>,
}

/// Loads with this worker's share of the callers, until the end or a stop.
///
/// # Errors
/// When nothing can be asked there at all.
pub(crate) async fn load(run: Arc<Run>, number: usize, stop: watch::Sender<bool>) -> Result<Tally> {
    let callers = share(u64::from(run.options.connections), number, run.ended.len());
    let tally = RefCell::new(Tally::new());
    let schedule = schedule(&run, number).map(RefCell::new);
    let lane = Rc::new(Lane {
        run,
        number,
        schedule,
        tally,
        begun: Cell::new(0),
        fatal: RefCell::default(),
        stop: stop.clone(),
    });
    let tasks: Vec<_> = (0..callers).map(|_| spawn_local(lane.clone().call_in_turn())).collect();
    let aborts: Vec<_> = tasks.iter().map(tokio::task::JoinHandle::abort_handle).collect();
    let all = async {
        for task in tasks {
            let _ = task.await;
        }
    };
    tokio::select! {
        () = all => {}
        () = lane.cut(stop.subscribe()) => aborts.iter().for_each(tokio::task::AbortHandle::abort),
    }
    lane.finish(*stop.borrow())
}

/// The part of `whole` that falls to one of so many workers.
fn share(whole: u64, number: usize, workers: usize) -> u64 {
    let (number, workers) = (number as u64, workers as u64);
    whole / workers + u64::from(number < whole % workers)
}

/// Workers take turns: the first of each is a step of the whole rate later than that of the one before.
#[allow(clippy::cast_precision_loss)] // few workers
fn schedule(run: &Run, number: usize) -> Option<Schedule> {
    let rate = run.options.rate?;
    let workers = run.ended.len();
    let start = run.start + Duration::from_secs_f64(number as f64 / rate);
    let count = run.options.requests.map(|count| share(count, number, workers));
    Some(Schedule::new(start, rate / workers as f64, count))
}

impl Lane {
    async fn call_in_turn(self: Rc<Self>) {
        while let Some(due) = self.next().await {
            self.begun.set(self.begun.get() + 1);
            let outcome = exchange(self.request()).await;
            self.on_end(due, outcome);
        }
    }

    /// When the next request is due, once it is.
    async fn next(&self) -> Option<Instant> {
        if *self.stop.borrow() {
            return None;
        }
        let (now, until) = (Instant::now(), self.run.until);
        if let Some(schedule) = &self.schedule {
            let due = schedule.borrow_mut().take(now, until)?;
            if due > now {
                tokio::time::sleep_until(due.into()).await;
            }
            return Some(due);
        }
        if until.is_some_and(|until| now >= until) {
            return None;
        }
        let Some(left) = &self.run.left else { return Some(now) };
        left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).ok().map(|_| now)
    }

    fn request(&self) -> RequestBuilder {
        let Run { client, options, .. } = &*self.run;
        let mut request = client.request(options.method(), &options.url);
        if options.no_keep_alive {
            request = request.header("connection", "close");
        }
        for (name, value) in &options.headers {
            request = request.header(name.clone(), value.clone());
        }
        match &options.data {
            Some(data) => request.body(data.clone()),
            None => request,
        }
    }

    fn on_end(&self, due: Instant, outcome: Result<Answer>) {
        let now = Instant::now();
        let tally = &mut *self.tally.borrow_mut();
        match outcome {
            Ok(answer) => {
                if tally.latencies.count() == 0 {
                    self.run.answered.store(true, Relaxed);
                }
                let at = now.saturating_duration_since(self.run.start);
                tally.on_reply(answer.status, answer.is_reused, now.saturating_duration_since(due), at);
            }
            Err(error) => {
                tally.on_failure(&error);
                let is_hopeless = matches!(error.kind(), Kind::Connect | Kind::Resolve | Kind::Invalid);
                if is_hopeless && !self.run.answered.load(Relaxed) {
                    self.fatal.borrow_mut().get_or_insert(error);
                    self.stop.send_replace(true);
                }
            }
        }
        self.run.ended[self.number].store(tally.requests, Relaxed);
    }

    /// Ends when what is under way is to be broken off.
    async fn cut(&self, mut stop: watch::Receiver<bool>) {
        let late = async {
            match self.run.until {
                Some(until) => tokio::time::sleep_until((until + GRACE).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = late => {}
            // The sender lives as long as the lane.
            _ = stop.wait_for(|is_stopped| *is_stopped) => {}
        }
    }

    fn finish(&self, is_stopped: bool) -> Result<Tally> {
        if let Some(error) = self.fatal.take().filter(|_| !self.run.answered.load(Relaxed)) {
            return Err(error);
        }
        let mut tally = self.tally.replace(Tally::new());
        if is_stopped {
            return Ok(tally);
        }
        if let Some(schedule) = &self.schedule {
            let now = Instant::now();
            let until = self.run.until.map_or(now, |until| until.min(now));
            tally.on_errors("overdue", schedule.borrow_mut().finish(until));
        }
        tally.on_errors("unfinished", self.begun.get().saturating_sub(tally.requests));
        Ok(tally)
    }
}

struct Answer {
    status: millstream::http::StatusCode,
    is_reused: bool,
}

/// A request and its whole reply; the body is dropped as it comes.
async fn exchange(request: RequestBuilder) -> Result<Answer> {
    let mut response = request.send().await?;
    while response.chunk().await?.is_some() {}
    Ok(Answer { status: response.status(), is_reused: response.is_reused() })
}

/// How long behind the end a reply may still come before it counts as unfinished: a guess, long for what is loaded.
const GRACE: Duration = Duration::from_secs(2);
