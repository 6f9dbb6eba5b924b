//! Keep, lend, cap and evict reusable things; knows no socket.
//!
//! A [`Pool`] has a [`Bucket`] for each key. A caller asks the bucket for a [`Checkout`] and gets a [`Grant`]: a
//! session somebody gave back ([`Lent`]), or a place to open one in ([`Permit`]). Stock is last in, first out, in a
//! shard a worker, stolen from before anybody opens; callers that wait are served first in, first out.
//!
//! Never are more sessions open than `max_open`, and none is opened that nobody asked for: N callers at once on a limit
//! of M <= N open exactly M.
//!
//! No clock: whoever calls says what time it is. No runtime: futures work under any. No task: whoever owns the pool
//! calls [`Pool::sweep`] now and then.

mod bucket;
mod checkout;
mod ending;
mod lent;
mod options;
mod overload;
mod pool;
mod queue;
mod refusal;
mod shared;
mod stats;
mod stock;
mod sync;

#[cfg(all(test, feature = "loom"))]
mod loom_tests;

pub use bucket::Bucket;
pub use checkout::{Checkout, Grant};
pub use lent::{EntryId, Evicted, Lent, Permit};
pub use options::PoolOptions;
pub use pool::{Key, Pool};
pub use stats::{EvictCause, Stats};

/// What a pool can hold.
pub trait Pooled: Send + 'static {
    /// Has nothing been seen that makes it useless: a FIN, an unexpected byte? Asked at each checkout: no syscall.
    fn is_usable(&mut self) -> bool;

    /// The pool lets go of it. Called outside of all locks; its place is given to somebody else once this returns.
    /// Unless told otherwise it is dropped.
    fn evicted(self, cause: EvictCause)
    where
        Self: Sized,
    {
        let _ = cause;
    }
}
