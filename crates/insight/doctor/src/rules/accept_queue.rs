//! Row 11: connections wait to be accepted, and some are dropped.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Expected, Measure};
use crate::observation::{Listener, Side};
use crate::view::{View, percent};

pub(super) const RULE: Rule = Rule {
    row: 11,
    name: "accept-queue",
    symptom: "ListenOverflows grows, or an accept queue fills",
    covers: &[],
    look,
};

const SYSCTL: &str = "net.core.somaxconn";

fn look(view: &View<'_>) -> Look {
    let dropped = view.grown("TcpExt.ListenOverflows")?;
    let fullest =
        view.last.listeners.iter().max_by_key(|one| percent(one.waiting.into(), one.backlog.max(1).into()));
    let Some(fullest) = fullest else {
        return Ok(if dropped > 0 { vec![case(view, None, dropped)] } else { vec![] });
    };
    // Half is the warning before; a queue of one or two is half full with a single connection on its way.
    let fills = fullest.waiting >= 3 && percent(fullest.waiting.into(), fullest.backlog.max(1).into()) >= 50;
    if dropped == 0 && !fills {
        return Ok(vec![]);
    }
    // Drops without a full queue now: the listener is not known.
    let known = fills || fullest.waiting > fullest.backlog;
    Ok(vec![case(view, known.then_some(fullest), dropped)])
}

fn case(view: &View<'_>, listener: Option<&Listener>, dropped: u64) -> Case {
    let severity = if dropped > 0 { Severity::Critical } else { Severity::Warning };
    let mut case = Case::new(
        severity,
        "connections come faster than they are accepted, or the queue between is too short",
    )
    .seen(format!("{dropped} connections found the queue full in {:.1} s", view.seconds()));
    let limit = view.sysctl(SYSCTL);
    if let Some(one) = listener {
        case = case.at_place(one.local.clone(), Some(Side::Listening)).seen(format!(
            "{} wait at {}, whose backlog is {}; somaxconn is {}",
            one.waiting,
            one.local,
            one.backlog,
            limit.unwrap_or(0)
        ));
        if !one.holders.is_empty() {
            let who: Vec<_> = one.holders.iter().map(crate::text::holder).collect();
            case = case.seen(format!("held by {}", who.join(", ")));
        }
    }
    case = case
        .helps(Remedy::code(
            "call listen() with a backlog of -1 or 65535 (many libraries ask for 128): the \
             kernel cuts it to somaxconn",
            room(listener, limit),
            "the Send-Q of the listener in `ss -tln`",
        ))
        .helps(Remedy::code(
            "accept faster: accept in a loop until nothing waits, do nothing slow between, \
             use more acceptors",
            match listener {
                Some(one) if one.waiting > 0 => {
                    Effect::of(Measure::AcceptQueue, one.waiting.into(), 0.0).at(&*one.local).into()
                }
                _ => Expected::from("the queue stays near 0"),
            },
            "the Recv-Q of the listener in `ss -tln`",
        ))
        .does_not_help("tcp_max_syn_backlog: the accept queue is min(backlog, somaxconn)");
    match (listener, limit) {
        (Some(one), Some(limit)) if u64::from(one.backlog) >= limit && limit < 4096 => {
            case.helps(Remedy::sysctl(
                (SYSCTL, Some(limit), "4096".to_owned()),
                "it cuts this listener's backlog, and is below the kernel's default",
                Effect::of(Measure::Backlog, one.backlog.into(), 4096.0)
                    .at(&*one.local)
                    .and("when the program listens again"),
                "the Send-Q of the listener in `ss -tln`",
            ))
        }
        (Some(one), Some(limit)) if u64::from(one.backlog) < limit => case.does_not_help(format!(
            "raising somaxconn: the program asked for {}, below the {limit} it may have",
            one.backlog
        )),
        _ => case,
    }
}

/// What a listener may have at most.
fn room(listener: Option<&Listener>, limit: Option<u64>) -> Expected {
    match (listener, limit) {
        (Some(one), Some(limit)) if u64::from(one.backlog) < limit => {
            Effect::of(Measure::Backlog, one.backlog.into(), limit as f64).at(&*one.local).into()
        }
        _ => format!("room for {} connections", limit.unwrap_or(4096)).into(),
    }
}
