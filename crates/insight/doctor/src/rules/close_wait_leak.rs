//! Row 7: the peer has closed, and our process does not.

use std::collections::BTreeMap;

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
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
    let held = held(view, one);
    if !is_rising && one.close_wait_kept < KEPT && held.is_empty() {
        return None;
    }
    let cause = "the peer closed, and the process that holds the sockets has not called \
             close(): a leaked descriptor, a stuck worker, or a pool that does not watch \
             its idle connections";
    let mut case = Case::new(Severity::Warning, cause)
        .at(one)
        .seen(format!("CLOSE_WAIT in {} samples over {:.1} s: {history:?}", history.len(), view.seconds()))
        .seen(format!("{} of them were there all the time", one.close_wait_kept))
        .helps(Remedy::code(
            "find who holds them (the process is named above), and close when a read gives \
             0 bytes; a pool must watch idle connections for that",
            Effect::of(Measure::CloseWait, last.into(), 0.0).at(one.name()).and("as soon as they are closed"),
            "close_wait of this endpoint stays near 0",
        ))
        .does_not_help("any sysctl: CLOSE_WAIT has no timeout in the kernel")
        .does_not_help("tcp_keepalive_time: the peer is alive, and has closed");
    for line in held {
        case = case.seen(line);
    }
    Some(case)
}

/// Which calls of the engine have the connections, most first.
fn held(view: &View<'_>, one: &Endpoint) -> Vec<String> {
    let Ok(engine) = view.engine() else { return Vec::new() };
    let mut owners = BTreeMap::<&str, (usize, u64)>::new();
    for held in engine.held.iter().filter(|held| held.remote == one.remote) {
        let (count, longest) = owners.entry(&held.owner).or_default();
        (*count, *longest) = (*count + 1, (*longest).max(held.held_ms));
    }
    let mut owners: Vec<_> = owners.into_iter().collect();
    owners.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let line = |(owner, (count, longest)): (&str, (usize, u64))| {
        let owner = if owner.is_empty() { "a call whose place is not known" } else { owner };
        format!(
            "{count} kept, and not read, since up to {:.1} s by the call at {owner}",
            longest as f64 / 1e3
        )
    };
    owners.into_iter().take(OWNERS).map(line).collect()
}

/// So many are named.
const OWNERS: usize = 8;
