//! A client of any protocol: one call is target -> pool -> session -> reply, under one deadline.
//!
//! A protocol implements [`Protocol`] over its [`Session`]s; from it come the pool with waiters and limits, the watch over
//! idle connections, name resolving, the retry that is safe, and the counters. [`Simple`] makes a client of a codec.
//!
//! Everything here is `Send` and works from any tokio runtime: connections live on a worker of the engine, whoever uses
//! them, so a runtime that ends takes none along.

mod client;
mod demand;
mod dialer;
mod farewell;
mod habits;
mod lease;
mod options;
mod pace;
mod per_target;
mod pressure;
mod prewarm;
mod protocol;
mod resolver;
mod retry;
mod simple;
mod slot;
mod stats;
mod target;

pub use client::{Call, Client};
pub use habits::idle_span;
pub use lease::Lease;
pub use millstream_pool::Stats as PoolStats;
pub use millstream_runtime::{Engine, Timer, Worker, now, spawn_local, turn_now};
pub use millstream_transport as transport;
pub use millstream_upstream as upstream;
pub use options::{
    ClientOptions, DEFAULT_CALL_TIMEOUT, DEFAULT_CHECKOUT_TIMEOUT, DEFAULT_FIRST_BYTE_TIMEOUT,
    DEFAULT_IDLE_TIMEOUT, DEFAULT_LIFETIME, DEFAULT_MAX_OPEN, DEFAULT_READ_TIMEOUT, ResetIdle,
};
pub use protocol::{Failed, Protocol, Session};
pub use resolver::SystemResolver;
pub use simple::{Simple, SimpleSession};
pub use target::{Place, Target};
