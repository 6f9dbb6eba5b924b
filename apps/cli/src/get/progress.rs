//! A progress bar for each body, on a terminal only.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plan::{Job, Place};

/// All bars.
pub(crate) struct Progress(MultiProgress);

impl Progress {
    /// Bars on standard error, unless they would disturb: no terminal, `--quiet`, or bodies that go to the same terminal.
    pub(crate) fn new(jobs: &[Job], is_quiet: bool) -> Self {
        let disturbs = std::io::stdout().is_terminal() && jobs.iter().any(|job| job.place == Place::Stdout);
        let is_shown = std::io::stderr().is_terminal() && !disturbs && !is_quiet;
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self(MultiProgress::with_draw_target(target))
    }

    /// A bar for this body.
    pub(crate) fn bar(&self, job: &Job) -> ProgressBar {
        let name = match &job.place {
            Place::Stdout => super::place(&job.url),
            Place::File(path) => path.display().to_string(),
        };
        self.0.add(ProgressBar::no_length().with_style(style(UNKNOWN)).with_prefix(name))
    }

    /// Says something between the bars.
    pub(crate) fn say(&self, say: impl FnOnce()) {
        self.0.suspend(say);
    }
}

/// The body begins: so much is there already, and so long it will be.
pub(crate) fn begin(bar: &ProgressBar, there: u64, length: Option<u64>) {
    if let Some(length) = length {
        bar.set_length(length);
        bar.set_style(style(KNOWN));
    }
    bar.set_position(there);
    // Speed is of what is fetched now.
    bar.reset_eta();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates below are good").progress_chars("=> ")
}

const KNOWN: &str = "{prefix:24!} [{bar:30}] {binary_bytes:>10} of {binary_total_bytes:<10} {binary_bytes_per_sec:>12} {eta:>4}";
const UNKNOWN: &str = "{prefix:24!} {spinner} {binary_bytes:>10} {binary_bytes_per_sec:>12} {elapsed:>4}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_good() {
        style(KNOWN);
        style(UNKNOWN);
    }
}
