//! Settings of an HTTP client, and their defaults with reasons.

use http::HeaderValue;
use millstream_client::ClientOptions;
use millstream_transport::tls::TlsClient;

use super::wire::Http1;
use super::{CookieJar, Proxy};

/// Settings of an HTTP client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpClientOptions {
    /// Settings of any client: deadlines, pool, dialling.
    pub client: ClientOptions,
    /// Limits and timeouts of the protocol.
    pub http: Http1,
    /// TLS for https: by default verified against the system's roots, made at the first https call.
    pub tls: Option<TlsClient>,
    /// What `text`, `json` and `bytes` take of a body at most: 64 MiB by default. A stream has no limit.
    pub max_body: usize,
    /// The User-Agent field, if any.
    pub user_agent: Option<HeaderValue>,
    /// Redirects followed at most: 10 by default. With 0 a redirect is a reply like any other.
    pub max_redirects: u32,
    /// Whether compressed replies are asked for and undone: on by default. Not for requests that say Accept-Encoding or
    /// Range themselves.
    pub decompresses: bool,
    /// A compressed body may grow to so many times what came over the wire (beyond 16 MiB): 200 by default.
    pub max_decompression_ratio: u32,
    /// The deadline of a whole call, the reply's body too; none by default: a body may be as long as it likes while it comes.
    pub total_timeout: Option<std::time::Duration>,
    /// Where cookies are kept: nowhere by default.
    pub cookies: Option<CookieJar>,
    /// Which proxies are used: those of the environment by default.
    pub proxies: Proxies,
}

/// Which proxies a client uses.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Proxies {
    /// Those of the environment when the client is made: [`Proxy::from_environment`].
    #[default]
    Environment,
    /// The first of these that serves a URL, else none.
    These(Vec<Proxy>),
}

/// What is read into memory of a body at most, unless the caller says otherwise.
const MAX_BODY: usize = 64 * 1024 * 1024;
/// As the Fetch standard's 20, halved: a chain of ten is broken in practice.
const MAX_REDIRECTS: u32 = 10;
/// As Apache's mod_deflate has it. Text seldom shrinks to less than a fiftieth.
const MAX_DECOMPRESSION_RATIO: u32 = 200;

impl Default for HttpClientOptions {
    fn default() -> Self {
        Self {
            client: ClientOptions::default(),
            http: Http1::default(),
            tls: None,
            max_body: MAX_BODY,
            user_agent: Some(HeaderValue::from_static(concat!("millstream/", env!("CARGO_PKG_VERSION")))),
            max_redirects: MAX_REDIRECTS,
            decompresses: true,
            max_decompression_ratio: MAX_DECOMPRESSION_RATIO,
            total_timeout: None,
            cookies: None,
            proxies: Proxies::Environment,
        }
    }
}
