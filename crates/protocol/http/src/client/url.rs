//! A URL as a client uses it: an origin, and what goes into the request line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Method;
use millstream_base::{Error, Result};

use super::origin::{Origin, Scheme};

/// An absolute `http` or `https` URL: parsed once, cheap to clone.
///
/// Text that needs no escaping is taken as it is; anything else (spaces, non-ASCII names, dot segments) goes through the
/// WHATWG parser of the `url` crate. A fragment is dropped; credentials are kept apart and never shown.
///
/// ```
/// use millstream_http::client::Url;
/// let url: Url = "http://example.org/a?b=c#d".parse()?;
/// assert_eq!(url.to_string(), "http://example.org/a?b=c");
/// assert_eq!(url.target(), "/a?b=c");
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    origin: Arc<Origin>,
    /// Path and query, as in a request line; begins with `/`.
    target: Arc<str>,
    credentials: Option<Arc<(String, String)>>,
}

impl Url {
    /// Whom it names.
    pub(crate) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Path and query, as they stand in a request line.
    pub fn target(&self) -> &str {
        &self.target
    }

    pub(crate) fn shared_target(&self) -> Arc<str> {
        self.target.clone()
    }

    /// The path, percent-encoded.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("/")
    }

    /// The query, percent-encoded.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The name or address it leads to, without brackets.
    pub fn host(&self) -> &str {
        self.origin.host()
    }

    /// The port, also when it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.origin.port()
    }

    /// Is it `https`?
    pub fn is_https(&self) -> bool {
        self.origin.scheme() == Scheme::Https
    }

    /// User and password, where the text had them.
    pub(crate) fn credentials(&self) -> Option<&(String, String)> {
        self.credentials.as_deref()
    }

    /// How errors name a call: without credentials, and without the query, which may hold secrets.
    #[cold]
    pub(crate) fn called(&self, method: &Method) -> String {
        format!("{method} {}", self.place())
    }

    /// Origin and path: what may be shown to anybody.
    pub(crate) fn place(&self) -> String {
        format!("{}{}", self.origin, self.path())
    }

    /// The URL that `reference` names, seen from this one (RFC 3986 §5): what Location means.
    ///
    /// # Errors
    /// When it is no URL, or of another scheme than http and https.
    pub fn join(&self, reference: &str) -> Result<Self> {
        let base = url::Url::parse(&self.to_string()).map_err(|error| bad(&error))?;
        Self::from_parsed(&base.join(reference).map_err(|error| bad(&error))?)
    }

    /// The same with these pairs behind its query.
    ///
    /// # Errors
    /// Never for text that is a URL already.
    pub(crate) fn with_query(&self, encoded: &str) -> Self {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        let target = format!("{}{separator}{encoded}", self.target);
        Self { target: target.into(), ..self.clone() }
    }

    fn from_parsed(url: &url::Url) -> Result<Self> {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(Error::invalid(format!("URL scheme `{other}` is neither http nor https"))),
        };
        let host = match url.host() {
            Some(url::Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => return Err(Error::invalid("URL without a host")),
        };
        let port = url.port_or_known_default().unwrap_or(scheme.port());
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        let credentials =
            has_credentials.then(|| Arc::new((decode(url.username()), decode(url.password().unwrap_or("")))));
        Ok(Self { origin: Arc::new(Origin::new(scheme, host, port)?), target: target.into(), credentials })
    }

    /// Text that is a URL as it stands: then no parser is needed.
    fn parse_plain(text: &str) -> Option<Self> {
        let (scheme, start) = match text.strip_prefix("http://") {
            Some(_) => (Scheme::Http, "http://".len()),
            None => (Scheme::Https, text.strip_prefix("https://").map(|_| "https://".len())?),
        };
        let end = start + memchr::memchr3(b'/', b'?', b'#', &text.as_bytes()[start..])?;
        let (prefix, target) = text.split_at(end);
        if !target.starts_with('/') || !is_plain_target(target) {
            return None;
        }
        let origin = match recent::find(prefix) {
            Some(origin) => origin,
            None => plain_origin(scheme, &prefix[start..])?,
        };
        Some(Self { origin, target: target.into(), credentials: None })
    }
}

/// The origin of an authority that needs no parser, remembered.
fn plain_origin(scheme: Scheme, authority: &str) -> Option<Arc<Origin>> {
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse().ok()?)
        }
        Some(_) => return None,
        None => (authority, scheme.port()),
    };
    if !is_plain_host(host) {
        return None;
    }
    let origin = Arc::new(Origin::new(scheme, host.to_owned(), port).ok()?);
    recent::remember(&origin);
    Some(origin)
}

/// The origins a thread parsed last: most programs call a few hosts again and again.
mod recent {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::Origin;

    /// More than a caller of one or two services needs, and quick to look through.
    const KEPT: usize = 4;

    thread_local! {
        static ORIGINS: RefCell<Vec<Arc<Origin>>> = const { RefCell::new(Vec::new()) };
    }

    /// The origin whose text is exactly this: `http://host:port`, without the scheme's own port.
    pub(super) fn find(text: &str) -> Option<Arc<Origin>> {
        ORIGINS.with_borrow(|origins| origins.iter().find(|origin| origin.key() == text).cloned())
    }

    /// In place of the one that came first.
    pub(super) fn remember(origin: &Arc<Origin>) {
        ORIGINS.with_borrow_mut(|origins| {
            if origins.len() == KEPT {
                origins.remove(0);
            }
            origins.push(origin.clone());
        });
    }
}

/// A name of letters, digits, `-` and `.` in lower case that the WHATWG parser would leave alone. One whose last label
/// is a number could be an address in disguise (`0x7f.1`): that is for the parser to say.
fn is_plain_host(host: &str) -> bool {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let is_name =
        host.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()));
    let is_address = host.parse::<std::net::Ipv4Addr>().is_ok();
    !host.is_empty() && host.bytes().all(is_plain) && !host.contains("xn--") && (is_name || is_address)
}

/// Text that the WHATWG parser would leave alone: no byte to escape, and no dot segment (`/.`, `%2e`).
fn is_plain_target(target: &str) -> bool {
    let mut last = 0;
    target.bytes().all(|byte| {
        let is_suspect = (last == b'/' && byte == b'.') || (last == b'%' && byte == b'2');
        last = byte;
        PLAIN[usize::from(byte)] && !is_suspect
    })
}

/// Bytes of a path or query that are never escaped: visible ASCII but for these.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        plain[byte as usize] =
            !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'\'');
        byte += 1;
    }
    plain
};

fn bad(error: &url::ParseError) -> Error {
    Error::invalid(format!("not a URL: {error}"))
}

impl FromStr for Url {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(url) = Self::parse_plain(text) {
            return Ok(url);
        }
        Self::from_parsed(&url::Url::parse(text).map_err(|error| bad(&error))?)
    }
}

impl TryFrom<&str> for Url {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        text.parse()
    }
}

impl TryFrom<&String> for Url {
    type Error = Error;

    fn try_from(text: &String) -> Result<Self> {
        text.parse()
    }
}

impl TryFrom<String> for Url {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl TryFrom<&Url> for Url {
    type Error = Error;

    fn try_from(url: &Url) -> Result<Self> {
        Ok(url.clone())
    }
}

impl fmt::Display for Url {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query may hold secrets.
        write!(f, "Url({})", self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_and_the_full_parser_agree() {
        for text in [
            "http://a.example/",
            "http://127.0.0.1:8080/x?y=z",
            "https://a.example:443/",
            "http://a.example:80/b/c.txt",
            "https://localhost/%30a?b=%3F&c",
            "http://a-b.c1/~x/;p=1",
        ] {
            let plain = Url::parse_plain(text).expect(text);
            let full = Url::from_parsed(&url::Url::parse(text).expect(text)).expect(text);
            assert_eq!(plain, full, "{text}");
        }
    }

    #[test]
    fn what_needs_a_parser_goes_to_it() {
        for (text, shown) in [
            ("http://EXAMPLE.org", "http://example.org/"),
            ("http://a/b/../c", "http://a/c"),
            ("http://a/b c", "http://a/b%20c"),
            ("http://a?q", "http://a/?q"),
            ("http://user:pa%20ss@a/", "http://a/"),
            ("http://[::1]:81/x#frag", "http://[::1]:81/x"),
            ("http://bücher.example/", "http://xn--bcher-kva.example/"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
        ] {
            assert_eq!(text.parse::<Url>().expect(text).to_string(), shown);
        }
        let url: Url = "http://user:pa%20ss@a/".parse().expect("a URL");
        assert_eq!(url.credentials(), Some(&("user".to_owned(), "pa ss".to_owned())));
        assert!(!format!("{url:?} {url}").contains("pa"));
    }

    #[test]
    fn other_schemes_and_nonsense_are_refused() {
        for text in ["ftp://a/", "file:///etc/passwd", "a/b", "", "http://", "http://a:99999/", "http://a b/"]
        {
            assert!(text.parse::<Url>().is_err(), "{text}");
        }
    }

    #[test]
    fn join_follows_rfc_3986() {
        let base: Url = "http://a/b/c/d?q".parse().expect("a URL");
        for (reference, target) in [
            ("g", "http://a/b/c/g"),
            ("/g", "http://a/g"),
            ("//g/x", "http://g/x"),
            ("?y", "http://a/b/c/d?y"),
            ("../g", "http://a/b/g"),
            ("https://z", "https://z/"),
        ] {
            assert_eq!(base.join(reference).expect(reference).to_string(), target);
        }
        assert!(base.join("javascript:alert(1)").is_err());
    }
}
