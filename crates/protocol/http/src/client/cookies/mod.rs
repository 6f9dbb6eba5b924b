//! Cookies a client keeps: RFC 6265 with what RFC 6265bis adds for security (prefixes, secure cookies left alone).
//!
//! | step | module |
//! | --- | --- |
//! | Set-Cookie to a cookie, or none | `parse` |
//! | its Expires | `expires` |
//! | where it is kept and whom it is sent to | `store` |

mod expires;
mod parse;
mod store;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use http::HeaderValue;

use self::store::Store;
use super::Url;
use crate::codec::Fields;

/// Cookies a client keeps and sends. Clones share them; one jar may serve several clients.
///
/// Which cookie goes where: RFC 6265. No list of public suffixes: a cookie for a whole single-label domain (`com`) is
/// refused, one for `co.uk` is not; don't share a jar among sites that must not know of each other. At most 50 cookies a
/// domain, 3,000 in all, 4 KiB each; the ones used least lately make room.
///
/// ```
/// use millstream_http::client::{CookieJar, Url};
/// let jar = CookieJar::new();
/// let url: Url = "https://shop.example/cart".parse()?;
/// jar.set(&url, "id=7; Path=/; Secure; HttpOnly; Max-Age=600");
/// assert_eq!(jar.header(&url).unwrap(), "id=7");
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct CookieJar(Arc<Mutex<Store>>);

impl CookieJar {
    /// An empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a cookie as a reply from `url` would set it: the text of a Set-Cookie field. Says whether it was taken; a
    /// cookie that has expired removes the one it replaces and is not.
    pub fn set(&self, url: &Url, set_cookie: &str) -> bool {
        self.with(|store| store.set(url, set_cookie.as_bytes(), SystemTime::now()))
    }

    /// The Cookie field for a request to `url`, if there is anything to send.
    pub fn header(&self, url: &Url) -> Option<HeaderValue> {
        let text = self.with(|store| store.text_for(url, SystemTime::now()))?;
        let mut value = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// How many cookies it holds, expired ones that nobody asked for included.
    pub fn len(&self) -> usize {
        self.with(|store| store.len())
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.with(|store| *store = Store::default());
    }

    /// Takes what a reply sets.
    pub(crate) fn learn(&self, url: &Url, fields: &Fields) {
        let mut set_cookies = fields.get_all("set-cookie").peekable();
        if set_cookies.peek().is_none() {
            return;
        }
        let now = SystemTime::now();
        self.with(|store| {
            for set_cookie in set_cookies {
                store.set(url, set_cookie, now);
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieJar({} cookies)", self.len())
    }
}
