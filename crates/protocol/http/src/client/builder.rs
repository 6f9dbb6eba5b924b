//! An HTTP client in the making.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use millstream_base::{Error, Result};
use millstream_client::Engine;
use millstream_client::upstream::Resolve;
use millstream_transport::tls::{Pem, TlsClient, TlsClientBuilder};

use super::{CookieJar, HttpClient, HttpClientOptions, Proxies, Proxy, ResetIdle};

/// An HTTP client in the making.
///
/// ```no_run
/// # use std::time::Duration;
/// # fn client(engine: &millstream_server::Engine) -> Result<(), millstream_base::Error> {
/// use millstream_http::client::{CookieJar, HttpClient, Proxy};
/// let client = HttpClient::builder()
///     .timeout(Duration::from_secs(5))
///     .max_open(64)
///     .cookies(CookieJar::new())
///     .proxy(Proxy::all("http://proxy.corp:3128")?.without("localhost, .corp"))
///     .build(engine)?;
/// # Ok(()) }
/// ```
#[must_use = "nothing is made before `build`"]
#[derive(Default)]
pub struct HttpClientBuilder {
    options: HttpClientOptions,
    tls: Option<TlsClientBuilder>,
    resolver: Option<Arc<dyn Resolve>>,
    failed: Option<Error>,
}

impl HttpClientBuilder {
    /// Begins with these settings.
    pub fn options(mut self, options: HttpClientOptions) -> Self {
        self.options = options;
        self
    }

    /// The deadline of a call, redirects included, until its reply's head is here: 30 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.client.call_timeout = timeout;
        self
    }

    /// The deadline of a whole call, the reply's body too: none unless set.
    pub fn total_timeout(mut self, timeout: Duration) -> Self {
        self.options.total_timeout = Some(timeout);
        self
    }

    /// The longest wait for a TCP connection: 10 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.client.dial.connect_timeout = timeout;
        self
    }

    /// The longest silence of a server, before its reply and within it: 10 s unless set.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        (self.options.http.first_byte_timeout, self.options.http.read_timeout) = (timeout, timeout);
        self
    }

    /// Connections to one origin at most: 1,024 unless set. Whoever comes then waits, first in, first out.
    pub fn max_open(mut self, count: usize) -> Self {
        self.options.client.max_open = count;
        self
    }

    /// How long an idle connection is kept: 60 s unless set, or less if its server says so. Set it below what firewalls in between
    /// remember.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.options.client.idle_timeout = timeout;
        self
    }

    /// Keeps as many connections to an origin as it needs beyond the idle timeout, unless its server says less: as many as were in use
    /// at once in all but the busiest hundredth of the last 300 seconds. Not unless set, for the idle timeout is what you say about
    /// firewalls in between.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn client(engine: &millstream_server::Engine) -> Result<(), millstream_base::Error> {
    /// use millstream_http::client::HttpClient;
    /// // Bursts each minute find their connections, although those between two bursts are idle for longer than 20 s.
    /// let client = HttpClient::builder().idle_timeout(Duration::from_secs(20)).keep_needed().build(engine)?;
    /// # Ok(()) }
    /// ```
    pub fn keep_needed(mut self) -> Self {
        self.options.client.keep_needed = true;
        self
    }

    /// Whether idle connections that the client lets go of are reset rather than closed, where that can lose nothing: no end keeps
    /// TIME_WAIT then. Never unless set.
    pub fn reset_idle(mut self, when: ResetIdle) -> Self {
        self.options.client.reset_idle = when;
        self
    }

    /// Dials from this address.
    pub fn local_addr(self, address: IpAddr) -> Self {
        self.local_addrs([address])
    }

    /// Dials from these addresses, each connection from one that has many free ports towards its server: with four there are
    /// four times as many connections to one server.
    pub fn local_addrs(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.options.client.dial.local_addrs = addresses.into_iter().collect();
        self
    }

    /// Never tries a call again, not even when that is safe.
    pub fn without_retries(mut self) -> Self {
        self.options.client.retries = false;
        self
    }

    /// Redirects followed at most; with 0 a redirect is a reply like any other.
    pub fn max_redirects(mut self, count: u32) -> Self {
        self.options.max_redirects = count;
        self
    }

    /// What `text`, `json` and `bytes` take of a body at most, in bytes.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.options.max_body = bytes;
        self
    }

    /// The User-Agent field.
    pub fn user_agent(mut self, agent: &str) -> Self {
        match HeaderValue::from_str(agent) {
            Ok(agent) => self.options.user_agent = Some(agent),
            Err(_) => self.failed = Some(Error::invalid("a User-Agent with forbidden bytes")),
        }
        self
    }

    /// Asks for no compressed replies, and leaves them as they are.
    pub fn without_decompression(mut self) -> Self {
        self.options.decompresses = false;
        self
    }

    /// Keeps cookies in this jar, and sends them.
    pub fn cookies(mut self, jar: CookieJar) -> Self {
        self.options.cookies = Some(jar);
        self
    }

    /// Uses this proxy, instead of those of the environment; of several the first that serves a URL.
    pub fn proxy(mut self, proxy: Proxy) -> Self {
        match &mut self.options.proxies {
            Proxies::These(proxies) => proxies.push(proxy),
            Proxies::Environment => self.options.proxies = Proxies::These(vec![proxy]),
        }
        self
    }

    /// Uses no proxy, whatever the environment says.
    pub fn without_proxies(mut self) -> Self {
        self.options.proxies = Proxies::These(Vec::new());
        self
    }

    /// Resolves names with this. It is asked for each connection: put a cache in front of one that does not remember.
    pub fn resolver(mut self, resolver: Arc<dyn Resolve>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    /// TLS as made elsewhere. Settings of this builder for TLS count for nothing then.
    pub fn tls(mut self, tls: TlsClient) -> Self {
        self.options.tls = Some(tls);
        self
    }

    /// Trusts these roots besides the system's.
    pub fn root_certificates(self, roots: Pem) -> Self {
        self.change_tls(|tls| tls.with_roots(roots))
    }

    /// Trusts only the roots given to this builder.
    pub fn without_system_roots(self) -> Self {
        self.change_tls(TlsClientBuilder::without_system_roots)
    }

    /// Shows this certificate to servers that ask for one.
    pub fn client_certificate(self, chain: Pem, key: Pem) -> Self {
        self.change_tls(|tls| tls.with_certificate(chain, key))
    }

    /// Accepts any certificate from anybody: whoever stands between can read and change all.
    pub fn danger_accept_invalid_certificates(self) -> Self {
        self.change_tls(TlsClientBuilder::danger_accept_invalid_certificates)
    }

    fn change_tls(mut self, change: impl FnOnce(TlsClientBuilder) -> TlsClientBuilder) -> Self {
        self.tls = Some(change(self.tls.take().unwrap_or_default()));
        self
    }

    /// The client, on this engine. Reads certificates from files: call it where blocking for milliseconds is fine.
    ///
    /// # Errors
    /// When a setting makes no sense, or a certificate can't be read.
    pub fn build(self, engine: &Engine) -> Result<HttpClient> {
        let Self { mut options, tls, resolver, failed } = self;
        if let Some(error) = failed {
            return Err(error);
        }
        if let (Some(tls), None) = (tls, &options.tls) {
            options.tls = Some(tls.with_alpn(["http/1.1"]).build()?);
        }
        Ok(match resolver {
            Some(resolver) => HttpClient::with_resolver(engine, options, resolver),
            None => HttpClient::with_options(engine, options),
        })
    }
}

impl std::fmt::Debug for HttpClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClientBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}
