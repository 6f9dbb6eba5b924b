//! Computations on the engine's own threads for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_base::Result;
use millstream_base::registry::{Sample, Value};
use millstream_compute::{Compute, Queue, QueueOptions, QueueStats};

use crate::Engine;

impl Engine {
    /// The compute queue of this name, made when it is first asked for, with [`QueueOptions::default`]. Its threads, as many as there
    /// are workers, start with the engine's first computation.
    ///
    /// ```
    /// use millstream_runtime::Engine;
    /// let engine = Engine::builder().workers(2).build()?;
    /// let sum = engine.run(async |engine| engine.compute("sums")?.run(|| (1..=100).sum::<u64>()).await)??;
    /// assert_eq!(sum, 5050);
    /// # Ok::<(), millstream_base::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Kind::Io`](millstream_base::Kind::Io) when the threads can't be started.
    pub fn compute(&self, queue: &str) -> Result<Queue> {
        Ok(self.compute_threads()?.queue(queue))
    }

    /// The same with these options.
    ///
    /// # Errors
    /// As [`compute`](Self::compute); [`Kind::Invalid`](millstream_base::Kind::Invalid) when there is a queue of this name with others.
    pub fn compute_with(&self, queue: &str, options: QueueOptions) -> Result<Queue> {
        self.compute_threads()?.queue_with(queue, options)
    }

    fn compute_threads(&self) -> Result<Compute> {
        let threads = self.shared(|_| Threads::default());
        let mut compute = threads.lock();
        if let Some(compute) = &*compute {
            return Ok(compute.clone());
        }
        let new = Compute::new(self.workers().len(), "compute")?;
        let watched = Arc::downgrade(&threads);
        self.registry().register(Arc::new(move |into: &mut Vec<Sample>| {
            let compute = watched.upgrade().and_then(|threads| threads.lock().clone());
            let queues = compute.map_or_else(Vec::new, |compute| compute.stats());
            queues.iter().for_each(|(queue, stats)| collect(queue, stats, into));
        }));
        Ok(compute.insert(new).clone())
    }
}

/// There once somebody computes. Ends with the engine.
#[derive(Default)]
struct Threads(Mutex<Option<Compute>>);

impl Threads {
    fn lock(&self) -> MutexGuard<'_, Option<Compute>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn collect(queue: &str, stats: &QueueStats, into: &mut Vec<Sample>) {
    let labels = vec![("queue", queue.to_owned())];
    let mut push = |name, help, value| into.push(Sample { name, help, labels: labels.clone(), value });
    #[allow(clippy::cast_precision_loss)]
    for (name, help, now) in [
        ("millstream_compute_depth", "Computations that wait for a thread", stats.depth as f64),
        ("millstream_compute_running", "Threads that serve the queue", stats.running as f64),
        (
            "millstream_compute_run_seconds",
            "Time that threads spent with computations, so far",
            stats.run_time.as_secs_f64(),
        ),
        (
            "millstream_compute_wait_seconds",
            "How long computations wait for a thread, of late",
            stats.wait.as_secs_f64(),
        ),
    ] {
        push(name, help, Value::Gauge(now));
    }
    for (name, help, count) in [
        ("millstream_compute_done", "Computations that ran to their end", stats.done),
        ("millstream_compute_panics", "Computations that panicked", stats.panicked),
        ("millstream_compute_skipped", "Computations cancelled, or late, before they began", stats.skipped),
        ("millstream_compute_refused", "Computations refused by a full queue", stats.refused),
    ] {
        push(name, help, Value::Counter(count));
    }
}
