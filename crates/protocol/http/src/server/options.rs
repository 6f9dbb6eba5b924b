//! Settings of an HTTP server, and their defaults with reasons.

use std::time::Duration;

use crate::codec::HeadLimits;

/// A request's head must be whole this long after its first byte (or after the connection opened).
pub const DEFAULT_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A body that the handler waits for may be silent this long.
pub const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer may take nothing of a response for this long: nginx's `send_timeout`.
pub const DEFAULT_WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// A request's body at most, unless the handler says more: fits forms and JSON, not uploads.
pub const DEFAULT_MAX_BODY: u64 = 8 * 1024 * 1024;

/// What a server's TLS accepts with `with_alpn`: all that this server speaks, the better first. A client that can speak only
/// 1.0 offers only that.
pub const ALPN: [&str; 2] = ["http/1.1", "http/1.0"];

/// Settings of an HTTP server beyond those of any server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Limits on a request's head.
    pub head: HeadLimits,
    /// How long a request's head may take.
    pub head_timeout: Duration,
    /// How long a body may be silent while the handler waits for it.
    pub read_timeout: Duration,
    /// How long a peer may take nothing of a response.
    pub write_timeout: Duration,
    /// A request's body at most, in bytes; more is answered with 413.
    pub max_body: u64,
    /// Requests on one connection at most; then it is closed well.
    pub max_requests: u64,
    /// Whether a handler goes on when its client has gone. By default it is dropped.
    pub finish_abandoned: bool,
    /// The `Server` field of each response, if any.
    pub server_name: Option<http::HeaderValue>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            head_timeout: DEFAULT_HEAD_TIMEOUT,
            read_timeout: DEFAULT_READ_TIMEOUT,
            write_timeout: DEFAULT_WRITE_TIMEOUT,
            max_body: DEFAULT_MAX_BODY,
            max_requests: u64::MAX,
            finish_abandoned: false,
            server_name: None,
        }
    }
}
