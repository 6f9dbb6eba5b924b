//! Why bytes were refused.

use std::fmt;

use millstream_base::{Error, Kind, Origin};

/// Why bytes were refused: the status that a server answers with before it closes, and the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reject {
    /// What a server answers: 400, 414, 417, 431, 501 or 505. From a response parser always 502.
    pub status: u16,
    /// What was wrong, in a few words, without anything the peer sent.
    pub reason: &'static str,
}

impl Reject {
    /// A refusal with this status and reason.
    #[cold]
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// A malformed request: 400.
    #[cold]
    pub const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }

    /// The same refusal as seen by a client: no status of the client's own fits, so it is always 502.
    pub(crate) const fn of_response(self) -> Self {
        Self::new(502, self.reason)
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.status)
    }
}

impl std::error::Error for Reject {}

impl From<Reject> for Error {
    /// 413, 414 and 431 are of [`Kind::Limit`], all others of [`Kind::Protocol`]; the peer is to blame.
    fn from(reject: Reject) -> Self {
        match reject.status {
            413 | 414 | 431 => Error::new(Kind::Limit, Origin::Peer, reject.reason),
            _ => Error::protocol(reject.reason),
        }
    }
}
