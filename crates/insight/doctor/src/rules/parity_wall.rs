//! Row 2: more than half of the ports are held, and the kernel's search goes over all of one parity first.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
use crate::observation::Side;
use crate::view::{View, percent};

pub(super) const RULE: Rule = Rule {
    row: 2,
    name: "parity-wall",
    symptom: "connect() is slow, the system's share of CPU is up, the load is low",
    covers: &[4],
    look,
};

fn look(view: &View<'_>) -> Look {
    let ports = view.ports()?;
    view.engine()
        .map_err(|_| "only an engine knows how long connect() itself takes, and none was asked".to_owned())?;
    let mut cases = vec![];
    for one in view.on_side(Side::Connecting) {
        let Some(target) = view.target(one) else { continue };
        let Some((now, before)) = target.connect_call_us.zip(target.connect_call_baseline_us) else {
            continue;
        };
        // Just below half, where the wall is. Ten times is a guess; others measured 12 us that become 1,490.
        if percent(one.held.into(), ports.into()) < 45 || now <= before.saturating_mul(10) {
            continue;
        }
        let cause = format!(
            "half of the {ports} ports are held for {}: the search tries all ports of one \
             parity before the other",
            one.remote
        );
        let case = Case::new(Severity::Warning, cause)
            .at(one)
            .seen(format!(
                "{} of {ports} ports held; connect() takes {now} us, {before} us with few held",
                one.held
            ))
            .helps(Remedy::code(
                "set IP_LOCAL_PORT_RANGE to the whole range on the socket (Linux 6.8): the \
             search then steps by one port",
                Effect::of(Measure::ConnectCallUs, now as f64, before as f64)
                    .at(&*target.target)
                    .and(format_args!("connect() back to about {before} us")),
                "the median time in connect()",
            ))
            .helps(Remedy::code(
                "reuse connections",
                "fewer ports held, and fewer searches",
                "`used` falls below half of `budget`",
            ))
            .does_not_help("tcp_fin_timeout: it frees no port that is in TIME_WAIT or in use");
        cases.push(case);
    }
    Ok(cases)
}
