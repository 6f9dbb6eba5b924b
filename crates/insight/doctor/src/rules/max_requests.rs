//! Row 16: the peer closes after a fixed number of requests.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::engine::TargetFacts;
use crate::observation::Side;
use crate::view::{View, percent};

pub(super) const RULE: Rule = Rule {
    row: 16,
    name: "max-requests",
    symptom: "the peer closes after every N requests",
    covers: &[],
    look,
};

fn look(view: &View<'_>) -> Look {
    Ok(view.engine()?.targets.iter().filter_map(case).collect())
}

fn case(target: &TargetFacts) -> Option<Case> {
    let total = target.calls_at_peer_close.values().fold(0u64, |sum, count| sum.saturating_add(*count));
    let (calls, count) = target.calls_at_peer_close.iter().max_by_key(|(_, count)| **count)?;
    // One is a peer without keep-alive. Three in five of at least five are no accident; guesses.
    if *calls < 2 || total < 5 || percent(*count, total) < 60 {
        return None;
    }
    let case = Case::new(
        Severity::Note,
        format!(
            "{} closes each connection after {calls} requests (nginx: keepalive_requests)",
            target.target
        ),
    )
    .at_place(target.target.clone(), Some(Side::Connecting))
    .seen(format!(
        "{count} of the {total} connections that it closed had carried exactly {calls} \
             calls"
    ))
    .helps(Remedy::code(
        format!(
            "retire a connection after {} calls of your own accord, when it is idle",
            calls.saturating_sub(1)
        ),
        "no call meets the peer's close",
        "calls at the peer's close no longer peak",
    ))
    .helps(Remedy::configuration(
        "raise the peer's limit, if it is yours",
        format!("1 new connection for {calls} calls becomes 1 for as many as you set"),
        "connections opened for a thousand calls",
    ))
    .does_not_help("a longer idle limit: these connections do not end for being idle");
    Some(case)
}
