//! Row 9: FIN_WAIT_2 that nobody holds: the one case for `tcp_fin_timeout`.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
use crate::observation::{Endpoint, Side};
use crate::view::View;

pub(super) const RULE: Rule =
    Rule { row: 9, name: "orphan-half-closed", symptom: "FIN_WAIT_2 that nobody holds", covers: &[], look };

const SYSCTL: &str = "net.ipv4.tcp_fin_timeout";
/// Some are always there for a round trip; a guess.
const MANY: u32 = 10;
/// As low as is kind to slow peers; a guess, in seconds.
const PROPOSED_S: u64 = 15;

fn look(view: &View<'_>) -> Look {
    Ok(view.last.endpoints.iter().filter_map(|one| case(view, one)).collect())
}

fn case(view: &View<'_>, one: &Endpoint) -> Option<Case> {
    let history = view.history(one, |one| one.states.fin_wait_2_orphan);
    if history.iter().any(|&count| count < MANY) {
        return None;
    }
    let (count, now) = (one.states.fin_wait_2_orphan, view.sysctl(SYSCTL));
    let span = now.unwrap_or(60);
    // What waits now still has the old span before it.
    let fewer = |seconds: u64| {
        let rest = u64::from(count).saturating_mul(seconds) / span.max(1);
        Effect::of(Measure::FinWait2Orphan, count.into(), rest as f64).at(one.name()).within(span)
    };
    let mut case = Case::new(
        Severity::Warning,
        "our program closed, and the peer never sends its FIN; the kernel waits for it alone",
    )
    .at(one)
    .seen(format!(
        "FIN_WAIT_2 without an owner in {} samples: {history:?}; each lasts {span} s",
        history.len()
    ));
    if one.side == Side::Connecting {
        case = case.seen("each holds a port towards its destination");
    }
    case = case
        .helps(Remedy::code(
            "set TCP_LINGER2 on the sockets to a few seconds: as the sysctl below, for \
             this program alone and without root",
            fewer(5).and("with 5 s"),
            "fin_wait_2_orphan of this endpoint falls",
        ))
        .does_not_help(format!("tcp_tw_reuse: these {count} sockets are not in TIME_WAIT"));
    if span > PROPOSED_S {
        case = case.helps(Remedy::sysctl(
            (SYSCTL, now, PROPOSED_S.to_string()),
            "it limits just this state",
            fewer(PROPOSED_S),
            "fin_wait_2_orphan of this endpoint falls",
        ));
    }
    Some(case)
}
