//! Row 1: no port is left for one destination.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
use crate::observation::{Endpoint, Side};
use crate::reuse;
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
    let is_full = |one: &&Endpoint| percent(one.held.into(), ports.into()) >= FULL_PERCENT;
    Ok(view.on_side(Side::Connecting).filter(is_full).map(|one| case(view, one, ports)).collect())
}

fn case(view: &View<'_>, one: &Endpoint, ports: u32) -> Case {
    let states = one.states;
    let waits = u64::from(states.time_wait) * 2 >= u64::from(one.held);
    let why = if waits {
        "we close first, and each closed connection keeps its port for this destination for 60 s"
    } else {
        "more connections are open at once than there are ports"
    };
    let cause = format!("all {ports} local ports from {} are taken for {}: {why}", one.local, one.remote);
    let mut case = Case::new(Severity::Critical, cause).at(one).seen(format!(
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
    if let Some(target) = view.target(one).filter(|target| target.no_port > 0) {
        case = case.seen(format!("{} connects to {} found no port", target.no_port, target.target));
    }
    if waits { waiting(view, one, ports, case) } else { open(one, ports, case) }
}

fn open(one: &Endpoint, ports: u32, case: Case) -> Case {
    case.helps(Remedy::code(
        "bound the connections to this destination, and let callers wait for one \
             instead of opening more",
        format!("at most the bound is held, {} now", one.held),
        format!("`used` of {} stays below {ports}", one.remote),
    ))
    .helps(address(one, ports))
    .does_not_help("tcp_tw_reuse: few of these ports are in TIME_WAIT")
}

fn waiting(view: &View<'_>, one: &Endpoint, ports: u32, case: Case) -> Case {
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
                "0 ports held after a close; without it the limit is {ports} / 60 s = {:.1} a second",
                f64::from(ports) / 60.0
            )),
            "time_wait stays 0 on this side",
        ))
        .helps(Remedy::code(
            "choose the port yourself: bind to one with SO_REUSEADDR before each connect, as the engine's port allocator does; \
             with timestamps on, the kernel then takes over our own TIME_WAIT at once, without root",
            format!("a port can be used again at once instead of after 60 s; {ports} connections \
             may be open at once"),
            "TcpExt TWRecycled grows, EADDRNOTAVAIL does not",
        ))
        .helps(address(one, ports))
        .helps(Remedy::configuration(
            "widen ip_local_port_range, with ends of different parity, and name the ports \
             of services in ip_local_reserved_ports",
            Effect::of(Measure::Budget, ports.into(), WIDEST.max(ports).into()).at(one.name()).and(format_args!(
                "at most 64,512 ports, {:.1} times as many; the same end later, if the rate stays",
                f64::from(WIDEST) / f64::from(ports)
            )),
            "`budget` of this endpoint grows",
        ));
    let (settings, stamps) = (&view.all.sysctls, view.sysctl("net.ipv4.tcp_timestamps"));
    if !reuse::is_on(settings, one.is_loopback) && stamps != Some(0) {
        let delay_ms = reuse::delay_ms(settings);
        let limit = Effect::of(
            Measure::ConnectLimit,
            reuse::resting_limit(ports),
            reuse::taking_over_limit(ports, settings),
        );
        case = case.helps(Remedy::sysctl(
            ("net.ipv4.tcp_tw_reuse", view.sysctl("net.ipv4.tcp_tw_reuse"), "1".to_owned()),
            "these are outgoing connections, so connect() may take over a TIME_WAIT that \
             is old enough",
            limit.at(one.name()).and(format_args!("{ports} ports / {delay_ms} ms")),
            "TcpExt TWRecycled grows",
        ));
    }
    nothing(one, case)
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
