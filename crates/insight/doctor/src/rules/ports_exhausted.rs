//! Row 1: no port is left for one destination.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
use crate::observation::{Endpoint, Side};
use crate::reuse::{self, Takeable};
use crate::view::{View, percent};

pub(super) const RULE: Rule = Rule {
    row: 1,
    name: "ports-exhausted",
    symptom: "connect() fails with EADDRNOTAVAIL",
    covers: &[2, 4],
    look,
};

/// Of all ports; above it the kernel's search finds the last ones by chance only; a guess.
const FULL_PERCENT: u64 = 98;

fn look(view: &View<'_>) -> Look {
    let ports = view.ports()?;
    let is_full = |held: u32| percent(held.into(), ports.into()) >= FULL_PERCENT;
    let found = |one| {
        let takeable = view.takeable(one);
        let lost = one.held.saturating_sub(takeable.map_or(0, |takeable| takeable.ports));
        if is_full(lost) {
            return Some(case(view, one, ports, takeable, Severity::Critical));
        }
        // Connections need not fail where ports may be taken over; whether they do is not shown.
        let is_open = is_full(one.held) && !takeable.is_some_and(|takeable| takeable.is_shown());
        is_open.then(|| case(view, one, ports, takeable, Severity::Warning))
    };
    Ok(view.on_side(Side::Connecting).filter_map(found).collect())
}

fn case(view: &View<'_>, one: &Endpoint, ports: u32, takeable: Option<Takeable>, severity: Severity) -> Case {
    let states = one.states;
    let waits = u64::from(states.time_wait) * 2 >= u64::from(one.held);
    let why = match takeable {
        Some(_) if severity != Severity::Critical => {
            "connect() may take over those in TIME_WAIT, but it is not shown that it can".to_owned()
        }
        _ if !waits => "more connections are open at once than there are ports".to_owned(),
        Some(takeable) => format!(
            "we close first, and more often than ports can be taken over: each rests for {} ms before",
            takeable.delay_ms
        ),
        None => "we close first, and each closed connection keeps its port for this destination for 60 s"
            .to_owned(),
    };
    let cause = format!("all {ports} local ports from {} are taken for {}: {why}", one.local, one.remote);
    let mut case = Case::new(severity, cause).at(one).seen(format!(
        "{} of {ports} ports held: {} TIME_WAIT, {} established, {} CLOSE_WAIT, {} others",
        one.held,
        states.time_wait,
        states.established,
        states.close_wait,
        states
            .total()
            .saturating_sub(states.time_wait)
            .saturating_sub(states.established)
            .saturating_sub(states.close_wait),
    ));
    if let Some(takeable) = takeable {
        case = case.seen(takeable.evidence(view.seconds()));
    }
    if let Some(target) = view.target(one).filter(|target| target.no_port > 0) {
        case = case.seen(format!("{} connects to {} found no port", target.no_port, target.target));
    }
    if waits { waiting(view, one, ports, case) } else { open(one, ports, takeable, case) }
}

fn open(one: &Endpoint, ports: u32, takeable: Option<Takeable>, case: Case) -> Case {
    let reuse = match takeable {
        None => "tcp_tw_reuse: few of these ports are in TIME_WAIT",
        Some(_) => "tcp_tw_reuse: it acts here already, and few of these ports are in TIME_WAIT",
    };
    case.helps(Remedy::code(
        "bound the connections to this destination, and let callers wait for one \
             instead of opening more",
        format!("at most the bound is held, {} now", one.held),
        format!("`used` of {} stays below {ports}", one.remote),
    ))
    .helps(address(one, ports))
    .does_not_help(reuse)
}

fn waiting(view: &View<'_>, one: &Endpoint, ports: u32, case: Case) -> Case {
    let settings = &view.all.sysctls;
    let is_on = reuse::is_on(settings, one.is_loopback);
    let (rest, limit) = match is_on {
        true => (format!("{} ms", reuse::delay_ms(settings)), reuse::taking_over_limit(ports, settings)),
        false => ("60 s".to_owned(), reuse::resting_limit(ports)),
    };
    let mut case = case
        .helps(Remedy::code(
            "reuse connections: keep them alive, read each response to its end, and keep \
             as many idle as run at once",
            rests_end(one)
                .and(format_args!("from {:.1} new connections a second to almost none", one.time_wait_rate())),
            format!("time_wait of {} falls in `millstream doctor --watch`", one.remote),
        ))
        .helps(Remedy::code(
            "let the peer close first (HTTP: send `Connection: close` and wait for the \
             end), which moves TIME_WAIT to its side",
            rests_end(one).and(format_args!(
                "0 ports held after a close; without it the limit is {ports} / {rest} = {limit:.1} a second"
            )),
            "time_wait stays 0 on this side",
        ))
        .helps(Remedy::code(
            "choose the port yourself: bind to one with SO_REUSEADDR before each connect, as the engine's port allocator does; \
             with timestamps on, the kernel then takes over our own TIME_WAIT at once, without root",
            format!("a port can be used again at once instead of after {rest}; {ports} connections \
             may be open at once"),
            "TcpExt TWRecycled grows, EADDRNOTAVAIL does not",
        ))
        .helps(address(one, ports))
        .helps(wider(one, ports));
    if !is_on && view.sysctl("net.ipv4.tcp_timestamps") != Some(0) {
        case = case.helps(taking_over(view, one, ports));
    }
    nothing(one, case)
}

fn wider(one: &Endpoint, ports: u32) -> Remedy {
    Remedy::configuration(
        "widen ip_local_port_range, with ends of different parity, and name the ports \
             of services in ip_local_reserved_ports",
        Effect::of(Measure::Budget, ports.into(), WIDEST.max(ports).into()).at(one.name()).and(format_args!(
            "at most 64,512 ports, {:.1} times as many; the same end later, if the rate stays",
            f64::from(WIDEST) / f64::from(ports)
        )),
        "`budget` of this endpoint grows",
    )
}

fn taking_over(view: &View<'_>, one: &Endpoint, ports: u32) -> Remedy {
    let settings = &view.all.sysctls;
    let limit = Effect::of(
        Measure::ConnectLimit,
        reuse::resting_limit(ports),
        reuse::taking_over_limit(ports, settings),
    );
    Remedy::sysctl(
        ("net.ipv4.tcp_tw_reuse", view.sysctl("net.ipv4.tcp_tw_reuse"), "1".to_owned()),
        "these are outgoing connections, so connect() may take over a TIME_WAIT that \
             is old enough",
        limit.at(one.name()).and(format_args!("{ports} ports / {} ms", reuse::delay_ms(settings))),
        "TcpExt TWRecycled grows",
    )
}

/// What people try, and why it does nothing here.
fn nothing(one: &Endpoint, case: Case) -> Case {
    let oldest = one.expiries.iter().position(|&count| count > 0).unwrap_or(0) * 5;
    let youngest = one.expiries.iter().rposition(|&count| count > 0).map_or(0, |at| at * 5 + 5);
    case.does_not_help(format!(
        "tcp_fin_timeout: it acts on orphaned FIN_WAIT_2 only ({} here); these {} \
             sockets are in TIME_WAIT, which lasts 60 s whatever it is set to (they still \
             have {oldest} to {youngest} s)",
        one.states.fin_wait_2_orphan, one.states.time_wait,
    ))
    .does_not_help("tcp_tw_recycle: gone since Linux 4.12")
    .does_not_help(
        "lowering tcp_max_tw_buckets: connections would end without TIME_WAIT, and old \
             segments may enter new ones",
    )
    .does_not_help("turning timestamps off: then no TIME_WAIT can be taken over at all")
    .does_not_help("trying again at once: each try searches all ports in vain")
}

/// No connection is closed from now on, and those that rest end.
fn rests_end(one: &Endpoint) -> Effect {
    Effect::of(Measure::TimeWait, one.states.time_wait.into(), 0.0).at(one.name()).within(60)
}

/// Ports from 1,024 to 65,535.
const WIDEST: u32 = 64_512;

fn address(one: &Endpoint, ports: u32) -> Remedy {
    Remedy::configuration(
        "use more source addresses (or more addresses or ports of the destination), \
             with IP_BIND_ADDRESS_NO_PORT",
        format!("{ports} ports more with each address"),
        format!("connections to {} are spread over several `local`", one.remote),
    )
}
