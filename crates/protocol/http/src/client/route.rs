//! Where a URL's requests go: to its origin, or through a proxy.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use http::header::PROXY_AUTHORIZATION;
use http::{HeaderValue, Method};
use millstream_base::Result;
use millstream_client::{Place, Target};
use millstream_transport::tls::TlsClient;

use super::origin::Tunnel;
use super::proxy::Proxy;
use super::wire::WireRequest;
use super::{HttpClientOptions, Proxies, Url};

/// Where requests to one origin go.
#[derive(Clone)]
pub(crate) struct Route {
    /// Whose connections carry them.
    pub(crate) target: Target,
    /// The proxy that reads them, if one does.
    forward: Option<Arc<Forward>>,
}

/// A proxy that reads requests and sends them on.
struct Forward {
    authorization: Option<HeaderValue>,
}

/// The routes of a client, remembered by origin, so that a call makes none anew.
pub(crate) struct Routes {
    proxies: Vec<Proxy>,
    tls: Option<TlsClient>,
    /// TLS as the options say, made when it is first needed: reading the system's roots takes milliseconds.
    default_tls: OnceLock<TlsClient>,
    known: RwLock<HashMap<Box<str>, Route>>,
}

/// Origins remembered at most; beyond that the table starts anew.
const MOST_ROUTES: usize = 10_000;

impl Routes {
    pub(crate) fn new(options: &HttpClientOptions) -> Self {
        let proxies = match &options.proxies {
            Proxies::Environment => Proxy::from_environment(),
            Proxies::These(proxies) => proxies.clone(),
        };
        let (tls, default_tls, known) = (options.tls.clone(), OnceLock::new(), RwLock::default());
        Self { proxies, tls, default_tls, known }
    }

    /// Where a URL's requests go.
    #[inline]
    pub(crate) fn find(&self, url: &Url) -> Result<Route> {
        let key = url.origin().key();
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        match known {
            Some(route) => Ok(route),
            None => self.make(url),
        }
    }

    #[cold]
    fn make(&self, url: &Url) -> Result<Route> {
        let route = match self.proxies.iter().find(|proxy| proxy.serves(url)) {
            None => Route { target: self.direct(url)?, forward: None },
            Some(proxy) if url.is_https() => Route { target: self.tunnel(url, proxy)?, forward: None },
            Some(proxy) => {
                let authorization = proxy.authorization().cloned();
                let tag = tag("forward", "", authorization.as_ref());
                let target = self.direct(proxy.url())?.with_tag(tag, None);
                Route { target, forward: Some(Arc::new(Forward { authorization })) }
            }
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_ROUTES {
            known.clear();
        }
        known.insert(url.origin().key().into(), route.clone());
        Ok(route)
    }

    fn direct(&self, url: &Url) -> Result<Target> {
        let target = Target::host(url.host(), url.port());
        if url.is_https() { Ok(target.with_tls(self.tls()?, url.host())) } else { Ok(target) }
    }

    /// Connections through a tunnel serve its origin alone; those with other credentials are others.
    fn tunnel(&self, url: &Url, proxy: &Proxy) -> Result<Target> {
        let tls = self.tls()?;
        let (authority, authorization) = (url.origin().authority(), proxy.authorization().cloned());
        let tag = tag("tunnel", &authority, authorization.as_ref());
        let tunnel = Tunnel { authority, authorization, tls: Some((tls, url.host().to_owned())) };
        Ok(self.direct(proxy.url())?.with_tag(tag, Some(Arc::new(tunnel))))
    }

    fn tls(&self) -> Result<TlsClient> {
        if let Some(tls) = self.tls.as_ref().or_else(|| self.default_tls.get()) {
            return Ok(tls.clone());
        }
        let made = TlsClient::builder().with_alpn(["http/1.1"]).build()?;
        Ok(self.default_tls.get_or_init(|| made).clone())
    }
}

/// What keeps connections apart that go to the same place.
fn tag(what: &str, authority: &str, authorization: Option<&HeaderValue>) -> String {
    let authorization = authorization.map_or("", |value| value.to_str().unwrap_or_default());
    format!("{what} {authority} {authorization}")
}

impl Route {
    /// How errors name a call that goes this way.
    #[cold]
    pub(crate) fn called(&self, method: &Method, url: &Url) -> String {
        let is_direct = matches!(
            self.target.place(),
            Place::Host(host, port) if **host == *url.host() && *port == url.port()
        );
        let called = url.called(method);
        if is_direct { called } else { format!("{called} through {}", self.target) }
    }

    /// Addresses a request: target, Host, and who we are to a proxy.
    #[inline]
    pub(crate) fn address(&self, request: &mut WireRequest, url: &Url) {
        request.host = url.origin().host_field().clone();
        match &self.forward {
            None => request.target = url.shared_target(),
            Some(forward) => {
                request.target = url.to_string().into();
                if let Some(authorization) = &forward.authorization {
                    request.own.append(PROXY_AUTHORIZATION, authorization.clone());
                }
            }
        }
        if request.method == Method::CONNECT {
            request.target = url.origin().authority().into();
        }
    }
}
