//! Steps and nodes that do next to nothing, by turns: rayon's `spawn`, `tokio::spawn` and join, a series of compute tasks, a graph of
//! compute nodes and one of async nodes. `flow --rounds N --threads N` prints a line of JSON a round, in nanoseconds a step or a node.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use millstream_bench_peers::Args;
use millstream_flow::{Graph, GraphBuilder, Node, Series, Task, TaskKind};
use millstream_runtime::{Engine, Queue};

static DONE: AtomicU64 = AtomicU64::new(0);
const JOBS: u64 = 1_000_000;
const STEPS: usize = 200_000;
const WIDTH: usize = 100;
const LAYERS: usize = 1000;

fn main() {
    let args = Args::from_process();
    let (rounds, threads) = (args.value("rounds", 5), args.value("threads", 2));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("threads can be started");
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).build().expect("a runtime");
    let engine = Engine::builder().workers(threads).build().expect("an engine");
    let queue = engine.compute("nodes").expect("threads can be started");
    let (computing, trivial) = (graph(Some(&queue)), graph(None));
    for round in 0..=rounds {
        let rayon = timed(JOBS as usize, spawn);
        let joined = timed(JOBS as usize, || tokio.block_on(spawn_and_join()));
        let series = timed(STEPS, || run(&engine, series(&queue)));
        let nodes = WIDTH * LAYERS;
        let compute = timed(nodes, || run_graph(&engine, computing.clone()));
        let built = timed(nodes, || run_graph(&engine, graph(Some(&queue))));
        let r#async = timed(nodes, || run_graph(&engine, trivial.clone()));
        // The first warms up.
        if round > 0 {
            let all = [("rayon", rayon), ("tokio", joined), ("series", series), ("compute", compute)];
            let all = all.into_iter().chain([("built", built), ("async", r#async)]);
            let fields: Vec<_> =
                all.map(|(name, (wall, cpu))| format!("\"{name}\":{wall},\"{name}_cpu\":{cpu}")).collect();
            println!("{{{}}}", fields.join(","));
        }
    }
}

fn spawn() {
    DONE.store(0, Relaxed);
    (0..JOBS).for_each(|_| {
        rayon::spawn(|| {
            DONE.fetch_add(1, Relaxed);
        });
    });
    while DONE.load(Relaxed) < JOBS {
        std::thread::yield_now();
    }
}

async fn spawn_and_join() {
    let all: Vec<_> = (0..JOBS).map(|number| tokio::spawn(async move { number })).collect();
    for one in all {
        one.await.expect("no panic");
    }
}

/// Made and run: as a program does that uses it once.
fn series(queue: &Queue) -> Series<()> {
    let mut series = Series::new("steps");
    for _ in 0..STEPS {
        series.push(Task::compute("step", queue, || {
            DONE.fetch_add(1, Relaxed);
            Ok(())
        }));
    }
    series
}

fn run(engine: &Engine, series: Series<()>) {
    engine.run(async move |_| series.await).expect("the engine runs").expect("no step fails");
}

/// A hundred nodes in each of a thousand layers; each adds up what two of the layer before gave.
fn graph(queue: Option<&Queue>) -> Graph<u64> {
    let mut graph = GraphBuilder::new("layers");
    let mut layer: Vec<Node<u64>> = vec![graph.input(); WIDTH];
    for _ in 0..LAYERS {
        let inputs = |at: usize| (layer[at], layer[(at + 1) % WIDTH]);
        layer =
            (0..WIDTH)
                .map(|at| match queue {
                    Some(queue) => graph.compute("node", queue, inputs(at), |(a, b)| Ok(a.wrapping_add(*b))),
                    None => graph.task("node", TaskKind::Other, inputs(at), |(a, b)| async move {
                        Ok(a.wrapping_add(*b))
                    }),
                })
                .collect();
    }
    graph.build()
}

fn run_graph(engine: &Engine, graph: Graph<u64>) {
    engine.run(async move |_| graph.run(1).await.ok()).expect("the engine runs").expect("no node fails");
}

/// Nanoseconds of time, and of CPU, a step.
fn timed(steps: usize, work: impl FnOnce()) -> (f64, f64) {
    let (begun, cpu) = (Instant::now(), cpu_ns());
    work();
    (begun.elapsed().as_nanos() as f64 / steps as f64, (cpu_ns() - cpu) / steps as f64)
}

fn cpu_ns() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 * 1e9 + used.tv_nsec as f64
}
