//! Taking over a port of ours from TIME_WAIT: by the rule that the kernel itself has for it, without root and without a sysctl.
//!
//! A socket that binds a port explicitly, and connects, may have the four numbers of a connection that is in TIME_WAIT, if that one
//! used timestamps: the kernel starts its sequence numbers beyond the old ones then (`tcp_twsk_unique`, net/ipv4/tcp_ipv4.c; the
//! explicit case is `__inet_check_established` without a place to report the old socket in). `tcp_tw_reuse` allows the same for
//! ports that the kernel chooses. Two rules of ours go beyond the kernel's: a least age, and no connection whose peer has not sent
//! its FIN yet (the kernel allows that, and the peer is reset).
//!
//! A port that was bound explicitly is left alone by every automatic `connect` on the host until it is free again, whatever the
//! destination (decision 16). So nothing is taken over while the kernel's search has room, but for ports of a private range, which
//! that search never finds.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use millstream_sockets::{Diag, Entry, Result, State};
use socket2::{Domain, Socket, Type};

use crate::Budget;
use crate::budget::TIME_WAIT;
use crate::held::Before;

/// Asks the kernel of single connections.
#[derive(Debug, Default)]
pub(crate) struct Takeover(Mutex<Option<Diag>>);

/// What a port that was taken can be used for.
enum Fit {
    Yes(Before),
    /// Somebody listens there: it is ours no longer.
    Gone,
    /// Waits since this moment, or may be asked for again that much later.
    NotYet(Instant),
    /// The kernel does not answer.
    Unknown,
}

/// How many ports are looked at for one connection.
const TRIES: usize = 4;
/// After a refusal none is taken over for so long: by then every TIME_WAIT of now is gone.
pub(crate) const REFUSED_FOR: Duration = TIME_WAIT;

impl Takeover {
    /// A port of this budget whose connection is over at both ends for at least `min_age`, or gone altogether.
    pub(crate) fn take(
        &self,
        budget: &Budget,
        min_age: Duration,
        is_out: bool,
        now: Instant,
    ) -> Option<(u16, Before)> {
        self.first_fit(budget, || budget.take(is_out, now), min_age, now)
    }

    /// The same, of the private range: TIME_WAIT only where the kernel allows that.
    pub(crate) fn take_private(&self, budget: &Budget, now: Instant) -> Option<(u16, Before)> {
        self.first_fit(budget, || budget.take_private(now), budget.private_hold(now), now)
    }

    fn first_fit(
        &self,
        budget: &Budget,
        mut take: impl FnMut() -> Option<u16>,
        min_age: Duration,
        now: Instant,
    ) -> Option<(u16, Before)> {
        for _ in 0..TRIES {
            let port = take()?;
            match self.look(budget, port, min_age, now) {
                Fit::Yes(before) => return Some((port, before)),
                Fit::Gone => budget.lost(port, now),
                Fit::NotYet(since) => budget.put_back(port, since, now),
                Fit::Unknown => {
                    budget.put_back(port, now, now);
                    budget.forbid_taking(REFUSED_FOR, now);
                    return None;
                }
            }
        }
        None
    }

    /// Is this connection open, with nothing on its way in either direction: all that was sent acknowledged, all that came read?
    pub(crate) fn is_quiescent(&self, local: SocketAddr, remote: SocketAddr) -> bool {
        let is_quiet = |entry: Entry| {
            let is_sent = entry.info().is_some_and(|info| info.unacked() == 0 && info.not_sent() == 0);
            entry.state() == State::Established
                && (entry.send_queue(), entry.receive_queue()) == (0, 0)
                && is_sent
        };
        self.find(local, remote).ok().flatten().is_some_and(is_quiet)
    }

    /// One question to the kernel, of some microseconds.
    fn find(&self, local: SocketAddr, remote: SocketAddr) -> Result<Option<Entry>> {
        let mut diag = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if diag.is_none() {
            *diag = Some(Diag::open()?);
        }
        let found = diag.as_mut().map_or(Ok(None), |diag| diag.find(local, remote));
        if found.is_err() {
            *diag = None;
        }
        found
    }

    fn look(&self, budget: &Budget, port: u16, min_age: Duration, now: Instant) -> Fit {
        match self.find(SocketAddr::new(budget.source(), port), budget.destination()) {
            Ok(None) => Fit::Yes(Before::Free),
            Ok(Some(entry)) if entry.state() == State::TimeWait => {
                let rest = entry.timer().map_or(TIME_WAIT, |timer| timer.expires);
                let age = TIME_WAIT.saturating_sub(rest);
                if age >= min_age {
                    Fit::Yes(Before::TimeWait)
                } else {
                    Fit::NotYet(now.checked_sub(age).unwrap_or(now))
                }
            }
            // What is asked for where there is no such connection (inet_diag finds as a SYN would).
            Ok(Some(entry)) if entry.state() == State::Listen => Fit::Gone,
            // Its peer has not closed, or we have not: a SYN would meet a live connection there.
            Ok(Some(_)) => Fit::NotYet(now),
            Err(_) => Fit::Unknown,
        }
    }
}

/// Does this kernel let an explicit bind take over a TIME_WAIT at once? Tried out on loopback, in this thread's network namespace;
/// takes a fraction of a millisecond, 20 ms at most.
pub(crate) fn is_possible() -> bool {
    // A try without an answer says nothing of the kernel: on a busy host this thread may not have run for as long as it waits.
    (0..ATTEMPTS).find_map(|_| try_out()).unwrap_or(false)
}

/// How often it is tried for an answer.
const ATTEMPTS: usize = 4;

fn try_out() -> Option<bool> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
    let remote = listener.local_addr().ok()?;
    let first = socket()?;
    first.connect(&remote.into()).ok()?;
    let local = first.local_addr().ok()?.as_socket()?;
    let accepted = listener.accept().ok()?;
    drop(first); // its FIN goes first
    drop(accepted);
    let mut diag = Diag::open().ok()?;
    let patience = Instant::now() + Duration::from_millis(5);
    let is_waiting = |diag: &mut Diag| {
        diag.find(local, remote).ok().flatten().is_some_and(|entry| entry.state() == State::TimeWait)
    };
    while !is_waiting(&mut diag) {
        if Instant::now() > patience {
            return None;
        }
        std::thread::yield_now();
    }
    let second = socket()?;
    second.bind(&local.into()).ok()?;
    Some(second.connect(&remote.into()).is_ok())
}

fn socket() -> Option<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.set_reuse_address(true).ok()?;
    Some(socket)
}
