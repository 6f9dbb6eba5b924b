//! From a name to addresses: the Resolve trait and its cache.

mod resolve;

pub use resolve::{Resolve, Resolved};
