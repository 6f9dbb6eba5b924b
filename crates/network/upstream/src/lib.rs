//! From a name to addresses: the Resolve trait and its cache.
//!
//! [`Resolve`] is implemented by whoever knows addresses. A [`Cache`] in front of one asks each question once at a time,
//! remembers the answers for as long as they hold, and for a while longer when a new one is on its way. [`interleave`]
//! puts the addresses into the order in which connecting tries them.

mod cache;
mod order;
mod resolve;

pub use cache::{Cache, CacheOptions, CacheStats, Lookup, Task};
pub use order::interleave;
pub use resolve::{Resolve, Resolved, Resolving};
