//! Row 14: reused connections fail, fresh ones do not: the peer closes idle connections just as we use them.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
use crate::engine::TargetFacts;
use crate::observation::Side;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    row: 14,
    name: "keep-alive-race",
    symptom: "resets or ends now and then, on reused connections only",
    covers: &[],
    look,
};

fn look(view: &View<'_>) -> Look {
    Ok(view.engine()?.targets.iter().filter_map(case).collect())
}

fn case(target: &TargetFacts) -> Option<Case> {
    let (reused, fresh) =
        (share(target.reused_failed, target.reused), share(target.fresh_failed, target.fresh));
    // Three are more than chance, and five times the rate of fresh ones is a difference; both are guesses.
    if target.reused_failed < 3 || reused < fresh * 5.0 {
        return None;
    }
    let mut ages = target.idle_ms_at_failure.clone();
    ages.sort_unstable();
    // The youngest failures are nearest to the peer's limit: it can't have closed earlier.
    let limit = ages.get(ages.len() / 10).copied();
    let mut case = Case::new(
        Severity::Warning,
        "the peer's idle limit is shorter than ours: it closes while our request is under way",
    )
    .at_place(target.target.clone(), Some(Side::Connecting))
    .seen(format!(
        "{} of {} calls on reused connections failed ({:.2} %), {} of {} on fresh ones",
        target.reused_failed,
        target.reused,
        reused * 100.0,
        target.fresh_failed,
        target.fresh
    ));
    let mut proposal = "below the peer's".to_owned();
    if let Some(ms) = limit {
        case = case.seen(format!("they had been idle for {ms} ms or more: that is the peer's limit"));
        proposal = format!("to {} ms, below the peer's {ms} ms", ms.saturating_mul(8) / 10);
    }
    Some(
        case.helps(Remedy::code(
            "watch idle connections for the peer's end, and repeat idempotent calls once \
             on a fresh connection",
            format!("of {} failures those remain that are not idempotent", target.reused_failed),
            "failures on reused connections",
        ))
        .helps(Remedy::configuration(
            format!("set the idle limit of {} {proposal}", target.target),
            Effect::of(Measure::ReusedFailures, target.failures_per_thousand().unwrap_or(0.0), 0.0)
                .at(&*target.target)
                .and(format_args!("{} failures become about 0", target.reused_failed)),
            "failures on reused connections are as rare as on fresh ones",
        ))
        .does_not_help("a longer idle limit: above the peer's it makes more of these")
        .does_not_help("tcp_keepalive_time: its probes do not keep the peer's HTTP timer from ending"),
    )
}

fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
