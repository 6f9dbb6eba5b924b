//! Which requests go through which proxy.

use std::net::IpAddr;

use http::HeaderValue;
use millstream_base::{Error, Result};

use super::Url;
use super::no_proxy::NoProxy;
use super::request::basic;

/// A forward proxy, and which requests go through it.
///
/// Requests to `http` URLs are sent to it in absolute form; to `https` URLs it is asked for a tunnel (CONNECT). User and
/// password in its URL are sent to it as basic credentials. A proxy whose own URL is `https` is spoken to over TLS.
///
/// ```
/// use millstream_http::client::Proxy;
/// let proxy = Proxy::all("http://user:secret@proxy.corp:3128")?.without("localhost, .corp, 10.0.0.0/8");
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    url: Url,
    authorization: Option<HeaderValue>,
    scope: Scope,
    except: NoProxy,
    skips_loopback: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Http,
    Https,
    All,
}

impl Proxy {
    /// For requests to `http` URLs.
    ///
    /// # Errors
    /// When this is no URL of an HTTP proxy.
    pub fn http(url: &str) -> Result<Self> {
        Self::new(url, Scope::Http)
    }

    /// For requests to `https` URLs.
    ///
    /// # Errors
    /// When this is no URL of an HTTP proxy.
    pub fn https(url: &str) -> Result<Self> {
        Self::new(url, Scope::Https)
    }

    /// For all requests.
    ///
    /// # Errors
    /// When this is no URL of an HTTP proxy.
    pub fn all(url: &str) -> Result<Self> {
        Self::new(url, Scope::All)
    }

    /// But not for these hosts: names (with all below them), addresses, networks, each with a port if it shall count;
    /// `*` for all. Separated by commas or blanks.
    #[must_use]
    pub fn without(mut self, hosts: &str) -> Self {
        self.except = NoProxy::parse(hosts);
        self
    }

    /// With these credentials instead of those in its URL.
    #[must_use]
    pub fn with_basic_auth(mut self, user: &str, password: &str) -> Self {
        self.authorization = Some(basic(user, password));
        self
    }

    /// What the environment says: `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in lower case or else in upper
    /// case. `HTTP_PROXY` does not count where `REQUEST_METHOD` is set: in a CGI program a client can set it. Hosts on
    /// this host's own loopback are always reached directly. What makes no sense is reported and left out.
    pub fn from_environment() -> Vec<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The same with other variables.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Vec<Self> {
        let value = |lower: &str| {
            let upper = lower.to_ascii_uppercase();
            let is_forgeable = lower == "http_proxy" && variable("REQUEST_METHOD").is_some();
            let found = variable(lower).or_else(|| if is_forgeable { None } else { variable(&upper) });
            found.filter(|value| !value.trim().is_empty())
        };
        let except = NoProxy::parse(&value("no_proxy").unwrap_or_default());
        let read = |name, scope| {
            let text = value(name)?;
            match Self::new(text.trim(), scope) {
                Ok(proxy) => Some(Self { except: except.clone(), skips_loopback: true, ..proxy }),
                Err(error) => {
                    tracing::warn!(variable = name, error = error.message(), "proxy left out");
                    None
                }
            }
        };
        let scopes = [("http_proxy", Scope::Http), ("https_proxy", Scope::Https), ("all_proxy", Scope::All)];
        scopes.into_iter().filter_map(|(name, scope)| read(name, scope)).collect()
    }

    fn new(text: &str, scope: Scope) -> Result<Self> {
        let url: Url = match text.split_once("://") {
            Some(("http" | "https", _)) => text.parse()?,
            Some((other, _)) => {
                return Err(Error::invalid(format!("a proxy of scheme `{other}` is not supported")));
            }
            None => format!("http://{text}").parse()?,
        };
        let authorization = url.credentials().map(|(user, password)| basic(user, password));
        Ok(Self { url, authorization, scope, except: NoProxy::default(), skips_loopback: false })
    }

    /// Do requests to this URL go through it?
    pub(crate) fn serves(&self, url: &Url) -> bool {
        let is_in_scope = match self.scope {
            Scope::Http => !url.is_https(),
            Scope::Https => url.is_https(),
            Scope::All => true,
        };
        is_in_scope
            && !self.except.covers(url.host(), url.port())
            && !(self.skips_loopback && is_loopback(url.host()))
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// What it is told about who we are.
    pub(crate) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

fn is_loopback(host: &str) -> bool {
    let is_name = host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost");
    is_name || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A URL shows no credentials.
        write!(f, "Proxy({:?} through {})", self.scope, self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    /// Which proxy a URL goes through, given these variables.
    fn through(variables: &[(&str, &str)], to: &str) -> Option<String> {
        let find = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let proxies = Proxy::from_variables(find);
        proxies.iter().find(|proxy| proxy.serves(&url(to))).map(|proxy| proxy.url().to_string())
    }

    #[test]
    fn environment_names_proxies_by_scheme() {
        let (http, https, all) =
            (("http_proxy", "http://h:1"), ("https_proxy", "http://s:2"), ("all_proxy", "http://a:3"));
        for (variables, to, expected) in [
            (vec![http], "http://x/", Some("http://h:1/")),
            (vec![http], "https://x/", None),
            (vec![https], "https://x/", Some("http://s:2/")),
            (vec![https], "http://x/", None),
            (vec![all], "http://x/", Some("http://a:3/")),
            (vec![all], "https://x/", Some("http://a:3/")),
            (vec![http, https, all], "http://x/", Some("http://h:1/")),
            (vec![http, https, all], "https://x/", Some("http://s:2/")),
            (vec![("HTTP_PROXY", "http://u:1")], "http://x/", Some("http://u:1/")),
            (vec![("HTTPS_PROXY", "http://u:1")], "https://x/", Some("http://u:1/")),
            (vec![("ALL_PROXY", "http://u:1")], "https://x/", Some("http://u:1/")),
            (vec![http, ("HTTP_PROXY", "http://u:1")], "http://x/", Some("http://h:1/")),
            (vec![("http_proxy", "bare:8080")], "http://x/", Some("http://bare:8080/")),
            (vec![("http_proxy", "")], "http://x/", None),
            (vec![("http_proxy", "socks5://s:1")], "http://x/", None),
            (vec![("http_proxy", "not a url")], "http://x/", None),
        ] {
            assert_eq!(through(&variables, to).as_deref(), expected, "{variables:?} {to}");
        }
    }

    #[test]
    fn upper_case_variable_does_not_count_in_a_cgi_program() {
        let cgi = ("REQUEST_METHOD", "GET");
        assert_eq!(through(&[("HTTP_PROXY", "http://evil:1"), cgi], "http://x/"), None);
        assert!(through(&[("http_proxy", "http://h:1"), cgi], "http://x/").is_some());
        assert!(through(&[("HTTPS_PROXY", "http://s:1"), cgi], "https://x/").is_some());
    }

    #[test]
    fn environment_excepts_hosts_and_always_loopback() {
        let variables = [("all_proxy", "http://p:1"), ("no_proxy", "corp, 10.0.0.0/8")];
        for (to, is_proxied) in [
            ("http://x/", true),
            ("http://a.corp/", false),
            ("https://10.1.2.3/", false),
            ("http://localhost/", false),
            ("http://a.localhost:8080/", false),
            ("http://127.8.0.1/", false),
            ("http://[::1]/", false),
        ] {
            assert_eq!(through(&variables, to).is_some(), is_proxied, "{to}");
        }
        assert_eq!(through(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", "*")], "http://x/"), None);
    }

    #[test]
    fn proxy_set_by_the_program_serves_loopback_too() {
        let proxy = Proxy::http("http://p:1").expect("a proxy");
        assert!(proxy.serves(&url("http://127.0.0.1/")));
        assert!(!proxy.clone().without("127.0.0.1").serves(&url("http://127.0.0.1/")));
        assert!(!proxy.serves(&url("https://x/")));
    }

    #[test]
    fn credentials_are_sent_and_not_shown() {
        let proxy = Proxy::all("http://user:s%40cret@p:1").expect("a proxy");
        assert_eq!(proxy.authorization().expect("set"), "Basic dXNlcjpzQGNyZXQ=");
        assert!(!format!("{proxy:?}").contains("cret"), "{proxy:?}");
    }
}
