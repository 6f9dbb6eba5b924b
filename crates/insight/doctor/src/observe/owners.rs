//! Who holds a socket, or held it.
//!
//! 1. A socket with an inode belongs to the process that has it open.
//! 2. A socket without one (TIME_WAIT, an orphan) belongs to whoever held it when its cookie was seen last.
//! 3. Otherwise neighbouring ports to the same destination make its owner probable.
//! 4. Otherwise it is unknown, and that is what is said.

use std::collections::HashMap;

use millstream_sockets::Process;

use super::socket::Socket;
use crate::observation::{Confidence, Holder};

/// What is remembered of owners. Bounded by the number of sockets in the last dump.
#[derive(Default)]
pub(crate) struct Owners {
    by_cookie: HashMap<u64, Process>,
    by_inode: HashMap<u32, Process>,
}

impl Owners {
    /// Inodes whose process is not known yet.
    pub(crate) fn missing(&self, sockets: &[Socket]) -> Vec<u32> {
        let inodes = sockets.iter().map(|one| one.inode);
        inodes.filter(|inode| *inode != 0 && !self.by_inode.contains_key(inode)).collect()
    }

    pub(crate) fn learn(&mut self, found: impl IntoIterator<Item = (u32, Process)>, sockets: &[Socket]) {
        self.by_inode.extend(found);
        for one in sockets.iter().filter(|one| one.inode != 0) {
            if let Some(process) = self.by_inode.get(&one.inode) {
                self.by_cookie.insert(one.cookie, process.clone());
            }
        }
        let cookies: std::collections::HashSet<_> = sockets.iter().map(|one| one.cookie).collect();
        let inodes: std::collections::HashSet<_> = sockets.iter().map(|one| one.inode).collect();
        self.by_cookie.retain(|cookie, _| cookies.contains(cookie));
        self.by_inode.retain(|inode, _| inodes.contains(inode));
    }

    /// All that hold sockets now.
    pub(crate) fn processes(&self) -> Vec<(u32, String)> {
        let mut all: Vec<_> = self.by_inode.values().map(|one| (one.pid, one.name.clone())).collect();
        all.sort();
        all.dedup();
        all
    }

    pub(crate) fn certain(&self, one: &Socket) -> Option<&Process> {
        self.by_inode.get(&one.inode).or_else(|| self.by_cookie.get(&one.cookie))
    }

    /// The holders of sockets of one endpoint, those of most sockets first, and how many are unknown.
    pub(crate) fn holders(&self, sockets: &[&Socket]) -> (Vec<Holder>, u32) {
        let mut known: Vec<_> =
            sockets.iter().filter_map(|one| Some((one.local.port(), self.certain(one)?))).collect();
        known.sort_unstable_by_key(|(port, _)| *port);
        let mut counts = HashMap::<(&Process, Confidence), u32>::new();
        let mut unknown = 0;
        for one in sockets {
            let owner = self.certain(one).map(|process| (process, Confidence::Certain));
            match owner.or_else(|| Some((neighbour(&known, one.local.port())?, Confidence::Probable))) {
                Some(owner) => *counts.entry(owner).or_default() += 1,
                None => unknown += 1,
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|(one, some), (other, more)| more.cmp(some).then(one.cmp(other)));
        (
            counts
                .into_iter()
                .map(|((process, confidence), count)| holder(process, count, confidence))
                .collect(),
            unknown,
        )
    }
}

fn holder(process: &Process, sockets: u32, confidence: Confidence) -> Holder {
    Holder { pid: process.pid, name: process.name.clone(), sockets, confidence }
}

/// How far apart ports of one process may lie: the kernel steps by two from a start that it chooses for each destination
/// anew. A guess.
const NEAR: u16 = 64;

/// The owner of the nearest port; `known` is in the order of ports, all to one destination.
fn neighbour<'a>(known: &[(u16, &'a Process)], port: u16) -> Option<&'a Process> {
    let at = known.partition_point(|(other, _)| *other < port);
    let around = known.get(at.saturating_sub(1)..(at + 1).min(known.len()))?;
    let nearest = around.iter().min_by_key(|(other, _)| other.abs_diff(port))?;
    (nearest.0.abs_diff(port) <= NEAR).then_some(nearest.1)
}

#[cfg(test)]
mod tests {
    use super::super::socket::State;
    use super::*;

    fn socket(port: u16, cookie: u64, inode: u32) -> Socket {
        let local = ([10, 9, 0, 1], port).into();
        let remote = ([10, 9, 0, 2], 80).into();
        let state = if inode == 0 { State::TimeWait } else { State::Established };
        Socket { cookie, inode, ..Socket::plain(state, local, remote) }
    }

    fn process(pid: u32) -> Process {
        Process { pid, name: "client".to_owned() }
    }

    #[test]
    fn time_wait_belongs_to_who_held_its_cookie_then_to_neighbours_then_to_nobody() {
        let mut owners = Owners::default();
        let live = [socket(40_000, 1, 11), socket(40_002, 2, 12)];
        assert_eq!(owners.missing(&live), [11, 12]);
        owners.learn([(11, process(7)), (12, process(7))], &live);
        let later = [socket(40_000, 1, 0), socket(40_002, 2, 0), socket(40_004, 3, 0), socket(50_000, 4, 0)];
        owners.learn([], &later);
        let (holders, unknown) = owners.holders(&later.iter().collect::<Vec<_>>());
        let seen: Vec<_> = holders.iter().map(|one| (one.pid, one.sockets, one.confidence)).collect();
        assert_eq!(seen, [(7, 2, Confidence::Certain), (7, 1, Confidence::Probable)]);
        assert_eq!(unknown, 1);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut owners = Owners::default();
        let live = [socket(40_000, 1, 11)];
        owners.learn([(11, process(7))], &live);
        owners.learn([], &[]);
        assert_eq!((owners.by_cookie.len(), owners.by_inode.len()), (0, 0));
    }
}
