//! Row 8: we have closed our half, still hold the socket, and the peer keeps its half open.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::observation::Endpoint;
use crate::view::View;

pub(super) const RULE: Rule =
    Rule { row: 8, name: "half-closed", symptom: "FIN_WAIT_2 that a process holds", covers: &[], look };

/// Some are always on their way; so many that stay are not. A guess.
const KEPT: u32 = 10;
/// Longer than any lingering close should take; a guess.
const SILENT_MS: u64 = 60_000;

fn look(view: &View<'_>) -> Look {
    Ok(view.last.endpoints.iter().filter_map(|one| case(view, one)).collect())
}

fn case(view: &View<'_>, one: &Endpoint) -> Option<Case> {
    let count = one.states.fin_wait_2_owned;
    let is_stuck = one.half_closed_kept > 0 && one.half_closed_ms >= SILENT_MS;
    if one.half_closed_kept < KEPT && !is_stuck {
        return None;
    }
    let case = Case::new(
        Severity::Warning,
        "our program sent its FIN and waits without a limit for the peer's, which does not come",
    )
    .at(one)
    .seen(format!(
        "{count} FIN_WAIT_2 with an owner; {} stayed for {:.1} s",
        one.half_closed_kept,
        view.seconds()
    ))
    .seen(format!("the longest silence is {:.1} s", one.half_closed_ms as f64 / 1000.0))
    .helps(Remedy::code(
        "give the wait after shutdown() a deadline of a few seconds, then close",
        format!("FIN_WAIT_2 from {count} to what begins within one deadline"),
        "fin_wait_2_owned of this endpoint falls",
    ))
    .does_not_help(
        "tcp_fin_timeout: it begins to count when nobody holds the socket; a process \
             holds these",
    );
    Some(case)
}
