//! Row 18: one destination does not answer SYNs while our own ports are free: something between has none left.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::observation::{Endpoint, Side};
use crate::view::{View, percent};

pub(super) const RULE: Rule = Rule {
    row: 18,
    name: "nat-budget",
    symptom: "connects to one destination time out while local ports are free",
    covers: &[12],
    look,
};

/// A guess.
const MANY: u32 = 3;

fn look(view: &View<'_>) -> Look {
    let ports = view.ports()?;
    if !is_one_destination(view) {
        return Ok(vec![]);
    }
    Ok(silent(view)
        .filter(|one| percent(one.held.into(), ports.into()) < 50)
        .map(|one| case(one, ports))
        .collect())
}

fn silent<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
    view.on_side(Side::Connecting).filter(|one| one.syn_repeated >= MANY)
}

/// Exactly one destination is silent, others answer, and the silent one has connections that work: it is alive, but refuses
/// new flows.
pub(super) fn is_one_destination(view: &View<'_>) -> bool {
    let mut all = silent(view);
    let (Some(one), None) = (all.next(), all.next()) else { return false };
    let others_answer = view
        .on_side(Side::Connecting)
        .any(|other| other.remote != one.remote && other.states.established > 0);
    others_answer
        && !one.is_loopback
        && one.states.established > 0
        && view.grown_or_zero("TcpExt.ListenOverflows") == 0
}

fn case(one: &Endpoint, ports: u32) -> Case {
    Case::new(
        Severity::Warning,
        format!(
            "new flows to {} are dropped on the way, while old ones live: a NAT device or \
             a cloud's SNAT has no port left for it",
            one.remote
        ),
    )
    .at(one)
    .seen(format!(
        "{} SYNs are being repeated, {} connections work, other destinations answer",
        one.syn_repeated, one.states.established
    ))
    .seen(format!("only {} of {ports} local ports are held", one.held))
    .helps(Remedy::code(
        "reuse connections to this destination",
        "a NAT has about 1,024 to 64,512 ports for each destination; reuse needs a few",
        "syn_sent of this endpoint is 0",
    ))
    .helps(Remedy::configuration(
        "use more egress addresses, or more addresses of the destination",
        "the NAT's ports once more with each",
        "syn_sent of this endpoint is 0",
    ))
    .does_not_help("widening ip_local_port_range: the local ports are free, the NAT has its own")
    .does_not_help("tcp_tw_reuse and tcp_fin_timeout: no local port is missing")
}
