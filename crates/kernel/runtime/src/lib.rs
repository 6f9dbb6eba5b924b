//! Where everything runs: an [`Engine`] is a set of workers, one thread a core, each with its own reactor, timers and
//! task queue.
//!
//! - A task stays on the worker it was spawned on; it need not be `Send`.
//! - Work is sent to a worker with [`Worker::spawn`].
//! - [`sleep`], [`interval`] and [`timeout`] wait in a wheel of the worker; [`Engine::timer`] has a name, and others can cancel it.
//! - A connection's deadlines live in the worker's coarse [`Wheel`]: re-arming a [`Timer`] is one store.
//! - A worker that stays in one poll for more than 50 ms is reported while it is still there (see [`Label`]).
//! - [`Engine::compute`] gives computations threads of their own, in named queues.
//! - [`Engine::shutdown`] drains until a deadline, then cancels.

mod beat;
mod blocking;
mod builder;
mod clock;
mod compute;
mod engine;
mod inbox;
mod lifecycle;
mod local;
mod reactor;
mod shutdown;
mod timers;
mod watchdog;
mod wheel;
mod worker;

pub use beat::Label;
pub use builder::EngineBuilder;
pub use clock::{fresh_now, micros_of, moment_of, now, turn_now};
pub use engine::Engine;
pub use lifecycle::{Busy, Stage};
pub use local::{note, spawn_local};
pub use millstream_compute::{
    CancelToken, Computing, Job, Queue, QueueOptions, QueueStats, WhenFull, algorithms, rayon,
};
pub use reactor::{Interest, Watch};
pub use shutdown::Shutdown;
#[cfg(feature = "test-util")]
pub use timers::advance;
pub use timers::{
    Interval, MissedTick, NamedTimer, Sleep, Timeout, interval, interval_at, sleep, sleep_until, timeout,
};
pub use tokio::task::JoinHandle;
pub use wheel::{Alarm, Timer, Wheel};
pub use worker::Worker;
