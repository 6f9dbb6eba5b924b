//! Row 6: the kernel's limit of TIME_WAIT sockets is reached, and connections end without it.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Expected, Measure};
use crate::view::{View, percent};

pub(super) const RULE: Rule =
    Rule { row: 6, name: "time-wait-limit", symptom: "TCPTimeWaitOverflow grows", covers: &[], look };

const LIMIT: &str = "net.ipv4.tcp_max_tw_buckets";

fn look(view: &View<'_>) -> Look {
    let skipped = view.grown("TcpExt.TCPTimeWaitOverflow")?;
    let limit = view.need_sysctl(LIMIT)?;
    let waits = view.last.gauges.get("TCP.tw").copied().unwrap_or(0);
    // 80 % is a guess: early enough to act before the first close skips TIME_WAIT.
    if skipped == 0 && percent(waits, limit) < 80 {
        return Ok(vec![]);
    }
    let rate = skipped as f64 / view.seconds();
    // A minute of what was closed, half as much again for bursts; never less than there is.
    let wanted = (((waits as f64) + rate * 60.0) * 1.5) as u64;
    let proposed = wanted.clamp(limit.saturating_mul(2), limit.saturating_mul(16).max(1024));
    let cause = format!(
        "{LIMIT} = {limit} is reached: connections end without TIME_WAIT, and old \
             segments may enter new ones"
    );
    let words = format!("{proposed} x 256 bytes = {} KiB at most; no close skips TIME_WAIT", proposed / 4);
    let expected = match skipped {
        0 => Expected::from(words),
        _ => Effect::of(Measure::TimeWaitSkipped, rate, 0.0).and(words),
    };
    Ok(vec![
        Case::new(Severity::Warning, cause)
            .seen(format!(
                "{skipped} closes skipped TIME_WAIT in {:.1} s; {waits} of {limit} are there",
                view.seconds()
            ))
            .helps(Remedy::code(
                "close less: reuse connections",
                "each connection that lives on is one TIME_WAIT less for a minute",
                "TcpExt TCPTimeWaitOverflow stands still",
            ))
            .helps(Remedy::sysctl(
                (LIMIT, Some(limit), proposed.to_string()),
                "the limit is too low for what is closed in a minute",
                expected,
                "TcpExt TCPTimeWaitOverflow stands still",
            ))
            .does_not_help(format!("lowering {LIMIT}: it makes this worse"))
            .does_not_help("tcp_fin_timeout: TIME_WAIT lasts 60 s whatever it is set to"),
    ])
}
