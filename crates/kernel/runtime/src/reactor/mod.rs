//! A worker's own look at its sockets, and the tasks that serve them.
//!
//! Tokio's reactor and scheduler are built to be shared between threads: an event costs a dozen atomic
//! read-modify-writes on its way to the task. What lives on one worker for all its life (an accepted connection and the
//! task that serves it) needs none of them. So a worker keeps a second epoll instance for such sockets, and runs their
//! tasks itself (decision 0013 has the measurements).
//!
//! ```text
//! tokio's epoll ──> Driver (one tokio task) ──> our epoll ──> Source ──> Task
//!                       ^                                                 ^
//!                       └──── wakes from timers, other tasks, threads ────┘
//! ```
//!
//! Rules:
//! 1. Sources and tasks are touched on their worker's thread only. Others leave a note in [`Home`] and wake the driver.
//! 2. User code (a poll, a drop, a foreign waker) never runs while a source or a task list is borrowed.
//! 3. Our epoll stands edge-triggered in tokio's. The driver forgets the last edge *before* it looks, so an event that
//!    comes while it looks makes a new edge.
//! 4. A task is queued at most once: `Flag::queued` says so, and is cleared before the poll.
//! 5. A key or a waker may outlive its task. It then means nobody, or whoever has the place now, who is polled for nothing.

mod driver;
mod home;
mod source;
mod task;
mod watch;
mod work;

pub(crate) use driver::drive;
pub(crate) use home::{Home, enter, leave};
pub(crate) use task::{current_task, queue_due, spawn};
pub use watch::{Interest, Watch};
