//! `millstream doctor`: what is wrong with this host's connections, and what helps.

mod options;
mod since;
mod watch;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use millstream::doctor::{Comparison, Observation, Observer, Report, Verdict};
use millstream::{Error, Result};

use crate::exit::Exit;

pub(crate) use options::Options;

/// Looks, and says what it saw.
pub(crate) fn run(options: &Options) -> Result<Exit> {
    let earlier = options.since.as_deref().map(since::read).transpose()?;
    if options.watch {
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            return Err(Error::invalid("--watch needs a terminal; without one, use --json again and again"));
        }
        return watch::run(observer(options.endpoint)?, since::Earlier::of(earlier));
    }
    let mut report = Report::of(&observe(options.endpoint, options.span)?);
    report.since = earlier.map(|earlier| Comparison::of(&earlier, &report)).transpose()?;
    say(&if options.json { report.to_json() + "\n" } else { report.to_text() })?;
    Ok(match report.verdict {
        Verdict::Critical => Exit::Critical,
        Verdict::Warning => Exit::Warning,
        _ => Exit::Done,
    })
}

/// Looks for so long.
pub(crate) fn observe(endpoint: Option<SocketAddr>, span: Duration) -> Result<Observation> {
    let mut observer = observer(endpoint)?;
    let (count, pause) = rhythm(span);
    let started = Instant::now();
    for at in 0..count {
        let due = pause.saturating_mul(u32::try_from(at).unwrap_or(u32::MAX));
        std::thread::sleep(due.saturating_sub(started.elapsed()));
        observer.sample()?;
        // Where a dump takes longer than the pause, fewer have to do.
        if at + 1 >= Observation::SAMPLES_MIN && started.elapsed() >= span {
            break;
        }
    }
    Ok(observer.observation())
}

fn observer(endpoint: Option<SocketAddr>) -> Result<Observer> {
    let observer = Observer::new()?;
    Ok(match endpoint {
        Some(endpoint) => observer.endpoint(endpoint),
        None => observer,
    })
}

/// How many samples, and the pause between. Four a second, so that few connections live and die unseen; never fewer than the
/// rules need, nor more than are kept.
fn rhythm(span: Duration) -> (usize, Duration) {
    let wanted = usize::try_from(span.as_millis() / 250).unwrap_or(usize::MAX).saturating_add(1);
    let count = wanted.clamp(Observation::SAMPLES_MIN, Observer::SAMPLES_MAX);
    (count, span / u32::try_from(count - 1).unwrap_or(u32::MAX))
}

/// Writes to standard output; nobody may be there to read it, as behind `head`.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io(error).with_target("standard output"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rhythm_is_enough_for_the_rules_and_bounded() {
        let ms = Duration::from_millis;
        assert_eq!(rhythm(ms(0)), (3, ms(0)));
        assert_eq!(rhythm(ms(100)), (3, ms(50)));
        assert_eq!(rhythm(ms(1000)), (5, ms(250)));
        assert_eq!(rhythm(ms(119_000)), (120, ms(1000)));
    }
}
