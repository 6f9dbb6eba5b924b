//! Whom a call goes to: everything that makes two sessions different.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use millstream_transport::tls::TlsClient;

/// Whom a call goes to: everything that makes two sessions different. Cheap to clone.
///
/// Two targets are equal when they share place, TLS identity, TLS name and tag; sessions of one serve the other then.
#[derive(Clone)]
pub struct Target(Arc<Inner>);

struct Inner {
    place: Place,
    tls: Option<(TlsClient, Arc<str>)>,
    tag: Arc<str>,
    extra: Option<Arc<dyn Any + Send + Sync>>,
    hash: u64,
}

/// Where a connection goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A name or an address, and a port.
    Host(Arc<str>, u16),
    /// A Unix socket.
    Unix(Arc<Path>),
}

impl Target {
    /// Plain bytes to this place.
    pub fn new(place: Place) -> Self {
        Self::build(place, None, "".into(), None)
    }

    /// Plain bytes to `host` (a name, or an address without brackets) and `port`.
    pub fn host(host: &str, port: u16) -> Self {
        Self::new(Place::Host(host.into(), port))
    }

    /// Plain bytes to a Unix socket.
    pub fn unix(path: &Path) -> Self {
        Self::new(Place::Unix(path.into()))
    }

    /// The same place over TLS; the certificate must be valid for `name`.
    #[must_use]
    pub fn with_tls(self, tls: TlsClient, name: impl Into<Arc<str>>) -> Self {
        let (place, tag, extra) = (self.0.place.clone(), self.0.tag.clone(), self.0.extra.clone());
        Self::build(place, Some((tls, name.into())), tag, extra)
    }

    /// With whatever else keeps sessions apart (a database, a user, a tunnel), and what the protocol wants to find when
    /// it opens one.
    #[must_use]
    pub fn with_tag(self, tag: impl Into<Arc<str>>, extra: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self::build(self.0.place.clone(), self.0.tls.clone(), tag.into(), extra)
    }

    fn build(
        place: Place,
        tls: Option<(TlsClient, Arc<str>)>,
        tag: Arc<str>,
        extra: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Self {
        let mut hasher = std::hash::DefaultHasher::new();
        place.hash(&mut hasher);
        tls.as_ref().map(|(client, name)| (client.identity(), name)).hash(&mut hasher);
        tag.hash(&mut hasher);
        let hash = hasher.finish();
        Self(Arc::new(Inner { place, tls, tag, extra, hash }))
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// TLS and the name its certificate must have, if it is spoken from the first byte.
    pub fn tls(&self) -> Option<&(TlsClient, Arc<str>)> {
        self.0.tls.as_ref()
    }

    /// What the protocol wanted to find.
    pub fn extra<T: Any>(&self) -> Option<&T> {
        self.0.extra.as_ref()?.downcast_ref()
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        let tls =
            |target: &Self| target.0.tls.as_ref().map(|(client, name)| (client.identity(), name.clone()));
        self.0.hash == other.0.hash
            && self.0.place == other.0.place
            && self.0.tag == other.0.tag
            && tls(self) == tls(other)
    }
}

impl Eq for Target {}

impl Hash for Target {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            Place::Host(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Place::Host(host, port) => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the tag: it may hold credentials.
        write!(f, "Target({self}{})", if self.0.tls.is_some() { ", tls" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_makes_sessions_different_makes_targets_different() {
        let plain = Target::host("a", 80);
        assert_eq!(plain, Target::host("a", 80));
        assert_ne!(plain, Target::host("a", 81));
        assert_ne!(plain, Target::host("b", 80));
        assert_ne!(plain, Target::host("a", 80).with_tag("db", None));
        let builder = || TlsClient::builder().without_system_roots().danger_accept_invalid_certificates();
        let (one, two) = (builder().build().expect("tls"), builder().build().expect("tls"));
        let secure = plain.clone().with_tls(one.clone(), "a");
        assert_ne!(plain, secure);
        assert_eq!(secure, plain.clone().with_tls(one.clone(), "a"));
        assert_ne!(secure, plain.clone().with_tls(one, "b"));
        if two.identity() != secure.tls().expect("set").0.identity() {
            assert_ne!(secure, plain.with_tls(two, "a"));
        }
    }

    #[test]
    fn text_brackets_v6() {
        assert_eq!(Target::host("::1", 80).to_string(), "[::1]:80");
        assert_eq!(Target::host("db", 80).to_string(), "db:80");
    }
}
