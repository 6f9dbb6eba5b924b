//! Waiting for a moment: [`sleep`], [`interval`], [`timeout`](fn@timeout), and timers with a name that others can cancel.
//!
//! On a worker, timers stand in a wheel of the worker's own with ticks of 1 ms ([`wheel`]), which holds no object for each
//! of them but a waker and two numbers ([`slots`]). On any other tokio runtime they are tokio's, but
//! for those with a name: a worker of their engine keeps the time for them wherever they are awaited.
//!
//! ```
//! use millstream_runtime::{Engine, sleep, timeout};
//! use std::time::Duration;
//! let engine = Engine::builder().workers(1).build()?;
//! engine.run(async |_| {
//!     sleep(Duration::from_millis(5)).await;
//!     let late = timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
//!     assert!(late.unwrap_err().is_timeout());
//! })?;
//! # Ok::<(), millstream_base::Error>(())
//! ```

mod driver;
mod interval;
mod named;
#[cfg(feature = "test-util")]
mod paused;
mod sleep;
mod slots;
#[cfg(test)]
mod tests;
mod timeout;
mod wheel;

pub use interval::{Interval, MissedTick, interval, interval_at};
pub use named::NamedTimer;
#[cfg(feature = "test-util")]
pub use paused::advance;
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Timeout, timeout};

pub(crate) use driver::drive;
pub(crate) use named::Names;
pub(crate) use wheel::{SleepWheel, enter, leave};
