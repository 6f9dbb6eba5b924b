//! A bar while it runs, on a terminal only.

use std::io::IsTerminal;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::load::Run;

/// Shows how far it is, until it is dropped.
pub(crate) async fn show(run: &Run, is_quiet: bool) {
    let bar = bar(run, std::io::stderr().is_terminal() && !is_quiet);
    let bar = Cleared(bar);
    if bar.0.is_hidden() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(STEP).await;
        let ended: u64 = run.ended.iter().map(|count| count.load(Relaxed)).sum();
        bar.0.set_message(format!("{ended} requests"));
        let passed = || u64::try_from(run.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        bar.0.set_position(run.options.requests.map_or_else(passed, |_| ended));
    }
}

fn bar(run: &Run, is_shown: bool) -> ProgressBar {
    let span = run.options.span().and_then(|span| u64::try_from(span.as_millis()).ok());
    let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(run.options.requests.or(span), target).with_style(style())
}

/// Leaves nothing behind on the terminal.
struct Cleared(ProgressBar);

impl Drop for Cleared {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("[{bar:40}] {percent:>3} % {msg} {elapsed:>4}");
    style.expect("the template is good").progress_chars("=> ")
}

/// As often as an eye follows.
const STEP: Duration = Duration::from_millis(200);
