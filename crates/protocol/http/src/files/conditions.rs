//! Preconditions in the order of RFC 9110 §13.2.2.

use std::time::{Duration, SystemTime};

use crate::Request;

/// What the client says of the copy it may have. Most clients say nothing, which allocates nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    if_match: Option<Box<str>>,
    if_none_match: Option<Box<str>>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
    if_range: Option<Box<str>>,
    pub(crate) range: Option<Box<str>>,
}

/// What tells one version of a file from another.
#[derive(Clone, Debug)]
pub(crate) struct Validators {
    /// With its quotes.
    pub(crate) etag: String,
    /// In whole seconds.
    pub(crate) modified: Option<SystemTime>,
}

/// What the preconditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it.
    Send,
    /// The client has it already: 304.
    NotModified,
    /// The client wanted another version: 412.
    Failed,
}

impl Conditions {
    /// What a GET or HEAD request says.
    pub(crate) fn of(request: &Request) -> Self {
        let joined = |name: &str| {
            let mut values =
                request.fields().get_all(name).filter_map(|value| std::str::from_utf8(value).ok());
            let first = values.next()?;
            let all = values.fold(first.to_owned(), |all, value| format!("{all}, {value}"));
            Some(all.into_boxed_str())
        };
        // A date that is none, or that comes twice, is ignored (§13.1.3).
        let date = |name: &str| joined(name).and_then(|value| httpdate::parse_http_date(&value).ok());
        Self {
            if_match: joined("if-match"),
            if_none_match: joined("if-none-match"),
            if_modified_since: date("if-modified-since"),
            if_unmodified_since: date("if-unmodified-since"),
            if_range: joined("if-range"),
            range: joined("range"),
        }
    }

    /// The verdict for a GET or HEAD of this version.
    pub(crate) fn check(&self, now: &Validators) -> Verdict {
        let is_met = match (&self.if_match, self.if_unmodified_since) {
            (Some(list), _) => matches(list, &now.etag, Comparison::Strong),
            (None, Some(since)) => now.modified.is_none_or(|modified| modified <= since),
            (None, None) => true,
        };
        if !is_met {
            return Verdict::Failed;
        }
        let is_known = match (&self.if_none_match, self.if_modified_since) {
            (Some(list), _) => matches(list, &now.etag, Comparison::Weak),
            (None, Some(since)) => now.modified.is_some_and(|modified| modified <= since),
            (None, None) => false,
        };
        if is_known { Verdict::NotModified } else { Verdict::Send }
    }

    /// Does the client's Range hold for this version (§13.1.5)? `clock` is the time of the response.
    pub(crate) fn range_holds(&self, now: &Validators, clock: SystemTime) -> bool {
        let Some(value) = self.if_range.as_deref() else { return true };
        if value.starts_with('"') || value.starts_with("W/") {
            return value == now.etag;
        }
        // A date names a version only when the file was not changed within the same second after.
        let (Ok(date), Some(modified)) = (httpdate::parse_http_date(value), now.modified) else {
            return false;
        };
        date == modified && clock.duration_since(modified).is_ok_and(|age| age >= Duration::from_secs(1))
    }
}

/// RFC 9110 §8.8.3.2.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

/// Does a list of entity tags, or `*`, hold our tag, which is strong?
fn matches(list: &str, ours: &str, comparison: Comparison) -> bool {
    if list.trim() == "*" {
        return true;
    }
    let mut rest = list;
    // Each turn takes one tag: a comma may stand within one.
    while let Some(start) = rest.find('"') {
        let is_weak = rest[..start].ends_with("W/");
        let Some(length) = rest[start + 1..].find('"') else { return false };
        let tag = &rest[start..start + length + 2];
        if tag == ours && (comparison == Comparison::Weak || !is_weak) {
            return true;
        }
        rest = &rest[start + length + 2..];
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn now() -> Validators {
        Validators { etag: "\"a\"".to_owned(), modified: httpdate::parse_http_date(DATE).ok() }
    }

    fn conditions(fields: &str) -> Conditions {
        Conditions::of(&Request::sample(&format!("GET / HTTP/1.1\r\n{fields}")))
    }

    #[test]
    fn preconditions_are_evaluated_in_order() {
        use Verdict::{Failed, NotModified, Send};
        for (fields, expected) in [
            ("X: y".to_owned(), Send),
            ("If-None-Match: \"a\"".to_owned(), NotModified),
            ("If-None-Match: W/\"a\"".to_owned(), NotModified),
            ("If-None-Match: *".to_owned(), NotModified),
            ("If-None-Match: \"b\", \"x,y\", \"a\"".to_owned(), NotModified),
            ("If-None-Match: \"b\"\r\nIf-None-Match: \"a\"".to_owned(), NotModified),
            ("If-None-Match: \"b\"".to_owned(), Send),
            ("If-None-Match: a".to_owned(), Send),
            ("If-None-Match: \"a".to_owned(), Send),
            ("If-None-Match: \"x\"a\"".to_owned(), Send),
            (format!("If-Modified-Since: {DATE}"), NotModified),
            (format!("If-Modified-Since: {AFTER}"), NotModified),
            (format!("If-Modified-Since: {BEFORE}"), Send),
            ("If-Modified-Since: yesterday".to_owned(), Send),
            // An entity tag overrules the date.
            (format!("If-None-Match: \"b\"\r\nIf-Modified-Since: {DATE}"), Send),
            (format!("If-None-Match: \"a\"\r\nIf-Modified-Since: {BEFORE}"), NotModified),
            ("If-Match: \"a\"".to_owned(), Send),
            ("If-Match: *".to_owned(), Send),
            ("If-Match: \"b\"".to_owned(), Failed),
            // Weak tags never match strongly.
            ("If-Match: W/\"a\"".to_owned(), Failed),
            (format!("If-Unmodified-Since: {BEFORE}"), Failed),
            (format!("If-Unmodified-Since: {DATE}"), Send),
            (format!("If-Match: \"a\"\r\nIf-Unmodified-Since: {BEFORE}"), Send),
            // What must fail fails before what would be answered with 304.
            ("If-Match: \"b\"\r\nIf-None-Match: \"a\"".to_owned(), Failed),
            (format!("If-Match: \"a\"\r\nIf-None-Match: \"a\"\r\nIf-Modified-Since: {BEFORE}"), NotModified),
        ] {
            assert_eq!(conditions(&fields).check(&now()), expected, "{fields}");
        }
    }

    #[test]
    fn if_range_holds_only_for_the_same_version() {
        let long_after = now().modified.expect("set") + Duration::from_secs(60);
        for (value, expected) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            (DATE, true),
            (BEFORE, false),
            (AFTER, false),
            ("nonsense", false),
        ] {
            let conditions = conditions(&format!("If-Range: {value}"));
            assert_eq!(conditions.range_holds(&now(), long_after), expected, "{value}");
        }
        assert!(conditions("X: y").range_holds(&now(), long_after));
        let at_once = now().modified.expect("set");
        assert!(!conditions(&format!("If-Range: {DATE}")).range_holds(&now(), at_once));
    }
}
