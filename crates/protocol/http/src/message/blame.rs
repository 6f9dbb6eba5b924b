//! Whose fault a spoiled request body is: the client's that sent it, and nobody's behind us.

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;
use millstream_base::{Error, Kind, Origin};

use crate::codec::Reject;

/// The cause of an error that a server's own client is to blame for, and what it is answered with. The kind alone does not
/// say: an upstream that hangs up is [`Kind::Closed`] as well, and a 502.
#[derive(Debug)]
pub(crate) struct Blame(Reject);

impl Blame {
    /// An error of this kind, as a response this refusal.
    pub(crate) fn error(kind: Kind, reject: Reject) -> Error {
        Error::new(kind, Origin::Peer, reject.reason).with_source(Self(reject))
    }

    /// What the client is to be answered with and told, if it is to blame, however deep that lies below other errors.
    pub(crate) fn of(error: &Error) -> Option<(StatusCode, &'static str)> {
        let mut cause = StdError::source(error);
        while let Some(error) = cause {
            if let Some(Self(reject)) = error.downcast_ref() {
                return Some((StatusCode::from_u16(reject.status).ok()?, reject.reason));
            }
            cause = error.source();
        }
        None
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client's fault ({})", self.0.status)
    }
}

impl StdError for Blame {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::Rejection;
    use crate::{IntoResponse, Response};

    fn status(error: Error) -> u16 {
        let response: Response = error.into_response();
        response.status().as_u16()
    }

    #[test]
    fn client_is_answered_for_its_own_faults_and_an_upstream_s_are_502() {
        let left = || Blame::error(Kind::Closed, Reject::bad("left"));
        assert_eq!(left().to_string(), "left: the client's fault (400)");
        assert_eq!(status(left()), 400);
        // As a call's body, or within what another library made of it.
        assert_eq!(status(Error::new(Kind::Io, Origin::Caller, "the body failed").with_source(left())), 400);
        let io: std::io::Error = left().into();
        assert_eq!(status(Error::new(Kind::Io, Origin::Local, "odd").with_source(io)), 400);
        assert_eq!(status(Error::new(Kind::Closed, Origin::Peer, "closed without a reply")), 502);
        assert_eq!(status(Error::new(Kind::Reset, Origin::Peer, "reset")), 502);
        assert_eq!(Rejection::from(left()).status(), 400);
    }

    #[test]
    fn limits_keep_their_own_status() {
        for expected in [413, 414, 431] {
            let error = || Blame::error(Kind::Limit, Reject::new(expected, "too large"));
            assert_eq!(status(error()), expected);
            assert_eq!(Rejection::from(error()).status().as_u16(), expected);
            assert_eq!(status(Rejection::from(error()).into()), expected);
        }
    }
}
