//! Settings of a client, and their defaults with reasons.

use std::time::Duration;

use millstream_transport::DialOptions;

/// A call, from its begin to the end of its reply's head (bodies have their own limit).
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Waiting for a connection while all are in use.
pub const DEFAULT_CHECKOUT_TIMEOUT: Duration = Duration::from_secs(10);
/// From the request's last byte to the reply's first.
pub const DEFAULT_FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence between two reads of a reply.
pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle connection is kept, unless the peer says less.
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a connection is used at all, ± 20 %, so that changes of DNS and load balancers are followed.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(30 * 60);
/// Connections to one target at most.
pub const DEFAULT_MAX_OPEN: usize = 1024;

/// Whether an idle connection that we let go of is closed with a reset, which leaves no TIME_WAIT, where that can lose nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetIdle {
    /// Never: a peer may log a reset as an error.
    #[default]
    Never,
    /// Where ports towards the peer are tight (70 % in use).
    UnderPressure,
    /// Wherever it can lose nothing.
    Always,
}

/// Settings of a client that do not depend on its protocol.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// A call's deadline, unless the call brings its own.
    pub call_timeout: Duration,
    /// Waiting for a connection.
    pub checkout_timeout: Duration,
    /// From the request's last byte to the reply's first.
    pub first_byte_timeout: Duration,
    /// Silence between two reads of a reply.
    pub read_timeout: Duration,
    /// How long an idle connection is kept: no longer than firewalls and servers in between remember it.
    pub idle_timeout: Duration,
    /// Whether as many connections as its target needs are kept beyond the idle timeout: as many as were in use at once in all but
    /// the busiest hundredth of the last 300 seconds. They end with their lifetime, or when their server closes idle connections, as
    /// far as it says so or has shown it. Off unless set, for `idle_timeout` is what a user says about firewalls in between: behind
    /// one that forgets connections without a word, a call on one that was kept fails only when it times out.
    pub keep_needed: bool,
    /// How long a connection is used at all.
    pub lifetime: Duration,
    /// Connections to one target at most; no more than 45 % of the host's local ports in any case
    /// ([`SHARE_PERCENT`](millstream_ports::SHARE_PERCENT)).
    pub max_open: usize,
    /// Callers that may wait for a connection to one target.
    pub max_waiters: usize,
    /// When callers have waited for so long for a connection, without an end for 100 ms, those who came last are served first: under
    /// lasting overload most calls go at once then, where all would wait as long as they can
    /// ([`PoolOptions::newest_first_after`](millstream_pool::PoolOptions::newest_first_after)). Half of `checkout_timeout` unless
    /// set; never with [`Duration::MAX`].
    pub newest_first_after: Option<Duration>,
    /// Whether a call is tried again when that is safe: once, on a fresh connection.
    pub retries: bool,
    /// Whether idle connections that go are reset rather than closed.
    pub reset_idle: ResetIdle,
    /// How connections are made.
    pub dial: DialOptions,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            call_timeout: DEFAULT_CALL_TIMEOUT,
            checkout_timeout: DEFAULT_CHECKOUT_TIMEOUT,
            first_byte_timeout: DEFAULT_FIRST_BYTE_TIMEOUT,
            read_timeout: DEFAULT_READ_TIMEOUT,
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            keep_needed: false,
            lifetime: DEFAULT_LIFETIME,
            max_open: DEFAULT_MAX_OPEN,
            max_waiters: 65_536,
            newest_first_after: None,
            retries: true,
            reset_idle: ResetIdle::Never,
            dial: DialOptions::default(),
        }
    }
}
