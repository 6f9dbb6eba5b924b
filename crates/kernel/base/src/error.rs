//! One error type: what failed, whose fault it was, in which phase, and whether the peer may have acted on it.
//!
//! An [`Error`] is one pointer wide, so that `Result<T, Error>` stays small on paths that succeed. Its text is one
//! line that an operator can act on: `GET http://db/: timed out (limit 10s), in wait for the first byte, after 10.001 s`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Any error of another library, as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What failed, whose fault it was, in which phase, and whether the peer may have acted on the request.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    origin: Origin,
    phase: Option<Phase>,
    seen: Seen,
    elapsed: Option<Duration>,
    target: Option<Box<str>>,
    message: Cow<'static, str>,
    source: Option<BoxError>,
}

/// What failed. New kinds may come: match with a wildcard arm.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A deadline passed.
    Timeout,
    /// A name could not be resolved.
    Resolve,
    /// No connection could be made.
    Connect,
    /// No local port is free for this destination.
    PortsExhausted,
    /// A TLS handshake or a certificate failed.
    Tls,
    /// The peer closed the connection before the message was whole.
    Closed,
    /// The connection was reset.
    Reset,
    /// The peer broke the protocol.
    Protocol,
    /// Something grew past its limit.
    Limit,
    /// The caller asked for something that makes no sense.
    Invalid,
    /// The caller, or a shutdown, cancelled the work.
    Cancelled,
    /// User code panicked.
    Panic,
    /// Redirects, authentication or another policy forbids to go on.
    Policy,
    /// The operating system refused.
    Io,
}

/// Whose fault it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The code that called us.
    Caller,
    /// The program at the other end.
    Peer,
    /// What lies between.
    Network,
    /// This process or this host.
    Local,
}

/// Which part of a call was under way.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Name to addresses.
    Resolve,
    /// Waiting for a connection from the pool.
    Checkout,
    /// Waiting for a local port.
    Port,
    /// TCP or Unix connect.
    Connect,
    /// TLS handshake.
    Tls,
    /// A proxy's or protocol's own handshake.
    Handshake,
    /// Sending the request.
    Write,
    /// Waiting for the first byte of the reply.
    FirstByte,
    /// Reading the rest of a message.
    Read,
    /// User code.
    Handler,
}

/// May the peer have acted on the request?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Seen {
    /// No byte of it reached the peer's application: safe to send again, whatever it was.
    No,
    /// It was handed to the kernel; nobody can know.
    Maybe,
    /// The peer began to answer.
    Yes,
}

impl Error {
    /// An error of this kind and origin; `message` says what happened, without a full stop.
    #[cold]
    pub fn new(kind: Kind, origin: Origin, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            origin,
            phase: None,
            seen: Seen::Maybe,
            elapsed: None,
            target: None,
            message: message.into(),
            source: None,
        }))
    }

    /// The caller asked for something that makes no sense.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Invalid, Origin::Caller, message).with_seen(Seen::No)
    }

    /// The peer broke the protocol.
    pub fn protocol(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Protocol, Origin::Peer, message)
    }

    /// A deadline passed in this phase.
    pub fn timeout(phase: Phase, limit: Duration) -> Self {
        let origin = match phase {
            Phase::Checkout | Phase::Port => Origin::Local,
            Phase::Connect | Phase::Resolve => Origin::Network,
            _ => Origin::Peer,
        };
        Self::new(Kind::Timeout, origin, format!("timed out (limit {limit:?})")).with_phase(phase)
    }

    /// What the operating system said, sorted into kind and origin by its code.
    pub fn io(error: std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        let (kind, origin) = match error.kind() {
            E::ConnectionReset | E::BrokenPipe => (Kind::Reset, Origin::Peer),
            E::UnexpectedEof | E::ConnectionAborted | E::NotConnected => (Kind::Closed, Origin::Peer),
            E::ConnectionRefused => (Kind::Connect, Origin::Peer),
            E::HostUnreachable | E::NetworkUnreachable | E::NetworkDown => (Kind::Connect, Origin::Network),
            E::TimedOut => (Kind::Timeout, Origin::Network),
            E::AddrNotAvailable => (Kind::PortsExhausted, Origin::Local),
            _ => (Kind::Io, Origin::Local),
        };
        Self::new(kind, origin, "").with_source(error)
    }

    /// Adds the phase, unless one is there already.
    #[must_use]
    pub fn with_phase(mut self, phase: Phase) -> Self {
        self.0.phase.get_or_insert(phase);
        self
    }

    /// Says whether the peer may have acted on the request.
    #[must_use]
    pub fn with_seen(mut self, seen: Seen) -> Self {
        self.0.seen = seen;
        self
    }

    /// Adds how long the call had run.
    #[must_use]
    pub fn with_elapsed(mut self, elapsed: Duration) -> Self {
        self.0.elapsed = Some(elapsed);
        self
    }

    /// Adds whom it was about, unless that is there already. Never a secret: no credentials, no query.
    #[must_use]
    pub fn with_target(mut self, target: impl Into<Box<str>>) -> Self {
        self.0.target.get_or_insert(target.into());
        self
    }

    /// The same about this target, whatever was named before: what a caller asked for says more than where it led to. Never a
    /// secret, as above.
    #[must_use]
    pub fn for_target(mut self, target: impl Into<Box<str>>) -> Self {
        self.0.target = Some(target.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What failed.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Whose fault it was.
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// Which part of the call was under way, where that is known.
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// May the peer have acted on the request?
    pub fn seen(&self) -> Seen {
        self.0.seen
    }

    /// How long the call had run, where that is known.
    pub fn elapsed(&self) -> Option<Duration> {
        self.0.elapsed
    }

    /// Whom it was about, where that is known.
    pub fn target(&self) -> Option<&str> {
        self.0.target.as_deref()
    }

    /// The message alone, without target, phase and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the operating system said, if that is the cause or the cause of the cause: `NotFound`, `PermissionDenied`,
    /// `StorageFull`.
    ///
    /// ```
    /// use std::io;
    /// let error = millstream_base::Error::io(io::ErrorKind::NotFound.into());
    /// assert_eq!(error.io_kind(), Some(io::ErrorKind::NotFound));
    /// ```
    pub fn io_kind(&self) -> Option<std::io::ErrorKind> {
        let first = self.0.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static));
        std::iter::successors(first, |error| error.source())
            .find_map(|error| error.downcast_ref::<std::io::Error>())
            .map(std::io::Error::kind)
    }

    /// Did a deadline pass?
    pub fn is_timeout(&self) -> bool {
        self.0.kind == Kind::Timeout
    }

    /// Is it certain that sending again can't make the peer act twice?
    pub fn is_retryable(&self) -> bool {
        self.0.seen == Seen::No
            && !matches!(self.0.kind, Kind::Invalid | Kind::PortsExhausted | Kind::Cancelled)
    }

    /// Did the caller or a shutdown cancel the work?
    pub fn is_cancelled(&self) -> bool {
        self.0.kind == Kind::Cancelled
    }

    /// Did no connection come about: name, port, connect or TLS?
    pub fn is_connect(&self) -> bool {
        matches!(self.0.kind, Kind::Connect | Kind::Resolve | Kind::PortsExhausted | Kind::Tls)
            || matches!(self.0.phase, Some(Phase::Resolve | Phase::Port | Phase::Connect | Phase::Tls))
    }

    /// Did the peer close or reset the connection?
    pub fn is_closed(&self) -> bool {
        matches!(self.0.kind, Kind::Closed | Kind::Reset)
    }
}

impl From<std::io::Error> for Error {
    /// Sorts by code; an [`Error`] that travelled inside an [`std::io::Error`] comes out as it was.
    fn from(error: std::io::Error) -> Self {
        match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(error) => Error::io(error),
        }
    }
}

impl From<std::convert::Infallible> for Error {
    /// There is none.
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        use std::io::ErrorKind as E;
        let kind = match error.kind() {
            Kind::Timeout => E::TimedOut,
            Kind::Closed => E::UnexpectedEof,
            Kind::Reset => E::ConnectionReset,
            Kind::Protocol | Kind::Limit => E::InvalidData,
            Kind::Invalid => E::InvalidInput,
            _ => E::Other,
        };
        std::io::Error::new(kind, error)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        if let Some(target) = &inner.target {
            write!(f, "{target}: ")?;
        }
        let mut said = false;
        if !inner.message.is_empty() {
            f.write_str(&inner.message)?;
            said = true;
        }
        if let Some(source) = &inner.source {
            write!(f, "{}{source}", if said { ": " } else { "" })?;
            said = true;
        }
        if !said {
            write!(f, "{}", inner.kind)?;
        }
        if let Some(phase) = inner.phase {
            write!(f, ", in {phase}")?;
        }
        if let Some(elapsed) = inner.elapsed.filter(|elapsed| *elapsed >= WORTH_TELLING) {
            write!(f, ", after {:.3} s", elapsed.as_secs_f64())?;
        }
        Ok(())
    }
}

/// Nothing was waited for that took less; it would be shown as zero.
const WORTH_TELLING: Duration = Duration::from_millis(1);

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("origin", &self.0.origin)
            .field("phase", &self.0.phase)
            .field("seen", &self.0.seen)
            .field("text", &format_args!("{self}"))
            .finish()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Timeout => "timed out",
            Kind::Resolve => "name not resolved",
            Kind::Connect => "no connection",
            Kind::PortsExhausted => "no local port free for this destination",
            Kind::Tls => "TLS failed",
            Kind::Closed => "closed by the peer",
            Kind::Reset => "connection reset",
            Kind::Protocol => "protocol broken by the peer",
            Kind::Limit => "limit passed",
            Kind::Invalid => "invalid argument",
            Kind::Cancelled => "cancelled",
            Kind::Panic => "panicked",
            Kind::Policy => "not allowed",
            Kind::Io => "I/O failed",
        })
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Resolve => "resolve",
            Phase::Checkout => "wait for a connection",
            Phase::Port => "wait for a port",
            Phase::Connect => "connect",
            Phase::Tls => "TLS handshake",
            Phase::Handshake => "handshake",
            Phase::Write => "write",
            Phase::FirstByte => "wait for the first byte",
            Phase::Read => "read",
            Phase::Handler => "handler",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }

    #[test]
    fn text_names_target_cause_phase_and_time() {
        let error = Error::io(std::io::Error::from_raw_os_error(111))
            .with_phase(Phase::Connect)
            .with_target("http://db:80")
            .with_elapsed(Duration::from_millis(12));
        assert_eq!(
            error.to_string(),
            "http://db:80: Connection refused (os error 111), in connect, after 0.012 s"
        );
        assert_eq!(error.kind(), Kind::Connect);
        assert!(error.is_connect());
    }

    #[test]
    fn text_says_nothing_of_a_time_in_which_nothing_was_waited_for() {
        for (micros, expected) in [(0, "no way"), (999, "no way"), (1_000, "no way, after 0.001 s")] {
            let error = Error::invalid("no way").with_elapsed(Duration::from_micros(micros));
            assert_eq!(error.to_string(), expected);
            assert_eq!(error.elapsed(), Some(Duration::from_micros(micros)));
        }
    }

    #[test]
    fn target_that_says_more_takes_the_place_of_the_first() {
        let error = Error::invalid("no way").with_target("db:80").with_target("other");
        assert_eq!(error.target(), Some("db:80"));
        assert_eq!(error.for_target("GET http://db/x").to_string(), "GET http://db/x: no way");
    }

    #[test]
    fn io_error_carries_ours_there_and_back() {
        let there: std::io::Error = Error::protocol("bad chunk").with_seen(Seen::Yes).into();
        let back: Error = there.into();
        assert_eq!((back.kind(), back.seen()), (Kind::Protocol, Seen::Yes));
    }

    #[test]
    fn only_unseen_requests_are_retryable() {
        assert!(Error::io(std::io::ErrorKind::ConnectionReset.into()).with_seen(Seen::No).is_retryable());
        assert!(!Error::io(std::io::ErrorKind::ConnectionReset.into()).is_retryable());
        assert!(!Error::invalid("no host").is_retryable());
    }
}
