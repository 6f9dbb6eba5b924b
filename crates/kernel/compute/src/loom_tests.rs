//! The races of queues, turns and sleeping threads, in every order that the memory model allows.
//!
//! Run with `cargo test -p millstream-compute --release --features loom --lib`.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;

use crate::entry::{Entry, Job};
use crate::options::QueueOptions;
use crate::queue::Shared;
use crate::ring::Core;

/// A pool without threads of its own, and one queue. It ends with the last job that is expected.
#[derive(Clone)]
struct Room {
    core: Arc<Core>,
    queue: Arc<Shared>,
    world: Arc<World>,
}

struct World {
    ran: [AtomicUsize; JOBS],
    /// How many of them began.
    begun: AtomicUsize,
    running: AtomicUsize,
    left: AtomicUsize,
    max_parallel: usize,
}

const JOBS: usize = 4;
static NEVER: AtomicBool = AtomicBool::new(false);

impl Room {
    /// With a turn that takes all there is.
    fn new(jobs: usize, max_parallel: Option<usize>) -> Self {
        Self::with_weight(1000, jobs, max_parallel)
    }

    fn with_weight(weight: u32, jobs: usize, max_parallel: Option<usize>) -> Self {
        let options = QueueOptions { max_parallel, ..QueueOptions::default().weight(weight) };
        let core = Arc::new(Core::new(2, "loom"));
        let zero = || AtomicUsize::new(0);
        let world = World {
            ran: [zero(), zero(), zero(), zero()],
            begun: zero(),
            running: zero(),
            left: AtomicUsize::new(jobs),
            max_parallel: max_parallel.unwrap_or(usize::MAX),
        };
        let queue = Arc::new(Shared::new("queue".into(), options, core.clone()));
        Self { core, queue, world: Arc::new(world) }
    }

    fn push(&self, number: usize, kind: Kind) {
        let job = Noted { number, kind, room: self.clone() };
        assert!(self.queue.push(Entry::Job(Arc::new(job))).is_ok(), "it is open");
    }

    /// A thread's life.
    fn serve(&self, index: usize) {
        self.core.work(&self.core.turn(index), &NEVER);
    }

    fn spawn(&self, run: impl FnOnce(Room) + 'static) -> thread::JoinHandle<()> {
        let room = self.clone();
        thread::spawn(move || run(room))
    }

    /// Each has run once, and none is left.
    fn assert_quiet(&self, jobs: usize) {
        let ran: Vec<_> = self.world.ran.iter().map(|ran| ran.load(SeqCst)).collect();
        assert_eq!(ran, [[1].repeat(jobs), [0].repeat(JOBS - jobs)].concat());
        let stats = self.queue.stats();
        assert_eq!((stats.depth, stats.running), (0, 0));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Asserts that all with a lower number have begun.
    InOrder,
    /// Gives back what is left of all turns, as a job does before it blocks.
    GivesBack,
}

struct Noted {
    number: usize,
    kind: Kind,
    room: Room,
}

impl Job for Noted {
    fn run(self: Arc<Self>) {
        let world = &self.room.world;
        assert!(world.running.fetch_add(1, SeqCst) < world.max_parallel, "one more than may run");
        let before = world.begun.fetch_add(1, SeqCst);
        match self.kind {
            Kind::Plain => {}
            Kind::InOrder => assert_eq!(before, self.number),
            Kind::GivesBack => {
                let rests = [0, 1].map(|index| self.room.core.turn(index).take_rest());
                rests.into_iter().flatten().for_each(|(queue, rest)| queue.take_back(rest));
            }
        }
        world.ran[self.number].fetch_add(1, SeqCst);
        world.running.fetch_sub(1, SeqCst);
        if world.left.fetch_sub(1, SeqCst) == 1 {
            self.room.core.close();
        }
    }
}

/// Bounds the orders tried to those with this many forced switches; the published experience is that 2 or 3 find
/// nearly all races.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

#[test]
fn loom_job_that_comes_while_threads_fall_asleep_runs_once() {
    explore(3, || {
        let room = Room::new(2, None);
        let server = room.spawn(|room| room.serve(1));
        let pusher = room.spawn(|room| room.push(1, Kind::Plain));
        room.push(0, Kind::Plain);
        room.serve(0);
        pusher.join().expect("no panic");
        server.join().expect("no panic");
        room.assert_quiet(2);
    });
}

#[test]
fn loom_jobs_taken_from_a_turn_while_it_goes_on_run_once() {
    explore(3, || {
        let room = Room::new(4, None);
        (0..4).for_each(|number| room.push(number, Kind::Plain));
        let server = room.spawn(|room| room.serve(1));
        room.serve(0);
        server.join().expect("no panic");
        room.assert_quiet(4);
    });
}

#[test]
fn loom_serial_queue_keeps_its_order_while_jobs_come() {
    explore(3, || {
        let room = Room::new(3, Some(1));
        room.push(0, Kind::InOrder);
        let server = room.spawn(|room| room.serve(1));
        let pusher = room.spawn(|room| (1..3).for_each(|number| room.push(number, Kind::InOrder)));
        room.serve(0);
        pusher.join().expect("no panic");
        server.join().expect("no panic");
        room.assert_quiet(3);
    });
}

/// A turn takes two, and is over after one, which took a millisecond.
#[test]
fn loom_serial_queue_keeps_its_order_where_turns_are_cut() {
    explore(3, || {
        let room = Room::with_weight(2, 3, Some(1));
        (0..2).for_each(|number| room.push(number, Kind::InOrder));
        let server = room.spawn(|room| room.serve(1));
        room.push(2, Kind::InOrder);
        room.serve(0);
        server.join().expect("no panic");
        room.assert_quiet(3);
    });
}

#[test]
fn loom_serial_queue_keeps_its_order_where_a_rest_is_given_back() {
    explore(3, || {
        let room = Room::new(3, Some(1));
        room.push(0, Kind::GivesBack);
        room.push(1, Kind::InOrder);
        let server = room.spawn(|room| room.serve(1));
        room.push(2, Kind::InOrder);
        room.serve(0);
        server.join().expect("no panic");
        room.assert_quiet(3);
    });
}

#[test]
fn loom_rest_given_back_while_others_take_from_it_runs_once() {
    explore(3, || {
        let room = Room::new(4, None);
        (0..4).for_each(|number| room.push(number, Kind::GivesBack));
        let server = room.spawn(|room| room.serve(1));
        room.serve(0);
        server.join().expect("no panic");
        room.assert_quiet(4);
    });
}
