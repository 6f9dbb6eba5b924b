//! Row 20: connections opened together end together, and are opened together again.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
use crate::engine::TargetFacts;
use crate::observation::Side;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    row: 20,
    name: "synchronised-expiry",
    symptom: "bursts of connects at round intervals",
    covers: &[],
    look,
};

fn look(view: &View<'_>) -> Look {
    Ok(view.engine()?.targets.iter().filter_map(case).collect())
}

fn case(target: &TargetFacts) -> Option<Case> {
    let seconds = period(&target.opens)?;
    let aged = target
        .closes
        .iter()
        .filter(|(why, _)| why.contains("lifetime") || why.contains("idle"))
        .map(|(_, count)| *count)
        .fold(0, u64::saturating_add);
    if aged == 0 {
        return None;
    }
    let most = target.opens.iter().max().copied().unwrap_or(0);
    Some(
        Case::new(Severity::Note, "connections opened together reach their lifetime or idle limit together")
            .at_place(target.target.clone(), Some(Side::Connecting))
            .seen(format!(
                "up to {most} connects in a second, every {seconds} s; {aged} connections \
             ended for their age"
            ))
            .helps(Remedy::configuration(
                "spread the limit by a random tenth or more of it (jitter)",
                Effect::of(Measure::OpensPeak, most.into(), f64::from((most / seconds.max(1)).max(1)))
                    .at(&*target.target)
                    .within(seconds.into()),
                "connects a second are even",
            ))
            .does_not_help("a longer limit: the bursts come less often, and are as large"),
    )
}

/// The interval in seconds at which bursts come: the lag at which the series is most like itself.
fn period(opens: &[u32]) -> Option<u32> {
    // A quarter of an hour holds enough bursts, and bounds the work.
    let opens = opens.get(opens.len().saturating_sub(900)..)?;
    let mean = opens.iter().map(|&count| f64::from(count)).sum::<f64>() / opens.len().max(1) as f64;
    let around: Vec<f64> = opens.iter().map(|&count| f64::from(count) - mean).collect();
    let power: f64 = around.iter().map(|one| one * one).sum();
    let bursts = opens.iter().filter(|&&count| f64::from(count) > mean * 3.0 && count >= 5).count();
    // Three bursts make two equal intervals; fewer prove nothing.
    if bursts < 3 || power <= 0.0 {
        return None;
    }
    let alike =
        |lag: usize| around.iter().zip(&around[lag..]).map(|(one, other)| one * other).sum::<f64>() / power;
    // Each later lag compares less, hence a third less alike at three periods; 0.5 is a guess.
    (2..=opens.len() / 3).find(|&lag| alike(lag) >= 0.5).map(|lag| lag as u32)
}
