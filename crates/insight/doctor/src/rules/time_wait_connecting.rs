//! Row 4: many TIME_WAIT on ports of our own choice: we close first, as the client.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
use crate::engine::TargetFacts;
use crate::observation::{Endpoint, Side};
use crate::reuse::{self, Takeable};
use crate::view::{View, percent, seconds_to_exhaustion};

pub(super) const RULE: Rule = Rule {
    row: 4,
    name: "time-wait-connecting",
    symptom: "many TIME_WAIT on ephemeral ports",
    covers: &[],
    look,
};

/// A guess: at a fifth of the ports, five times the traffic ends in row 1.
const MANY_PERCENT: u64 = 20;

fn look(view: &View<'_>) -> Look {
    let ports = view.ports()?;
    // Those that are taken over when a port is needed cost nothing: five times the traffic does not end in row 1.
    let is_many = |one: &&Endpoint| {
        let takeable = view.takeable(one).filter(Takeable::is_shown).map_or(0, |takeable| takeable.ports);
        percent(one.states.time_wait.saturating_sub(takeable).into(), ports.into()) >= MANY_PERCENT
    };
    Ok(view.on_side(Side::Connecting).filter(is_many).map(|one| case(view, one, ports)).collect())
}

fn case(view: &View<'_>, one: &Endpoint, ports: u32) -> Case {
    let takeable = view.takeable(one);
    let shown = takeable.filter(Takeable::is_shown);
    let (limit, rest) = match shown {
        Some(shown) => (reuse::taking_over_limit(ports, &view.all.sysctls), format!("{} ms", shown.delay_ms)),
        None => (reuse::resting_limit(ports), "60 s".to_owned()),
    };
    let rate = one.time_wait_rate();
    let forecast = match seconds_to_exhaustion(one, ports, takeable) {
        Some(seconds) => format!("at this rate no port is left in {seconds} s"),
        None => "at this rate the ports suffice".to_owned(),
    };
    let why = view.target(one).and_then(main_close);
    let cause = match &why {
        Some((why, count)) => {
            format!("we close connections to {} first; the ledger's cause is {why} ({count})", one.remote)
        }
        None => format!("we close connections to {} first, and each keeps its port for {rest}", one.remote),
    };
    let mut case = Case::new(Severity::Warning, cause)
        .at(one)
        .seen(format!("{} TIME_WAIT of {ports} ports, {} held in all", one.states.time_wait, one.held))
        .seen(format!("{rate:.1} closes a second of {limit:.1} that the ports allow; {forecast}"));
    if let Some(takeable) = takeable {
        case = case.seen(takeable.evidence(view.seconds()));
    }
    helped(one, case)
}

fn helped(one: &Endpoint, case: Case) -> Case {
    case.helps(Remedy::code(
        "keep connections alive and reuse them; read each response to its end, or the \
             connection can't be kept",
        Effect::of(Measure::TimeWait, one.states.time_wait.into(), 0.0).at(one.name()).within(60),
        format!("time_wait of {} falls in `millstream doctor --watch`", one.remote),
    ))
    .helps(Remedy::configuration(
        "keep at least as many idle connections as run at once: a smaller pool closes \
             the surplus after each burst",
        "no closes for want of room",
        "closes by the cause of capacity stay 0",
    ))
    .does_not_help(format!(
        "tcp_fin_timeout: it acts on orphaned FIN_WAIT_2 only ({} here), and TIME_WAIT \
             lasts 60 s whatever it is set to",
        one.states.fin_wait_2_orphan,
    ))
    .does_not_help(
        "lowering tcp_max_tw_buckets: connections would end without TIME_WAIT, and old \
             segments may enter new ones",
    )
}

fn main_close(target: &TargetFacts) -> Option<(&str, u64)> {
    target.closes.iter().max_by_key(|(_, count)| **count).map(|(why, count)| (why.as_str(), *count))
}
