//! The states of TCP, as the kernel numbers them (include/net/tcp_states.h).

use std::fmt;

/// The state of a TCP socket (RFC 9293 §3.3.2), and what Linux adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum State {
    /// Open both ways.
    Established = 1,
    /// We have sent a SYN.
    SynSent = 2,
    /// A SYN came; its handshake is not over.
    SynRecv = 3,
    /// We have closed; the peer has not acknowledged it.
    FinWait1 = 4,
    /// We have closed; the peer has not. Without an inode nobody waits for it any more: an orphan.
    FinWait2 = 5,
    /// We have closed first; the port is kept for 60 s (`TCP_TIMEWAIT_LEN`, include/net/tcp.h).
    TimeWait = 6,
    /// The peer has closed; our program has not.
    CloseWait = 8,
    /// Both have closed; the peer has not acknowledged it.
    LastAck = 9,
    /// It listens.
    Listen = 10,
    /// Both have closed at once.
    Closing = 11,
    /// Bound to a port, neither connected nor listening: it takes the port from everybody (Linux 6.8 lists them).
    BoundInactive = 13,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::BoundInactive,
    ];

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        // NEW_SYN_RECV is the small socket of a SYN_RECV; of closed ones only bound ones are listed.
        let number = match number {
            12 => 3,
            7 => 13,
            number => number,
        };
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// As `ss` and RFC 9293 write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN-SENT",
            Self::SynRecv => "SYN-RECEIVED",
            Self::FinWait1 => "FIN-WAIT-1",
            Self::FinWait2 => "FIN-WAIT-2",
            Self::TimeWait => "TIME-WAIT",
            Self::CloseWait => "CLOSE-WAIT",
            Self::LastAck => "LAST-ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::BoundInactive => "BOUND-INACTIVE",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Every state.
    pub const ALL: Self = Self(u32::MAX);

    /// Is this state in it?
    pub fn has(self, state: State) -> bool {
        self.0 & bit(state) != 0
    }

    pub(crate) fn mask(self) -> u32 {
        // The small sockets of SYN_RECV have a number of their own.
        if self.has(State::SynRecv) { self.0 | 1 << 12 } else { self.0 }
    }
}

fn bit(state: State) -> u32 {
    1 << state as u8
}

impl FromIterator<State> for States {
    fn from_iter<I: IntoIterator<Item = State>>(states: I) -> Self {
        Self(states.into_iter().fold(0, |mask, state| mask | bit(state)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_states() {
        for state in State::ALL {
            assert_eq!(State::from_number(state as u8), Some(state));
        }
        assert_eq!(State::from_number(12), Some(State::SynRecv));
        assert_eq!(State::from_number(7), Some(State::BoundInactive));
        assert_eq!((State::from_number(0), State::from_number(14)), (None, None));
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let some: States = [State::TimeWait, State::SynRecv].into_iter().collect();
        assert!(some.has(State::TimeWait) && !some.has(State::Listen));
        assert_eq!(some.mask(), 1 << 6 | 1 << 3 | 1 << 12);
    }
}
