//! What a request names: a path below the root, decoded once, with nothing in it that could lead out.
//!
//! The kernel keeps the walk below the root (`root.rs`); this is the first of the two locks, and it refuses what no
//! honest link holds: dot segments in any spelling, NUL, backslashes, encoded slashes, bytes that are not UTF-8.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalPath {
    /// Segments joined by `/`, without one at either end; empty for the root itself.
    pub(crate) text: String,
    /// Did it end with a slash?
    pub(crate) wants_directory: bool,
}

/// Why a path names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadPath {
    /// It is malformed: 400.
    Malformed,
    /// Nothing of that name is served: 404.
    NotServed,
}

impl LocalPath {
    /// From a path as it came, percent-encoded. Repeated slashes count as one.
    pub(crate) fn parse(raw: &str, shows_dotfiles: bool) -> Result<Self, BadPath> {
        let mut text = String::with_capacity(raw.len());
        for segment in raw.split('/').filter(|segment| !segment.is_empty()) {
            let segment = decode(segment)?;
            check(&segment)?;
            let is_well_known = text.is_empty() && segment == WELL_KNOWN;
            if segment.starts_with('.') && !shows_dotfiles && !is_well_known {
                return Err(BadPath::NotServed);
            }
            if !text.is_empty() {
                text.push('/');
            }
            text.push_str(&segment);
        }
        Ok(Self { text, wants_directory: raw.ends_with('/') })
    }
}

/// Decoded once. A `%` that does not begin an escape is malformed: what it means differs from server to server.
fn decode(segment: &str) -> Result<Cow<'_, str>, BadPath> {
    let bytes = segment.as_bytes();
    let is_escape = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !memchr::memchr_iter(b'%', bytes).all(is_escape) {
        return Err(BadPath::Malformed);
    }
    // Overlong forms such as C0 AE are not UTF-8.
    percent_decode_str(segment).decode_utf8().map_err(|_| BadPath::NotServed)
}

fn check(segment: &str) -> Result<(), BadPath> {
    if segment.contains('\0') {
        return Err(BadPath::Malformed);
    }
    let leads_elsewhere = segment == "." || segment == ".." || segment.contains(['/', '\\']);
    if leads_elsewhere { Err(BadPath::NotServed) } else { Ok(()) }
}

/// May a file of this name be asked for at all? Then it may be listed.
pub(crate) fn is_served_name(name: &str, shows_dotfiles: bool) -> bool {
    check(name).is_ok() && (shows_dotfiles || !name.starts_with('.'))
}

/// Where certificates are proved and the like (RFC 8615): served although it begins with a dot.
const WELL_KNOWN: &str = ".well-known";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(raw: &str) -> Result<LocalPath, BadPath> {
        LocalPath::parse(raw, false)
    }

    #[test]
    fn paths_are_decoded_once() {
        for (raw, text, wants_directory) in [
            ("", "", false),
            ("/", "", true),
            ("///", "", true),
            ("/a", "a", false),
            ("/a/", "a", true),
            ("//a//b//", "a/b", true),
            ("/a%20b/%C3%BC.txt", "a b/ü.txt", false),
            ("/%252e%252e/a", "%2e%2e/a", false),
            ("/%61", "a", false),
            ("/...", "...", false),
            ("/a..b/c..", "a..b/c..", false),
            ("/.well-known/acme", ".well-known/acme", false),
        ] {
            let shows_dotfiles = text.starts_with("...");
            let expected = LocalPath { text: text.to_owned(), wants_directory };
            assert_eq!(LocalPath::parse(raw, shows_dotfiles), Ok(expected), "{raw}");
        }
    }

    #[test]
    fn dotfiles_are_hidden_unless_shown() {
        for raw in ["/.git/config", "/a/.htpasswd", "/%2egit", "/.", "/a/.well-known/x", "/..."] {
            assert_eq!(parse(raw), Err(BadPath::NotServed), "{raw}");
        }
        assert!(LocalPath::parse("/.git/config", true).is_ok());
        assert_eq!(LocalPath::parse("/..", true), Err(BadPath::NotServed));
        assert_eq!(LocalPath::parse("/.", true), Err(BadPath::NotServed));
    }

    #[test]
    fn malformed_escapes_are_malformed() {
        for raw in ["/%", "/%2", "/%zz", "/%2g", "/a%", "/%%32e", "/%u002e", "/%00", "/a%00.txt"] {
            assert_eq!(parse(raw), Err(BadPath::Malformed), "{raw}");
        }
    }

    proptest! {
        /// Whatever the bytes: what comes out, walked by the letter, never leaves the root.
        #[test]
        fn no_path_leads_out(raw in "(/|\\.|%2e|%2E|%2f|%5c|\\\\|%00|%c0%ae|%252e|a|%61|\\.\\.|~|;|:){0,24}", shows in any::<bool>()) {
            if let Ok(path) = LocalPath::parse(&raw, shows) {
                prop_assert!(!path.text.starts_with('/') && !path.text.ends_with('/'));
                for segment in path.text.split('/').filter(|_| !path.text.is_empty()) {
                    prop_assert!(!matches!(segment, "" | "." | ".."), "{:?}", path.text);
                    prop_assert!(!segment.contains(['\0', '\\', '/']));
                }
                let joined = std::path::Path::new("/root").join(&path.text);
                let stays = joined.components().all(|part| part != std::path::Component::ParentDir);
                prop_assert!(stays && joined.starts_with("/root"));
            }
        }

        #[test]
        fn any_text_is_refused_or_stays(raw in "\\PC{0,40}") {
            if let Ok(path) = LocalPath::parse(&raw, true) {
                prop_assert!(path.text.split('/').all(|segment| segment != ".." && segment != "."));
            }
        }
    }
}
