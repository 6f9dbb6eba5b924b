//! From one dump to a [`Sample`]: pure, so that tests can make dumps by hand.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::owners::Owners;
use super::socket::{Ports, Socket, State, names};
use crate::observation::{EXPIRY_STEP_S, Endpoint, Listener, Sample, Side, States};

/// An established connection whose peer has acknowledged nothing for this long is stalled. A guess: far
/// above any round trip, far below the 15 minutes after which the kernel gives up.
const STALLED_MS: u64 = 30_000;

/// Fills in all of a sample that comes from the dump. `kept` are the cookies of the first sample.
pub(crate) fn sample(sockets: &[Socket], ports: &Ports, owners: &Owners, kept: &HashSet<u64>) -> Sample {
    let mut groups = BTreeMap::<(Side, String, String), Vec<&Socket>>::new();
    let (mut listeners, mut bound) = (vec![], vec![]);
    for one in sockets {
        match one.state {
            State::Listen => listeners.push(listener(one, owners)),
            State::BoundInactive if ports.is_automatic(one.local.port()) => bound.push(one),
            State::BoundInactive => {}
            _ => {
                let side = ports.side(one);
                let (local, remote) = names(one, side);
                groups.entry((side, local, remote)).or_default().push(one);
            }
        }
    }
    let (ports_used, ports_shared) = destinations(&groups, ports);
    let bound_ports: HashSet<_> = bound.iter().map(|one| one.local.port()).collect();
    let endpoints = groups.into_iter().map(|((side, local, remote), group)| {
        let (holders, unknown) = owners.holders(&group);
        let one = Endpoint { local, remote, side, holders, unknown, ..Endpoint::default() };
        counted(one, &group, ports, kept)
    });
    Sample {
        endpoints: endpoints.collect(),
        listeners,
        bound: bound_ports.len() as u32,
        bound_by: owners.holders(&bound).0,
        ports_used,
        ports_shared,
        ..Sample::default()
    }
}

fn listener(one: &Socket, owners: &Owners) -> Listener {
    let holders = owners.holders(&[one]).0;
    Listener { local: one.local.to_string(), waiting: one.receive_queue, backlog: one.send_queue, holders }
}

/// Ports in use by connecting sockets, and those with more than one destination.
fn destinations(groups: &BTreeMap<(Side, String, String), Vec<&Socket>>, ports: &Ports) -> (u32, u32) {
    let mut by_port = HashMap::<u16, HashSet<&str>>::new();
    for ((side, _, remote), group) in groups {
        if *side == Side::Connecting {
            for one in group.iter().filter(|one| ports.is_automatic(one.local.port())) {
                by_port.entry(one.local.port()).or_default().insert(remote);
            }
        }
    }
    let shared = by_port.values().filter(|remotes| remotes.len() > 1).count();
    (by_port.len() as u32, shared as u32)
}

fn counted(mut one: Endpoint, group: &[&Socket], ports: &Ports, kept: &HashSet<u64>) -> Endpoint {
    one.expiries = vec![0; (60 / EXPIRY_STEP_S) as usize];
    one.is_loopback = group.iter().all(|socket| socket.remote.ip().to_canonical().is_loopback());
    let (mut held, mut rested) = (HashSet::new(), 0);
    for socket in group {
        count(&mut one.states, socket);
        if one.side == Side::Connecting && ports.is_automatic(socket.local.port()) {
            held.insert(socket.local.port());
        }
        let was_there = u32::from(kept.contains(&socket.cookie));
        match socket.state {
            State::TimeWait => {
                // It may last a little more than 60 s: timers are rounded up.
                let step = (socket.rest_ms / u64::from(EXPIRY_STEP_S * 1000)) as usize;
                let last = one.expiries.len() - 1;
                one.expiries[step.min(last)] += 1;
                rested += u32::from(one.side == Side::Connecting && ports.is_rested(socket));
            }
            State::CloseWait => one.close_wait_kept += was_there,
            State::FinWait2 if socket.inode != 0 => {
                one.half_closed_kept += was_there;
                one.half_closed_ms = one.half_closed_ms.max(socket.silent_ms);
            }
            State::SynSent => one.syn_repeated += u32::from(socket.retransmits > 0),
            State::Established => {
                one.stalled += u32::from(socket.unacked > 0 && socket.since_ack_ms > STALLED_MS);
            }
            _ => {}
        }
    }
    one.held = held.len() as u32;
    one.rested = Some(rested);
    one
}

fn count(states: &mut States, socket: &Socket) {
    let place = match socket.state {
        State::Established => &mut states.established,
        State::SynSent => &mut states.syn_sent,
        State::SynRecv => &mut states.syn_recv,
        State::FinWait1 => &mut states.fin_wait_1,
        State::FinWait2 if socket.inode == 0 => &mut states.fin_wait_2_orphan,
        State::FinWait2 => &mut states.fin_wait_2_owned,
        State::TimeWait => &mut states.time_wait,
        State::CloseWait => &mut states.close_wait,
        _ => &mut states.closing,
    };
    *place += 1;
}
