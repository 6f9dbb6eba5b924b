//! What clients report, a line a request, and the sum of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

/// What all clients of an act have done so far. Each number only grows; one that is a moment old does no harm.
pub(crate) struct Tally {
    started: Instant,
    answered: AtomicU32,
    failed: AtomicU32,
    first_error: Mutex<Option<FirstError>>,
}

/// The first request that failed.
#[derive(Clone)]
pub(crate) struct FirstError {
    pub(crate) client: String,
    pub(crate) text: String,
    pub(crate) seconds: f64,
}

/// What a client says of a request that was answered.
const ANSWERED: &str = "answered";
/// What it says before the reason of one that was not.
const FAILED: &str = "failed ";

/// The line of one request.
pub(crate) fn line(outcome: &Result<(), String>) -> String {
    match outcome {
        Ok(()) => ANSWERED.to_owned(),
        Err(why) => format!("{FAILED}{}", why.replace('\n', " ")),
    }
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            answered: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            first_error: Mutex::default(),
        }
    }

    /// Takes a line of a client.
    pub(crate) fn add(&self, client: &str, line: &str) {
        if line == ANSWERED {
            self.answered.fetch_add(1, Relaxed);
        } else if let Some(why) = line.strip_prefix(FAILED) {
            self.failed.fetch_add(1, Relaxed);
            let seconds = self.started.elapsed().as_secs_f64();
            let mut first = self.first_error.lock().expect("nobody panics with it");
            first.get_or_insert_with(|| FirstError {
                client: client.to_owned(),
                text: why.to_owned(),
                seconds,
            });
        }
    }

    pub(crate) fn answered(&self) -> u32 {
        self.answered.load(Relaxed)
    }

    pub(crate) fn failed(&self) -> u32 {
        self.failed.load(Relaxed)
    }

    pub(crate) fn first_error(&self) -> Option<FirstError> {
        self.first_error.lock().expect("nobody panics with it").clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_the_first_error_is_kept() {
        let tally = Tally::new();
        for outcome in [Ok(()), Err("no\nport".to_owned()), Err("later".to_owned()), Ok(())] {
            tally.add("shop", &line(&outcome));
        }
        tally.add("shop", "nonsense");
        let first = tally.first_error().expect("two failed");
        assert_eq!((tally.answered(), tally.failed()), (2, 2));
        assert_eq!((first.client.as_str(), first.text.as_str()), ("shop", "no port"));
    }
}
