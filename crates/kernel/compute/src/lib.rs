//! Computations on threads of their own: named queues, served in turn by weight.
//!
//! A [`Compute`] has a few threads, one a core as a rule, and any number of [`Queue`]s. A thread takes from the queue whose turn it
//! is, as many jobs as its weight says, and goes on to the next: a queue with a million jobs delays one with a single job by one
//! round, not by a million.
//!
//! What a job returns comes to its caller through a [`Computing`], which is a future under any runtime, and can be waited for by a
//! plain thread. A panic is an error. Dropping the [`Computing`] cancels.

pub mod algorithms;
mod cell;
mod clock;
mod computing;
mod entry;
#[cfg(all(test, feature = "loom"))]
mod loom_tests;
mod options;
mod own;
mod pool;
mod queue;
mod ring;
mod scope;
mod seat;
mod stats;
mod sync;
mod team;
mod token;
mod turn;

pub use computing::Computing;
pub use entry::Job;
pub use options::{QueueOptions, WhenFull};
pub use own::{is_own_thread, mark_own_thread};
pub use pool::Compute;
pub use queue::Queue;
/// What [`Queue::parallel`] and [`Queue::scope`] run: parallel iterators, `join`, `Scope`.
pub use rayon;
pub use stats::QueueStats;
pub use token::CancelToken;
