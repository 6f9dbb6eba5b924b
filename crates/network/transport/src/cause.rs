//! The closed lists of why a connection was opened, why it ended, and who ended it.

use std::fmt;

use millstream_base::{Error, Kind, Phase};

/// Declares an enum whose values count from 0, each with its name for people and metrics.
macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$value_doc:meta])* $value:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $type {
            $($(#[$value_doc])* $value,)+
        }

        impl $type {
            /// Every value, in the order of its number.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// The name used in metrics and listings.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }

            /// The value with this number.
            #[allow(dead_code)] // not every list is kept in an atomic
            pub(crate) fn from_number(number: u8) -> Option<Self> {
                Self::ALL.get(usize::from(number)).copied()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named! {
    /// Which end of the connection we are.
    Side {
        /// We dialled.
        Client = "client",
        /// We accepted.
        Server = "server",
    }
}

named! {
    /// Why a connection was opened.
    Opener {
        /// A peer dialled us.
        Accepted = "accepted",
        /// The stock held nothing for this target.
        PoolEmpty = "pool_empty",
        /// All connections to this target were in use.
        AllBusy = "all_busy",
        /// Opened ahead of need.
        Prewarm = "prewarm",
        /// Opened to take over from one that comes to the end of its lifetime.
        Successor = "successor",
        /// A call is repeated on a fresh connection.
        Retry = "retry",
        /// Somebody dialled without a pool.
        Direct = "direct",
    }
}

named! {
    /// What a connection is doing.
    ConnState {
        /// Handshakes are under way.
        Opening = "opening",
        /// Open, with no message under way.
        Idle = "idle",
        /// A message is under way.
        Busy = "busy",
        /// It will carry no further message.
        Closing = "closing",
    }
}

named! {
    /// Why a connection ended.
    Cause {
        /// We let it go after our idle limit.
        IdleTimeoutLocal = "idle_timeout_local",
        /// The peer closed it while it was idle.
        IdleTimeoutPeer = "idle_timeout_peer",
        /// The peer announced that it is the last message.
        PeerCloseHeader = "peer_close_header",
        /// We announced that it is the last message.
        OwnCloseHeader = "own_close_header",
        /// It served as many messages as we allow.
        MaxRequestsLocal = "max_requests_local",
        /// It served as many messages as the peer allows.
        MaxRequestsPeer = "max_requests_peer",
        /// It was older than we allow.
        Lifetime = "lifetime",
        /// Another connection needed its place.
        CapacityEvict = "capacity_evict",
        /// A body was left unread.
        BodyNotDrained = "body_not_drained",
        /// The peer broke the protocol.
        ProtocolError = "protocol_error",
        /// Bytes arrived that belong to no message.
        ParseDesync = "parse_desync",
        /// Another dial for the same call was quicker.
        ConnectRaceSurplus = "connect_race_surplus",
        /// It was found closed when somebody wanted it.
        StaleOnCheckout = "stale_on_checkout",
        /// It was reset while idle.
        ResetIdle = "reset_idle",
        /// It was reset, or broke, in a message.
        ResetInRequest = "reset_in_request",
        /// The peer closed in the middle of a message.
        ClosedInRequest = "closed_in_request",
        /// The peer was silent in a message for too long.
        TimeoutRead = "timeout_read",
        /// The peer took too long to send a message's head.
        TimeoutHead = "timeout_head",
        /// The peer took nothing for too long.
        TimeoutWrite = "timeout_write",
        /// The call was dropped or its deadline passed.
        Cancelled = "cancelled",
        /// The TLS handshake failed, or TLS broke later.
        Tls = "tls",
        /// User code panicked.
        Panic = "panic",
        /// The engine stops.
        Shutdown = "shutdown",
        /// It became another protocol's or the user's (upgrade, CONNECT).
        HandedOver = "handed_over",
        /// Dropped without saying why.
        Dropped = "dropped",
    }
}

named! {
    /// Who ended the connection first; whoever sends the first FIN keeps TIME_WAIT.
    ClosedBy {
        /// We did.
        Us = "us",
        /// The program at the other end did, with a FIN or a reset.
        Peer = "peer",
        /// Something between: no route, no acknowledgement.
        Network = "network",
    }
}

impl Cause {
    /// What a connection ends for when a message on it failed with this error.
    pub fn of_failure(error: &Error) -> Self {
        match error.kind() {
            Kind::Timeout if error.phase() == Some(Phase::Write) => Self::TimeoutWrite,
            Kind::Timeout => Self::TimeoutRead,
            Kind::Closed => Self::ClosedInRequest,
            Kind::Reset | Kind::Io => Self::ResetInRequest,
            Kind::Protocol | Kind::Limit => Self::ProtocolError,
            Kind::Tls => Self::Tls,
            Kind::Panic => Self::Panic,
            _ => Self::Cancelled,
        }
    }

    /// Could the connection have carried the next request, had a setting or the program been otherwise? Then a new one in its
    /// place was avoidable.
    pub const fn is_avoidable(self) -> bool {
        match self {
            Self::IdleTimeoutLocal
            | Self::IdleTimeoutPeer
            | Self::PeerCloseHeader
            | Self::OwnCloseHeader
            | Self::MaxRequestsLocal
            | Self::MaxRequestsPeer
            | Self::CapacityEvict
            | Self::BodyNotDrained
            | Self::ConnectRaceSurplus
            | Self::StaleOnCheckout
            | Self::Cancelled
            | Self::Dropped => true,
            Self::Lifetime
            | Self::ProtocolError
            | Self::ParseDesync
            | Self::ResetIdle
            | Self::ResetInRequest
            | Self::ClosedInRequest
            | Self::TimeoutRead
            | Self::TimeoutHead
            | Self::TimeoutWrite
            | Self::Tls
            | Self::Panic
            | Self::Shutdown
            | Self::HandedOver => false,
        }
    }
}

impl Opener {
    /// Was it opened before anybody asked for it?
    pub fn is_ahead(self) -> bool {
        matches!(self, Self::Prewarm | Self::Successor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn numbers_and_names_are_one_to_one() {
        let names: HashSet<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
        assert_eq!(names.len(), Cause::ALL.len());
        for (number, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(Cause::from_number(number as u8), Some(*cause));
        }
        assert_eq!(Cause::from_number(255), None);
    }
}
