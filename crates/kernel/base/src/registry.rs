//! The list of everything an engine counts, by name, so that one place can print it all.
//!
//! Whoever counts registers a [`Source`]: a function that is called when somebody looks. Nothing is counted twice and
//! nothing is computed until then.

use std::sync::{Arc, Mutex, PoisonError};

use crate::HistogramSnapshot;

/// One number, or one histogram, with its labels, at the moment of looking.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Name in OpenMetrics form without unit suffix rules applied: `millstream_http_requests`.
    pub name: &'static str,
    /// One line for a person.
    pub help: &'static str,
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: Value,
}

/// What a [`Sample`] holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
    /// Durations in nanoseconds.
    Histogram(HistogramSnapshot),
}

/// Something that can be asked for its numbers.
pub trait Source: Send + Sync {
    /// Appends the numbers as they are now.
    fn collect(&self, into: &mut Vec<Sample>);
}

impl<F: Fn(&mut Vec<Sample>) + Send + Sync> Source for F {
    fn collect(&self, into: &mut Vec<Sample>) {
        self(into);
    }
}

/// All sources of one engine. Clones share the list.
#[derive(Clone, Default)]
pub struct Registry(Arc<Mutex<Vec<Arc<dyn Source>>>>);

impl Registry {
    /// Adds a source; it stays for as long as the registry.
    pub fn register(&self, source: Arc<dyn Source>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// Asks every source. No lock is held while a source runs.
    pub fn collect(&self) -> Vec<Sample> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut samples = Vec::new();
        sources.iter().for_each(|source| source.collect(&mut samples));
        samples
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_asked_when_somebody_looks() {
        let registry = Registry::default();
        registry.register(Arc::new(|into: &mut Vec<Sample>| {
            into.push(Sample { name: "n", help: "h", labels: vec![], value: Value::Counter(3) });
        }));
        let samples = registry.collect();
        assert!(matches!(samples[..], [Sample { name: "n", value: Value::Counter(3), .. }]));
    }
}
