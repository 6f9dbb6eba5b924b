//! Row 3: ports are taken by `bind`, for all destinations at once.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Expected, Measure};
use crate::observation::Side;
use crate::view::{View, percent};

pub(super) const RULE: Rule = Rule {
    row: 3,
    name: "bind-takes-ports",
    symptom: "EADDRNOTAVAIL or EADDRINUSE though few connections lead to that peer",
    covers: &[],
    look,
};

fn look(view: &View<'_>) -> Look {
    let ports = view.ports()?;
    let sample = view.last;
    // A tenth is a guess: below it, bound sockets are an everyday thing.
    let is_bound = percent(sample.bound.into(), ports.into()) >= 10;
    let is_full_elsewhere =
        view.on_side(Side::Connecting).any(|one| percent(one.held.into(), ports.into()) >= 98);
    let destinations = view.on_side(Side::Connecting).filter(|one| one.held > 0).count();
    // Ports chosen at connect meet by chance long before 90 %: that none does shows that `bind` chose them.
    let is_global = percent(sample.ports_used.into(), ports.into()) >= 90
        && sample.ports_shared == 0
        && destinations >= 2
        && !is_full_elsewhere;
    if !is_bound && !is_global {
        return Ok(vec![]);
    }
    let taken = sample.bound.max(if is_global { sample.ports_used } else { 0 });
    let severity =
        if percent(taken.into(), ports.into()) >= 90 { Severity::Critical } else { Severity::Warning };
    let mut case =
        Case::new(severity, "bind() with port 0 takes a port for all destinations at once, not for one")
            .at_place("bound ports", Some(Side::Connecting))
            .seen(format!("{} of {ports} ports are bound by sockets without a connection", sample.bound))
            .seen(format!(
                "{} ports lead somewhere, {} of them to more than one destination",
                sample.ports_used, sample.ports_shared
            ));
    if !sample.bound_by.is_empty() {
        let who: Vec<_> = sample.bound_by.iter().map(crate::text::holder).collect();
        case = case.seen(format!("held by {}", who.join(", ")));
    }
    let words = format!("{taken} ports free again; {ports} for each destination instead of {ports} in all");
    let expected = match sample.bound {
        0 => Expected::from(words),
        bound => Effect::of(Measure::BoundPorts, bound.into(), 0.0).and(words),
    };
    Ok(vec![
        case.helps(Remedy::code(
            "set IP_BIND_ADDRESS_NO_PORT before binding a source address: the port is \
             chosen at connect, per destination",
            expected,
            "no sockets in BOUND_INACTIVE (`ss -taB`)",
        ))
        .does_not_help("tcp_tw_reuse: these ports are not in TIME_WAIT")
        .does_not_help("tcp_fin_timeout: these sockets never had a FIN"),
    ])
}
