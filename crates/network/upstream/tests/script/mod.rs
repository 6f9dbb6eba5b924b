//! A resolver that answers when it is told to, a clock that goes when it is told to, and lookups polled by hand.

#![allow(dead_code, unreachable_pub)] // each test file uses its own part

use std::collections::VecDeque;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind, Origin, Result};
use millstream_upstream::{Cache, CacheOptions, Lookup, Resolve, Resolved, Resolving, Task};

/// Questions asked so far, each to be answered by the test.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<VecDeque<Arc<Question>>>>);

pub struct Question {
    pub host: String,
    answer: Mutex<Reply>,
    waker: Mutex<Option<Waker>>,
    is_given_up: AtomicUsize,
}

pub enum Reply {
    None,
    Now(Result<Resolved>),
    Panic,
}

impl Resolve for Script {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        let question = Arc::new(Question {
            host: host.to_owned(),
            answer: Mutex::new(Reply::None),
            waker: Mutex::default(),
            is_given_up: AtomicUsize::new(0),
        });
        self.0.lock().expect("not poisoned").push_back(Arc::clone(&question));
        Box::pin(Asked(question))
    }
}

struct Asked(Arc<Question>);

impl Future for Asked {
    type Output = Result<Resolved>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = std::mem::replace(&mut *self.0.answer.lock().expect("not poisoned"), Reply::None);
        match answer {
            Reply::Now(result) => Poll::Ready(result),
            Reply::Panic => panic!("on purpose"),
            Reply::None => {
                *self.0.waker.lock().expect("not poisoned") = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.is_given_up.store(1, SeqCst);
    }
}

impl Question {
    pub fn reply(&self, reply: Reply) {
        *self.answer.lock().expect("not poisoned") = reply;
        if let Some(waker) = self.waker.lock().expect("not poisoned").take() {
            waker.wake();
        }
    }

    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(SeqCst) == 1
    }
}

/// A cache over a script.
pub struct Stage {
    pub cache: Cache<Script>,
    pub script: Script,
    pub tasks: Arc<Mutex<Vec<Task>>>,
    now_ms: Arc<AtomicU64>,
}

impl Stage {
    /// Callers drive.
    pub fn new() -> Self {
        Self::with(CacheOptions::default())
    }

    /// Tasks are collected, for the test to run.
    pub fn with_tasks() -> Self {
        let tasks: Arc<Mutex<Vec<Task>>> = Arc::default();
        let into = Arc::clone(&tasks);
        let spawn = move |task| into.lock().expect("not poisoned").push(task);
        Self { tasks, ..Self::with(CacheOptions::default().spawn(spawn)) }
    }

    pub fn with(options: CacheOptions) -> Self {
        let (script, now_ms, start) = (Script::default(), Arc::new(AtomicU64::new(0)), Instant::now());
        let clock = Arc::clone(&now_ms);
        let options = options.clock(move || start + Duration::from_millis(clock.load(SeqCst)));
        Self { cache: Cache::new(script.clone(), options), script, tasks: Arc::default(), now_ms }
    }

    pub fn pass(&self, seconds: f64) {
        self.now_ms.fetch_add(Duration::from_secs_f64(seconds).as_millis() as u64, SeqCst);
    }

    pub fn lookup(&self, host: &str) -> Manual {
        Manual { lookup: self.cache.lookup(host), wakes: Arc::default() }
    }

    /// The question that was asked next; there must be one.
    pub fn question(&self) -> Arc<Question> {
        self.script.0.lock().expect("not poisoned").pop_front().expect("a question was asked")
    }

    pub fn assert_not_asked(&self) {
        assert!(self.script.0.lock().expect("not poisoned").is_empty(), "a question was asked");
    }

    /// The text of what is known at once.
    pub fn known(&self, host: &str) -> String {
        self.lookup(host).answered()
    }

    /// Asks and answers.
    pub fn learn(&self, host: &str, reply: Reply) {
        let mut lookup = self.lookup(host);
        assert!(lookup.poll().is_none(), "{host} was known");
        self.question().reply(reply);
        assert!(lookup.poll().is_some());
    }
}

/// A lookup polled by hand.
pub struct Manual {
    pub lookup: Lookup,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Manual {
    pub fn poll(&mut self) -> Option<Result<Resolved>> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        match Pin::new(&mut self.lookup).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        }
    }

    /// A lookup that waits.
    pub fn waiting(mut self) -> Self {
        assert!(self.poll().is_none(), "answered at once");
        self
    }

    pub fn was_woken(&self) -> bool {
        self.wakes.0.load(SeqCst) > 0
    }

    /// `1.1.1.1 for 60s`, or the kind of the error.
    pub fn answered(&mut self) -> String {
        match self.poll().expect("answered") {
            Ok(resolved) => {
                let ips: Vec<_> = resolved.addresses().iter().map(IpAddr::to_string).collect();
                format!("{} for {:?}", ips.join(" "), resolved.ttl())
            }
            Err(error) => format!("{:?}", error.kind()),
        }
    }
}

/// Runs the first task that was spawned as far as it goes; does it end?
pub fn run(tasks: &Mutex<Vec<Task>>) -> bool {
    let mut task = tasks.lock().expect("not poisoned").pop().expect("a task was spawned");
    let is_done = task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    if !is_done {
        tasks.lock().expect("not poisoned").push(task);
    }
    is_done
}

pub fn ips(text: &str, ttl_secs: u64) -> Reply {
    let ips: Vec<IpAddr> = text.split_whitespace().map(|ip| ip.parse().expect("an address")).collect();
    Reply::Now(Ok(Resolved::new(ips, Duration::from_secs(ttl_secs))))
}

pub fn failure(kind: Kind) -> Reply {
    Reply::Now(Err(Error::new(kind, Origin::Network, "no such name")))
}
