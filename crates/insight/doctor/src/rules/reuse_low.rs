//! Row 15: connections are opened though idle ones could serve.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::engine::TargetFacts;
use crate::observation::Side;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    row: 15,
    name: "reuse-low",
    symptom: "few connections are reused, without errors",
    covers: &[],
    look,
};

fn look(view: &View<'_>) -> Look {
    Ok(view.engine()?.targets.iter().filter_map(case).collect())
}

fn case(target: &TargetFacts) -> Option<Case> {
    let per_thousand = target.opened.saturating_mul(1000).checked_div(target.calls)?;
    let is_clean = target.reused_failed == 0 && target.fresh_failed == 0 && target.no_port == 0;
    let is_split = target.pool_keys > 1 || target.evicted_then_missed > 0;
    // A fifth, of at least a hundred calls: guesses.
    if target.calls < 100 || per_thousand < 200 || !is_clean || !is_split {
        return None;
    }
    let is_small = target.evicted_then_missed > 0;
    let cause = if is_small {
        "the pool keeps fewer idle connections than run at once, and closes what it \
             needs again within a second"
    } else {
        "the pool is divided by keys (a thread, a name, a credential), and each part \
             keeps its own connections"
    };
    let case = Case::new(Severity::Warning, cause)
        .at_place(target.target.clone(), Some(Side::Connecting))
        .seen(format!(
            "{} connections for {} calls: {per_thousand} for a thousand",
            target.opened, target.calls
        ))
        .seen(format!(
            "{} keys; {} connections were missed within 1 s of their eviction",
            target.pool_keys, target.evicted_then_missed
        ));
    let expected = format!("{per_thousand} connections for a thousand calls become a few");
    let check = "connections opened for a thousand calls";
    Some(
        if is_small {
            case.helps(Remedy::configuration(
                "keep as many idle connections as run at once at the peak (99 %)",
                expected,
                check,
            ))
        } else {
            case.helps(Remedy::code(
                "share one pool, and put into the key only what makes connections different",
                expected,
                check,
            ))
        }
        .does_not_help("a longer idle limit: they do not end for their age")
        .does_not_help("any sysctl: the kernel does not know which connections could be reused"),
    )
}
