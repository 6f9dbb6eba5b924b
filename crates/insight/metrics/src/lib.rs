//! OpenMetrics text over the engine's own cells.
//!
//! Whoever counts registers a source with its engine's [`Registry`](millstream_base::registry::Registry); [`render`] turns
//! what the sources say into the text that Prometheus and others read
//! (<https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>). Nothing is counted here, and
//! nothing is computed until somebody asks.

mod family;
mod process;
mod text;

pub use process::Process;
pub use text::{CONTENT_TYPE, render};
