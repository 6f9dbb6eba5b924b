//! Row 7: the peer has closed, and our process does not.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::observation::Endpoint;
use crate::view::View;

pub(super) const RULE: Rule =
    Rule { row: 7, name: "close-wait-leak", symptom: "CLOSE_WAIT grows", covers: &[], look };

/// So many that stay over the whole time are a leak that rests; a guess.
const KEPT: u32 = 50;

fn look(view: &View<'_>) -> Look {
    Ok(view.last.endpoints.iter().filter_map(|one| case(view, one)).collect())
}

fn case(view: &View<'_>, one: &Endpoint) -> Option<Case> {
    let history = view.history(one, |one| one.states.close_wait);
    let (first, last) = (*history.first()?, *history.last()?);
    let is_rising = history.is_sorted() && last >= first.saturating_add(3);
    if !is_rising && one.close_wait_kept < KEPT {
        return None;
    }
    let cause = "the peer closed, and the process that holds the sockets has not called \
             close(): a leaked descriptor, a stuck worker, or a pool that does not watch \
             its idle connections";
    let case = Case::new(Severity::Warning, cause)
        .at(one)
        .seen(format!("CLOSE_WAIT in {} samples over {:.1} s: {history:?}", history.len(), view.seconds()))
        .seen(format!("{} of them were there all the time", one.close_wait_kept))
        .helps(Remedy::code(
            "find who holds them (the process is named above), and close when a read gives \
             0 bytes; a pool must watch idle connections for that",
            format!("CLOSE_WAIT from {last} to 0 as soon as they are closed"),
            "close_wait of this endpoint stays near 0",
        ))
        .does_not_help("any sysctl: CLOSE_WAIT has no timeout in the kernel")
        .does_not_help("tcp_keepalive_time: the peer is alive, and has closed");
    Some(case)
}
