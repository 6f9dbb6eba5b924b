//! Row 22: the peer is gone without a word, and nobody notices.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
use crate::observation::Endpoint;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    row: 22,
    name: "half-open",
    symptom: "connections to a peer that is gone stay established",
    covers: &[],
    look,
};

fn look(view: &View<'_>) -> Look {
    let is_stalled = |one: &&Endpoint| one.stalled > 0;
    Ok(view.last.endpoints.iter().filter(is_stalled).map(case).collect())
}

fn case(one: &Endpoint) -> Case {
    Case::new(
        Severity::Warning,
        "the peer, or the way to it, is gone (power, a dropped NAT entry), and no \
             limit ends the wait",
    )
    .at(one)
    .seen(format!(
        "{} of {} established connections have unacknowledged data, and no ACK for 30 s",
        one.stalled, one.states.established
    ))
    .helps(Remedy::code(
        "set TCP_USER_TIMEOUT (30 s), and SO_KEEPALIVE for connections that rest; or \
             ping in the protocol",
        Effect::of(Measure::Stalled, one.stalled.into(), 0.0)
            .at(one.name())
            .within(30)
            .and("instead of after 15 minutes or more"),
        "`ss -tio` shows no old unacked data",
    ))
    .does_not_help(
        "tcp_keepalive_time alone: probes are sent only with SO_KEEPALIVE, and not \
             while data is unacknowledged",
    )
    .does_not_help("tcp_fin_timeout: no FIN was sent")
}
