//! Settings of an HTTP client, and their defaults with reasons.

use http::HeaderValue;
use millstream_client::ClientOptions;
use millstream_transport::tls::TlsClient;

use super::wire::Http1;

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
}

/// What is read into memory of a body at most, unless the caller says otherwise.
const MAX_BODY: usize = 64 * 1024 * 1024;

impl Default for HttpClientOptions {
    fn default() -> Self {
        Self {
            client: ClientOptions::default(),
            http: Http1::default(),
            tls: None,
            max_body: MAX_BODY,
            user_agent: Some(HeaderValue::from_static(concat!("millstream/", env!("CARGO_PKG_VERSION")))),
        }
    }
}
