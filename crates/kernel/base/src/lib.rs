//! What every crate of Millstream shares: errors, deadlines, limits, ids, counters and histograms.
//!
//! No I/O, no async, no clock but [`std::time::Instant`]. Whatever stands here is used by at least two crates above.

pub mod codec;
mod deadline;
mod error;
mod histogram;
mod id;
mod limit;
mod mean;
mod panic;
pub mod registry;
mod slot;

pub use deadline::Deadline;
pub use error::{BoxError, Error, Kind, Origin, Phase, Seen};
pub use histogram::{Histogram, HistogramSnapshot};
pub use id::{ConnId, EngineId, IdSource};
pub use limit::Limit;
pub use mean::RunningMean;
pub use panic::panic_text;
pub use slot::{Counters, Gauge, Slot};

/// The result of everything in Millstream that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;
