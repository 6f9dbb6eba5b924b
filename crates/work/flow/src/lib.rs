//! In which order things happen: network calls, computations, file I/O and timers as tasks of one flow.
//!
//! - A [`Task`] is any future with a name and a [`TaskKind`]; a computation is one that runs on the threads of a queue.
//! - A [`Series`] runs its steps one after the other; each gets what the one before gave.
//! - [`Parallel`] runs tasks at once: all of them, or until the first fails, or until the first succeeds; [`Each`] runs one for each of
//!   any number of items, at most so many at a time.
//! - A [`Graph`] runs each node when those that it depends on have ended. It is built once and run as often as wanted.
//! - Graphs and series draw themselves before they run ([`Graph::to_dot`], [`Graph::to_mermaid`]); of a run there is a [`Record`], as a
//!   table or as a picture.
//!
//! Nothing runs before a flow is awaited, and dropping one at any time cancels what it has under way. A panic in a task is its error.
//! Plain `async` code can do all of this; flows are for structure that people want to see, limit, reuse and trace.

mod graph;
pub mod meet;
mod new_waker;
mod parallel;
mod picture;
mod record;
mod series;
mod set;
mod slice;
mod task;
mod text;

pub use graph::{
    After, Fate, Finished, Graph, GraphBuilder, GraphRun, Inputs, Node, OnFailure, Optional, Token,
};
pub use meet::{
    Candidate, Counter, Guard, Held, Lent, Mailbox, MessageQueue, Names, ResourcePool, Selector, Sender,
    Unsent, conditional, mailbox, selector,
};
pub use parallel::{Each, Iterated, Outputs, Parallel, Source, Streamed};
pub use record::{Ending, Record, Rows, Span};
pub use series::{Context, Series};
pub use task::{Hedge, Retry, Task, TaskKind};
