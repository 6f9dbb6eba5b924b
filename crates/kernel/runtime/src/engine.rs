//! The set of workers and what they share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use millstream_base::registry::{Registry, Sample, Value};
use millstream_base::{Counters, EngineId, Gauge, IdSource, Result};
use millstream_compute::is_own_thread;

use crate::lifecycle::{Busy, Lifecycle, Stage};
use crate::timers::Names;
use crate::worker::Worker;
use crate::{EngineBuilder, worker};

/// A set of workers, one thread a core. Clones are handles to the same engine; when the last one is dropped the
/// workers stop and everything on them is cancelled.
///
/// That drop waits until the engine's threads have ended: until what blocks or computes has returned. On a thread of an engine,
/// this one or another (a worker, one of [`blocking`](Self::blocking) or of [`compute`](Self::compute)), it waits for nothing and
/// lets them go: they end by themselves as soon as their last call returns. So engines may drop each other.
///
/// ```
/// use millstream_runtime::Engine;
/// let engine = Engine::builder().workers(2).build()?;
/// let answer = engine.run(async |engine| {
///     engine.blocking(|| 6 * 7).await
/// })??;
/// assert_eq!(answer, 42);
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    id: EngineId,
    workers: Box<[Worker]>,
    pub(crate) lifecycle: Lifecycle,
    threads: Mutex<Vec<JoinHandle<()>>>,
    registry: Registry,
    conn_ids: IdSource,
    health: Arc<Health>,
    shared: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// What went wrong on the workers, counted.
pub(crate) struct Health {
    counters: Counters<2>,
    pub(crate) longest_block_ms: Gauge,
}

const PANICS: usize = 0;
const BLOCKS: usize = 1;

impl Health {
    pub(crate) fn count_block(&self) {
        self.counters.add(BLOCKS, 1);
    }

    fn collect(&self, into: &mut Vec<Sample>) {
        let mut push = |name, help, value| into.push(Sample { name, help, labels: Vec::new(), value });
        push(
            "millstream_task_panics",
            "Panics in user code, contained",
            Value::Counter(self.counters.sum(PANICS)),
        );
        push(
            "millstream_worker_blocked",
            "Polls that kept a worker for more than 50 ms",
            Value::Counter(self.counters.sum(BLOCKS)),
        );
        #[allow(clippy::cast_precision_loss)]
        push(
            "millstream_worker_longest_block_seconds",
            "The longest such poll",
            Value::Gauge(self.longest_block_ms.value() as f64 / 1000.0),
        );
    }
}

impl Inner {
    pub(crate) fn new(workers: Box<[Worker]>) -> Self {
        let id = EngineId::next();
        let registry = Registry::default();
        let counters = Counters::new(id, workers.len());
        let health = Arc::new(Health { counters, longest_block_ms: Gauge::new() });
        let source = health.clone();
        registry.register(Arc::new(move |into: &mut Vec<Sample>| source.collect(into)));
        let (lifecycle, threads, conn_ids) = (Lifecycle::new(), Mutex::default(), IdSource::default());
        Self { id, workers, lifecycle, threads, registry, conn_ids, health, shared: Mutex::default() }
    }

    /// The last stage: everything that waits for the engine learns it.
    pub(crate) fn stop(&self) {
        self.lifecycle.advance(Stage::Stopped);
        // Behind the stage: names that are made from here on find it.
        let names =
            self.shared.lock().unwrap_or_else(PoisonError::into_inner).get(&TypeId::of::<Names>()).cloned();
        if let Some(names) = names.and_then(|any| any.downcast::<Names>().ok()) {
            names.close();
        }
    }

    pub(crate) fn add_thread(&self, thread: JoinHandle<()>) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }
}

impl Engine {
    /// Settings for a new engine.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// The engine the current thread works for, if it is a worker.
    pub fn current() -> Option<Self> {
        Worker::current()?.engine()
    }

    /// Names this engine within the process.
    pub fn id(&self) -> EngineId {
        self.0.id
    }

    /// All workers, in order of their index.
    pub fn workers(&self) -> &[Worker] {
        &self.0.workers
    }

    /// The worker with the fewest connections; the current one when it is among them.
    pub fn least_loaded(&self) -> &Worker {
        let here = Worker::current().map(|worker| worker.index());
        let key = |worker: &&Worker| (worker.load(), Some(worker.index()) != here);
        self.workers().iter().min_by_key(key).expect("an engine has at least one worker")
    }

    /// Everything this engine counts.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Ids for the connections of this engine.
    pub fn conn_ids(&self) -> &IdSource {
        &self.0.conn_ids
    }

    /// Runs `main` on the first worker and waits for it, blocking the calling thread. When it ends, the engine goes on
    /// until the last handle is dropped. A panic in `main` goes on in the caller.
    ///
    /// # Errors
    /// [`millstream_base::Kind::Cancelled`] when the engine stops before `main` ends.
    ///
    /// # Panics
    /// On a worker of this engine: it would wait for itself.
    pub fn run<F, T>(&self, main: F) -> Result<T>
    where
        F: AsyncFnOnce(Engine) -> T + Send + 'static,
        T: Send + 'static,
    {
        let here = Worker::current().and_then(|worker| worker.engine()).map(|engine| engine.id());
        assert!(here != Some(self.id()), "Engine::run is called from outside the engine's workers");
        let (give, take) = std::sync::mpsc::sync_channel(1);
        let engine = self.clone();
        self.workers()[0].run(move || {
            // Not contained: the panic's payload belongs to the caller.
            let task = tokio::task::spawn_local(async move { main(engine).await });
            crate::spawn_local(async move { give.send(task.await) });
        })?;
        match take.recv() {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Ok(Err(_)) | Err(_) => Err(worker::stopped()),
        }
    }

    /// The one `T` of this engine, made by `make` when it is first asked for: what other engines would have as a global.
    /// `make` runs under a lock and must not ask for another.
    pub fn shared<T: Send + Sync + 'static>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let any = shared.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(make(self))).clone();
        drop(shared);
        any.downcast().expect("the entry was made for this type")
    }

    /// Where the engine is in its life.
    pub fn stage(&self) -> Stage {
        self.0.lifecycle.stage()
    }

    /// Ends when the engine begins to drain or stops.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stage = self.0.lifecycle.watch();
        async move {
            // An error means that the engine is gone.
            let _ = stage.wait_for(|stage| *stage != Stage::Running).await;
        }
    }

    /// A drain waits until what this returns is dropped.
    pub fn busy(&self) -> Busy {
        self.0.lifecycle.busy()
    }

    pub(crate) fn count_panic(&self) {
        self.0.health.counters.add(PANICS, 1);
    }

    pub(crate) fn health(&self) -> Arc<Health> {
        self.0.health.clone()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        // An engine's own thread, of this one or another, is waited for by others: it waits for nobody.
        if !is_own_thread() {
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({}, {} workers)", self.0.id.number(), self.0.workers.len())
    }
}
