//! Set-Cookie to a cookie: RFC 6265 §5.2 and §5.3, RFC 6265bis §5.6 and §5.7.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::expires::parse_expires;
use crate::client::Url;

/// One cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cookie {
    pub(super) name: Box<[u8]>,
    pub(super) value: Box<[u8]>,
    /// In lower case, without a leading dot.
    pub(super) domain: Box<str>,
    /// Is it for exactly that host, and none below it?
    pub(super) is_host_only: bool,
    pub(super) path: Box<str>,
    pub(super) is_secure: bool,
    /// When it ends; `None`: with the jar.
    pub(super) expires: Option<SystemTime>,
}

/// Name and value together, in bytes: RFC 6265bis §5.6.
const MOST_BYTES: usize = 4096;
/// An attribute's value: RFC 6265bis §5.6.
const MOST_ATTRIBUTE_BYTES: usize = 1024;
/// No cookie lives longer: RFC 6265bis §5.5.
const LONGEST_LIFE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// What the attributes said, the last of each kind winning.
#[derive(Default)]
struct Attributes<'a> {
    expires: Option<SystemTime>,
    max_age: Option<i64>,
    domain: Option<&'a str>,
    path: Option<&'a str>,
    is_secure: bool,
}

impl Cookie {
    /// The cookie that a reply from `url` sets with this, if it may.
    pub(super) fn parse(url: &Url, set_cookie: &[u8], now: SystemTime) -> Option<Self> {
        if set_cookie.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return None;
        }
        let mut parts = set_cookie.split(|byte| *byte == b';');
        let (name, value) = pair(parts.next()?)?;
        let attributes = Attributes::parse(parts);
        let (domain, is_host_only) = scope(url, attributes.domain)?;
        let path = match attributes.path {
            Some(path) if path.starts_with('/') => path,
            _ => default_path(url),
        };
        let cookie = Self {
            name: name.into(),
            value: value.into(),
            domain,
            is_host_only,
            path: path.into(),
            is_secure: attributes.is_secure,
            expires: attributes.end(now),
        };
        cookie.may_come_from(url).then_some(cookie)
    }

    /// Secure cookies come over https only, and prefixed names keep what they promise.
    fn may_come_from(&self, url: &Url) -> bool {
        if self.is_secure && !url.is_https() {
            return false;
        }
        let has_prefix = |prefix: &[u8]| {
            let front = self.name.get(..prefix.len());
            front.is_some_and(|front| front.eq_ignore_ascii_case(prefix))
        };
        if has_prefix(b"__Host-") {
            return self.is_secure && self.is_host_only && &*self.path == "/";
        }
        !has_prefix(b"__Secure-") || self.is_secure
    }

    /// Has it ended?
    pub(super) fn is_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// `name=value`, trimmed. A cookie without a name, or with nothing at all, is refused: `value` alone would be read back
/// as another cookie's name.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (text[..at].trim_ascii(), text[at + 1..].trim_ascii());
    (!name.is_empty() && name.len() + value.len() <= MOST_BYTES).then_some((name, value))
}

impl<'a> Attributes<'a> {
    fn parse(parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut this = Self::default();
        for part in parts {
            let at = part.iter().position(|byte| *byte == b'=');
            let (name, value) = match at {
                Some(at) => (&part[..at], &part[at + 1..]),
                None => (part, &part[..0]),
            };
            let (name, value) = (name.trim_ascii(), value.trim_ascii());
            if value.len() <= MOST_ATTRIBUTE_BYTES
                && let Ok(value) = std::str::from_utf8(value)
            {
                this.on_attribute(&name.to_ascii_lowercase(), value);
            }
        }
        this
    }

    fn on_attribute(&mut self, name: &[u8], value: &'a str) {
        match name {
            b"expires" => self.expires = parse_expires(value).or(self.expires),
            b"max-age" => self.max_age = max_age(value).or(self.max_age),
            b"domain" => self.domain = Some(value),
            b"path" => self.path = Some(value),
            b"secure" => self.is_secure = true,
            // HttpOnly and SameSite speak to browsers: no script and no foreign page asks here.
            _ => {}
        }
    }

    /// Max-Age counts before Expires.
    fn end(&self, now: SystemTime) -> Option<SystemTime> {
        let latest = now + LONGEST_LIFE;
        let end = match self.max_age {
            Some(..=0) => SystemTime::UNIX_EPOCH,
            Some(seconds) => now.checked_add(Duration::from_secs(seconds.unsigned_abs())).unwrap_or(latest),
            None => self.expires?,
        };
        Some(end.min(latest))
    }
}

/// Digits with a sign in front perhaps; however many there are.
fn max_age(text: &str) -> Option<i64> {
    let (digits, bound) = match text.strip_prefix('-') {
        Some(digits) => (digits, i64::MIN),
        None => (text, i64::MAX),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(bound))
}

/// The domain a cookie is for, and whether for that host alone. `None` when the server may not set it.
fn scope(url: &Url, attribute: Option<&str>) -> Option<(Box<str>, bool)> {
    let host = url.host().to_ascii_lowercase();
    let wanted = attribute.map(|domain| domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase());
    let Some(wanted) = wanted.filter(|domain| !domain.is_empty()) else { return Some((host.into(), true)) };
    let is_whole_tld = !wanted.contains('.') || wanted.ends_with('.');
    if is_whole_tld || host.parse::<IpAddr>().is_ok() {
        // A host may name itself: `localhost`, or an address.
        return (wanted == host).then(|| (host.into(), true));
    }
    is_in_domain(&host, &wanted).then(|| (wanted.into(), false))
}

/// RFC 6265 §5.1.3: the domain itself, or a name below it. Both in lower case.
pub(super) fn is_in_domain(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

/// RFC 6265 §5.1.4: the path up to its last slash.
fn default_path(url: &Url) -> &str {
    let path = url.path();
    match path.rfind('/') {
        Some(at) if at > 0 => &path[..at],
        _ => "/",
    }
}
