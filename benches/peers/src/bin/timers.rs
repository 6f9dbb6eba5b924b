//! Timers within a second, from their making until all have fired, on two threads: a task each, and many in one task; tokio's
//! and ours by turns. `timers --rounds N --timers N` prints a line of JSON a round: nanoseconds of CPU a timer, and how many
//! milliseconds behind the last deadline all was done.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use millstream_bench_peers::Args;
use millstream_runtime::{Engine, Label, Worker, spawn_local};
use tokio::sync::watch;
use tokio::task::{unconstrained, yield_now};

const THREADS: usize = 2;

fn main() {
    let args = Args::from_process();
    let (rounds, timers) = (args.value("rounds", 5), args.value::<u64>("timers", 1_000_000));
    let only = args.value("only", String::new());
    let engine = Engine::builder().workers(THREADS).build().expect("threads can be started");
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_time()
        .build()
        .expect("threads can be started");
    for round in 0..=rounds {
        let mut line = String::new();
        let mut row = |name: &str, run: &dyn Fn(u64) -> Instant| {
            if only.is_empty() || only.split(',').any(|one| one == name) {
                let (cpu, late) = measured(timers, run);
                line += &format!(",\"{name}_cpu\":{cpu:.1},\"{name}_late_ms\":{late:.3}");
            }
        };
        row("tokio", &|share| on_tokio(&tokio, share, tokio_tasks));
        row("tokio_local", &|share| on_local_tokio(share));
        row("ours", &|share| on_engine(&engine, share, async |seed, share| our_tasks(seed, share).await));
        row("ours_joinable", &|share| {
            on_engine(&engine, share, async |seed, share| our_joinable_tasks(seed, share).await)
        });
        // With tokio's budget, a set of so many would poll all that are ready again and again: minutes.
        row("tokio_set", &|share| {
            on_tokio(&tokio, share, |seed, share| unconstrained(set(seed, share, tokio::time::sleep)))
        });
        row("ours_set", &|share| {
            on_engine(&engine, share, async |seed, share| set(seed, share, millstream_runtime::sleep).await)
        });
        row("tokio_cancelled", &|share| {
            on_tokio(&tokio, share, |seed, share| unconstrained(cancelled(seed, share, tokio::time::sleep)))
        });
        row("ours_cancelled", &|share| {
            on_engine(&engine, share, async |seed, share| {
                cancelled(seed, share, millstream_runtime::sleep).await
            })
        });
        // The first warms up.
        if round > 0 {
            println!("{{{}}}", line.trim_start_matches(','));
        }
    }
}

/// Nanoseconds of CPU a timer, and milliseconds from the last deadline to the end.
fn measured(timers: u64, run: &dyn Fn(u64) -> Instant) -> (f64, f64) {
    let cpu = cpu_ns();
    let last = run(timers / THREADS as u64);
    let late = Instant::now().saturating_duration_since(last);
    // Memory that is given back behind it counts as well.
    std::thread::sleep(Duration::from_millis(200));
    ((cpu_ns() - cpu) / timers as f64, late.as_secs_f64() * 1000.0)
}

fn on_tokio<F, Fut>(runtime: &tokio::runtime::Runtime, share: u64, run: F) -> Instant
where
    F: Fn(u64, u64) -> Fut,
    Fut: Future<Output = Instant> + Send + 'static,
{
    let threads: Vec<_> = (0..THREADS as u64).map(|seed| runtime.spawn(run(seed, share))).collect();
    let all = async {
        let mut last = Instant::now();
        for thread in threads {
            last = last.max(thread.await.expect("it runs"));
        }
        last
    };
    runtime.block_on(all)
}

/// A runtime for each thread: nothing is shared.
fn on_local_tokio(share: u64) -> Instant {
    let threads: Vec<_> = (0..THREADS as u64)
        .map(|seed| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build_local(tokio::runtime::LocalOptions::default())
                    .expect("a runtime can be made");
                runtime.block_on(tokio_local_tasks(seed, share))
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("it runs")).max().expect("there are threads")
}

fn on_engine<F>(engine: &Engine, share: u64, run: F) -> Instant
where
    F: AsyncFn(u64, u64) -> Instant + Copy + Send + 'static,
{
    let output = engine.run(async move |engine| {
        let threads: Vec<_> = engine
            .workers()
            .iter()
            .zip(0..)
            .map(|(worker, seed)| worker.spawn(async move || run(seed, share).await))
            .collect();
        let mut last = Instant::now();
        for thread in threads {
            last = last.max(thread.await.expect("it runs"));
        }
        last
    });
    output.expect("it runs")
}

async fn tokio_tasks(seed: u64, share: u64) -> Instant {
    tasks(seed, share, |span, count| {
        tokio::spawn(async move {
            tokio::time::sleep(span).await;
            count.down();
        });
    })
    .await
}

async fn tokio_local_tasks(seed: u64, share: u64) -> Instant {
    tasks(seed, share, |span, count| {
        tokio::task::spawn_local(async move {
            tokio::time::sleep(span).await;
            count.down();
        });
    })
    .await
}

async fn our_joinable_tasks(seed: u64, share: u64) -> Instant {
    tasks(seed, share, |span, count| {
        drop(spawn_local(async move {
            millstream_runtime::sleep(span).await;
            count.down();
        }));
    })
    .await
}

async fn our_tasks(seed: u64, share: u64) -> Instant {
    let (worker, label) = (Worker::current().expect("it is one"), Label::new("a timer"));
    tasks(seed, share, |span, count| {
        worker.start(label, async move {
            millstream_runtime::sleep(span).await;
            count.down();
        });
    })
    .await
}

/// A task each.
async fn tasks(seed: u64, share: u64, start: impl Fn(Duration, Arc<Count>)) -> Instant {
    let mut batch = Batch::begin();
    let (count, mut all_done) = Count::new(share);
    for (span, number) in spans(seed).zip(1..=share) {
        batch.note(span);
        start(span, count.clone());
        batch.end(number).await;
    }
    all_done.changed().await.expect("it is kept");
    batch.last
}

/// Many in one task.
async fn set<S: Future<Output = ()>>(seed: u64, share: u64, sleep: impl Fn(Duration) -> S) -> Instant {
    let mut batch = Batch::begin();
    let mut set = FuturesUnordered::new();
    for (span, number) in spans(seed).zip(1..=share) {
        batch.note(span);
        set.push(sleep(span));
        if number.is_multiple_of(BATCH) {
            poll_fn(|cx| {
                while let Poll::Ready(Some(())) = set.poll_next_unpin(cx) {}
                Poll::Ready(())
            })
            .await;
        }
        batch.end(number).await;
    }
    while set.next().await.is_some() {}
    batch.last
}

/// Made, begun and given up: what becomes of most timeouts.
async fn cancelled<S: Future<Output = ()>>(seed: u64, share: u64, sleep: impl Fn(Duration) -> S) -> Instant {
    for (span, _) in spans(seed).zip(0..share) {
        let mut sleep = pin!(sleep(span + ANY));
        poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx).is_ready())).await;
    }
    Instant::now()
}

/// Longer than it takes to give it up.
const ANY: Duration = Duration::from_secs(10);

/// Made in batches, so that what was made begins to wait before the next is made.
const BATCH: u64 = 256;

/// The batch that is being made, and the last deadline of all.
struct Batch {
    begun: Instant,
    last: Instant,
}

impl Batch {
    fn begin() -> Self {
        let now = Instant::now();
        Self { begun: now, last: now }
    }

    fn note(&mut self, span: Duration) {
        self.last = self.last.max(self.begun + span);
    }

    async fn end(&mut self, number: u64) {
        if number.is_multiple_of(BATCH) {
            yield_now().await;
            self.begun = Instant::now();
        }
    }
}

/// How many have not fired: all join the same way.
struct Count(AtomicU64, watch::Sender<()>);

impl Count {
    fn new(count: u64) -> (Arc<Self>, watch::Receiver<()>) {
        let (say, all_done) = watch::channel(());
        (Arc::new(Self(AtomicU64::new(count), say)), all_done)
    }

    fn down(&self) {
        if self.0.fetch_sub(1, Relaxed) == 1 {
            self.1.send_replace(());
        }
    }
}

/// Below a second, evenly spread (Knuth's MMIX generator): the same for all.
fn spans(seed: u64) -> impl Iterator<Item = Duration> {
    let mut state = seed;
    std::iter::from_fn(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some(Duration::from_nanos((state >> 32) * 1_000_000_000 >> 32))
    })
}

fn cpu_ns() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 * 1e9 + used.tv_nsec as f64
}
