//! What tasks meet at.
//!
//! All of them are awaited, block no thread, may be used from any thread, and let go of everything when what waits is dropped. Who came
//! first is served first. Nothing that a caller can do is undefined, nor is a message lost without somebody being told.

mod conditional;
mod counter;
mod guard;
mod line;
#[cfg(all(test, feature = "loom"))]
mod loom_tests;
mod mailbox;
mod message_queue;
mod names;
mod registry;
mod resource_pool;
mod selector;
mod sync;
mod unsent;

pub use conditional::conditional;
pub use counter::Counter;
pub use guard::{Guard, Held};
pub use mailbox::{Mailbox, Sender, mailbox};
pub use message_queue::MessageQueue;
pub use names::Names;
pub use resource_pool::{Lent, ResourcePool};
pub use selector::{Candidate, Selector, selector};
pub use unsent::Unsent;
