//! Where cookies are kept, and whom they are sent to. Plain data: whoever calls says what time it is.

use std::collections::HashMap;
use std::time::SystemTime;

use super::parse::Cookie;
use crate::client::Url;

/// Cookies by domain.
#[derive(Default)]
pub(super) struct Store {
    domains: HashMap<Box<str>, Vec<Kept>>,
    count: usize,
    /// Rises with each use: who was used when, without a clock.
    turn: u64,
}

struct Kept {
    cookie: Cookie,
    created: u64,
    used: u64,
}

/// Cookies of one domain at most: RFC 6265 §6.1.
const MOST_A_DOMAIN: usize = 50;
/// Cookies in all: RFC 6265 §6.1.
const MOST_IN_ALL: usize = 3_000;

impl Store {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Takes what a reply from `url` sets; says whether it was taken.
    pub(super) fn set(&mut self, url: &Url, set_cookie: &[u8], now: SystemTime) -> bool {
        let Some(cookie) = Cookie::parse(url, set_cookie, now) else { return false };
        if !url.is_https() && self.hides_secure(&cookie, now) {
            return false;
        }
        self.turn += 1;
        let created = self.take_same(&cookie).unwrap_or(self.turn);
        if cookie.is_expired(now) {
            return false;
        }
        self.make_room(&cookie.domain, now);
        let kept = Kept { created, used: self.turn, cookie };
        self.domains.entry(kept.cookie.domain.clone()).or_default().push(kept);
        self.count += 1;
        true
    }

    /// `a=b; c=d` for a request to `url`: longer paths first, then the older ones (RFC 6265 §5.4).
    pub(super) fn text_for(&mut self, url: &Url, now: SystemTime) -> Option<Vec<u8>> {
        let (host, path) = (url.host().to_ascii_lowercase(), url.path());
        let is_https = url.is_https();
        self.turn += 1;
        let turn = self.turn;
        let mut found = Vec::new();
        for domain in domains_of(&host) {
            for kept in self.domains.get_mut(domain).into_iter().flatten() {
                let Kept { cookie, created, used } = kept;
                let is_for_host = !cookie.is_host_only || *cookie.domain == host;
                let is_allowed = (is_https || !cookie.is_secure) && is_below(path, &cookie.path);
                if is_for_host && is_allowed && !cookie.is_expired(now) {
                    *used = turn;
                    let text = [&*cookie.name, b"=", &*cookie.value].concat();
                    found.push((cookie.path.len(), *created, text));
                }
            }
        }
        found.sort_by_key(|(length, created, _)| (std::cmp::Reverse(*length), *created));
        let texts: Vec<_> = found.into_iter().map(|(.., text)| text).collect();
        (!texts.is_empty()).then(|| texts.join(&b"; "[..]))
    }

    /// Does a secure cookie of that name stand where this one, from plain http, would be sent too?
    fn hides_secure(&self, new: &Cookie, now: SystemTime) -> bool {
        let overlaps = |old: &Cookie| {
            let same_domain = super::parse::is_in_domain(&old.domain, &new.domain)
                || super::parse::is_in_domain(&new.domain, &old.domain);
            old.is_secure && old.name == new.name && same_domain && is_below(&new.path, &old.path)
        };
        let stands = |old: &Cookie| overlaps(old) && !old.is_expired(now);
        self.domains.values().flatten().any(|kept| stands(&kept.cookie))
    }

    /// Takes the cookie that this one replaces, and gives when it was created.
    fn take_same(&mut self, new: &Cookie) -> Option<u64> {
        let list = self.domains.get_mut(&new.domain)?;
        let is_same = |old: &Cookie| {
            (&old.name, &old.path, old.is_host_only) == (&new.name, &new.path, new.is_host_only)
        };
        let at = list.iter().position(|kept| is_same(&kept.cookie))?;
        self.count -= 1;
        let created = list.swap_remove(at).created;
        if list.is_empty() {
            self.domains.remove(&new.domain);
        }
        Some(created)
    }

    /// Has room for one more of this domain: expired ones go first, then the one used least lately.
    fn make_room(&mut self, domain: &str, now: SystemTime) {
        if self.domains.get(domain).is_some_and(|list| list.len() >= MOST_A_DOMAIN) {
            self.forget_expired(now);
            if let Some(list) = self.domains.get_mut(domain).filter(|list| list.len() >= MOST_A_DOMAIN) {
                let oldest = (0..list.len()).min_by_key(|at| list[*at].used).unwrap_or(0);
                list.swap_remove(oldest);
                self.count -= 1;
            }
        }
        if self.count >= MOST_IN_ALL {
            self.forget_expired(now);
        }
        while self.count >= MOST_IN_ALL {
            let Some(oldest) = self.domains.values().flatten().map(|kept| kept.used).min() else { return };
            self.retain(|kept| kept.used != oldest);
        }
    }

    fn forget_expired(&mut self, now: SystemTime) {
        self.retain(|kept| !kept.cookie.is_expired(now));
    }

    fn retain(&mut self, keeps: impl Fn(&Kept) -> bool) {
        self.domains.retain(|_, list| {
            list.retain(&keeps);
            !list.is_empty()
        });
        self.count = self.domains.values().map(Vec::len).sum();
    }
}

/// The host and all domains it is in: `a.b.c`, `b.c`, `c`. An address is in none but itself, and nothing is kept for parts
/// of one.
fn domains_of(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |domain| domain.split_once('.').map(|(_, rest)| rest))
}

/// RFC 6265 §5.1.4: is `path` that path or below it?
fn is_below(path: &str, cookie_path: &str) -> bool {
    match path.strip_prefix(cookie_path) {
        Some(rest) => rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn now() -> SystemTime {
        NOW + Duration::from_secs(1_700_000_000)
    }

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn sent(store: &mut Store, to: &str) -> String {
        String::from_utf8(store.text_for(&url(to), now()).unwrap_or_default()).expect("text")
    }

    /// What a request to `to` carries once `from` has set this.
    fn after(from: &str, set_cookie: &str, to: &str) -> String {
        let mut store = Store::default();
        store.set(&url(from), set_cookie.as_bytes(), now());
        sent(&mut store, to)
    }

    #[test]
    fn cookie_goes_where_domain_path_and_scheme_allow() {
        for (from, set_cookie, to, expected) in [
            ("http://a.x/", "k=v", "http://a.x/y", "k=v"),
            ("http://a.x/", "k=v", "http://b.a.x/", ""),
            ("http://a.x/", "k=v; Domain=a.x", "http://b.a.x/", "k=v"),
            ("http://a.x/", "k=v; Domain=.A.X", "http://b.a.x/", "k=v"),
            ("http://b.a.x/", "k=v; Domain=a.x", "http://a.x/", "k=v"),
            ("http://b.a.x/", "k=v; Domain=a.x", "http://ba.x/", ""),
            ("http://b.a.x/", "k=v; Domain=c.a.x", "http://c.a.x/", ""),
            ("http://a.x/", "k=v; Domain=b.a.x", "http://b.a.x/", ""),
            ("http://a.x/", "k=v; Domain=x", "http://b.x/", ""),
            ("http://a.x/", "k=v; Domain=x.", "http://b.x/", ""),
            ("http://a.x/", "k=v; Domain=", "http://a.x/", "k=v"),
            ("http://localhost/", "k=v; Domain=localhost", "http://localhost/", "k=v"),
            ("http://127.0.0.1/", "k=v; Domain=127.0.0.1", "http://127.0.0.1/", "k=v"),
            ("http://127.0.0.1/", "k=v; Domain=0.0.1", "http://127.0.0.1/", ""),
            ("http://[::1]/", "k=v", "http://[::1]:81/", "k=v"),
            ("http://a.x/d/e", "k=v", "http://a.x/d/f", "k=v"),
            ("http://a.x/d/e", "k=v", "http://a.x/d", "k=v"),
            ("http://a.x/d/e", "k=v", "http://a.x/", ""),
            ("http://a.x/d/e", "k=v", "http://a.x/dd", ""),
            ("http://a.x/", "k=v; Path=/p", "http://a.x/p", "k=v"),
            ("http://a.x/", "k=v; Path=/p", "http://a.x/p/q?r", "k=v"),
            ("http://a.x/", "k=v; Path=/p", "http://a.x/pq", ""),
            ("http://a.x/", "k=v; Path=/p/", "http://a.x/p", ""),
            ("http://a.x/d/e", "k=v; Path=relative", "http://a.x/d/", "k=v"),
            ("https://a.x/", "k=v; Secure", "https://a.x/", "k=v"),
            ("https://a.x/", "k=v; Secure", "http://a.x/", ""),
            ("http://a.x/", "k=v; Secure", "https://a.x/", ""),
            ("https://a.x/", "k=v; HttpOnly; SameSite=Strict", "http://a.x/", "k=v"),
            ("https://a.x/", "__Host-k=v; Secure; Path=/", "https://a.x/", "__Host-k=v"),
            ("https://a.x/", "__Host-k=v; Secure; Path=/; Domain=a.x", "https://a.x/", ""),
            ("https://a.x/", "__host-k=v; Path=/", "https://a.x/", ""),
            ("https://a.x/", "__Secure-k=v", "https://a.x/", ""),
            ("https://a.x/", "__Secure-k=v; Secure", "https://a.x/", "__Secure-k=v"),
        ] {
            assert_eq!(after(from, set_cookie, to), expected, "{from} sets {set_cookie}, asked {to}");
        }
    }

    #[test]
    fn names_values_and_ends_are_read_as_browsers_do() {
        let long = format!("k={}", "v".repeat(4096));
        for (set_cookie, expected) in [
            ("k=v", "k=v"),
            (" k = v ; Path=/", "k=v"),
            ("k=", "k="),
            ("k=a=b", "k=a=b"),
            ("k=\"a b\"", "k=\"a b\""),
            ("=v", ""),
            ("k", ""),
            ("", ""),
            ("k=a\x01b", ""),
            (long.as_str(), ""),
            ("k=v; Max-Age=10", "k=v"),
            ("k=v; Max-Age=0", ""),
            ("k=v; Max-Age=-1", ""),
            ("k=v; Max-Age=99999999999999999999", "k=v"),
            ("k=v; Max-Age=-99999999999999999999", ""),
            ("k=v; Max-Age=soon", "k=v"),
            ("k=v; Expires=Wed, 21 Oct 2015 07:28:00 GMT", ""),
            ("k=v; Expires=Wed, 21 Oct 2115 07:28:00 GMT", "k=v"),
            ("k=v; Expires=soon", "k=v"),
            ("k=v; Max-Age=10; Expires=Wed, 21 Oct 2015 07:28:00 GMT", "k=v"),
            ("k=v; Max-Age=0; Expires=Wed, 21 Oct 2115 07:28:00 GMT", ""),
            ("k=v; Unknown; ; =x", "k=v"),
        ] {
            assert_eq!(after("http://a.x/", set_cookie, "http://a.x/"), expected, "{set_cookie}");
        }
    }

    #[test]
    fn time_ends_a_cookie_and_400_days_end_any() {
        let mut store = Store::default();
        let at = url("http://a.x/");
        store.set(&at, b"short=1; Max-Age=10", now());
        store.set(&at, b"long=1; Max-Age=999999999", now());
        let text = |store: &mut Store, seconds| {
            let text = store.text_for(&at, now() + Duration::from_secs(seconds));
            String::from_utf8(text.unwrap_or_default()).expect("text")
        };
        assert_eq!(text(&mut store, 9), "short=1; long=1");
        assert_eq!(text(&mut store, 10), "long=1");
        assert_eq!(text(&mut store, 400 * 86_400), "");
    }

    #[test]
    fn longer_paths_come_first_then_older_cookies_and_replacing_keeps_the_age() {
        let mut store = Store::default();
        let at = url("http://a.x/d/e");
        for set_cookie in ["a=1; Path=/", "b=2; Path=/d", "c=3; Path=/", "a=4; Path=/"] {
            assert!(store.set(&at, set_cookie.as_bytes(), now()));
        }
        assert_eq!(sent(&mut store, "http://a.x/d/e"), "b=2; a=4; c=3");
        assert_eq!(store.len(), 3);
        assert!(!store.set(&at, b"a=; Path=/; Max-Age=0", now()));
        assert_eq!((sent(&mut store, "http://a.x/d/e").as_str(), store.len()), ("b=2; c=3", 2));
    }

    #[test]
    fn plain_http_can_not_touch_a_secure_cookie() {
        let mut store = Store::default();
        assert!(store.set(&url("https://a.x/"), b"k=good; Secure; Domain=a.x", now()));
        for from in ["http://a.x/", "http://b.a.x/"] {
            assert!(!store.set(&url(from), b"k=evil; Domain=a.x", now()), "{from}");
            assert!(!store.set(&url(from), b"k=evil", now()), "{from}");
        }
        assert_eq!(sent(&mut store, "https://a.x/"), "k=good");
    }

    #[test]
    fn secure_cookie_that_has_ended_hides_nothing() {
        let mut store = Store::default();
        assert!(store.set(&url("https://a.x/"), b"k=gone; Secure; Max-Age=10", now()));
        let at = url("http://a.x/");
        assert!(!store.set(&at, b"k=new", now() + Duration::from_secs(9)));
        assert!(store.set(&at, b"k=new", now() + Duration::from_secs(10)));
        assert_eq!(sent(&mut store, "http://a.x/"), "k=new");
    }

    #[test]
    fn host_whose_last_cookie_is_deleted_leaves_nothing_behind() {
        let mut store = Store::default();
        for host in 0..100 {
            let at = url(&format!("http://h{host}.x/"));
            assert!(store.set(&at, b"a=1", now()) && store.set(&at, b"b=2", now()));
            assert!(!store.set(&at, b"a=; Max-Age=0", now()));
            assert_eq!((store.len(), store.domains.len()), (1, 1), "one is left");
            assert!(!store.set(&at, b"b=; Max-Age=0", now()));
            assert_eq!((store.len(), store.domains.len()), (0, 0));
        }
    }

    #[test]
    fn limits_let_go_of_what_was_used_least_lately() {
        let mut store = Store::default();
        let at = url("http://a.x/");
        for number in 0..60 {
            store.set(&at, format!("k{number}=v; Path=/{number}").as_bytes(), now());
            sent(&mut store, "http://a.x/0");
        }
        assert_eq!((store.len(), sent(&mut store, "http://a.x/0").as_str()), (50, "k0=v"));
        assert_eq!(sent(&mut store, "http://a.x/1"), "", "it made room");
        for host in 0..100 {
            for number in 0..40 {
                let from = url(&format!("http://h{host}.x/"));
                store.set(&from, format!("k{number}=v").as_bytes(), now());
            }
        }
        assert_eq!(store.len(), 3_000);
        assert_eq!(sent(&mut store, "http://a.x/0"), "", "the older ones made room");
        assert!(!sent(&mut store, "http://h99.x/").is_empty());
    }
}
