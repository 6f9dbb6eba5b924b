//! What the operating system says of this process, under the names that Prometheus' own clients use.

use std::fs;

use millstream_base::registry::{Sample, Source, Value};
use rustix::process::{Resource, getrlimit};

/// Memory, descriptors and threads of this process. What the system does not say is left out.
///
/// ```
/// use millstream_base::registry::Source;
/// let mut samples = Vec::new();
/// millstream_metrics::Process.collect(&mut samples);
/// # #[cfg(target_os = "linux")]
/// assert!(samples.iter().any(|sample| sample.name == "process_open_fds"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Process;

impl Source for Process {
    fn collect(&self, into: &mut Vec<Sample>) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |key| field(&status, key).map(|kib| kib * 1024.0);
        let mut push = |name, help, level: Option<f64>| {
            if let Some(level) = level {
                into.push(Sample { name, help, labels: Vec::new(), value: Value::Gauge(level) });
            }
        };
        push("process_resident_memory_bytes", "Memory that is in RAM", kib("VmRSS:"));
        push("process_virtual_memory_bytes", "Memory that is mapped", kib("VmSize:"));
        push("process_threads", "Threads", field(&status, "Threads:"));
        push("process_open_fds", "Open descriptors", open_descriptors());
        push("process_max_fds", "Descriptors that may be open", most_descriptors());
    }
}

/// The number behind `key` in `/proc/self/status`.
fn field(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[allow(clippy::cast_precision_loss)] // under 2^53 descriptors
fn open_descriptors() -> Option<f64> {
    // One of them is the folder we read.
    fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1) as f64)
}

#[allow(clippy::cast_precision_loss)]
fn most_descriptors() -> Option<f64> {
    getrlimit(Resource::Nofile).current.map(|most| most as f64)
}
