//! Fields of a message that is being made: a flat list, since a message has few of them.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Fields to send, in order. A [`HeaderValue`] can't hold CR, LF or NUL, nor a [`HeaderName`] anything but a token, so
/// no field can smuggle another.
///
/// A list rather than a [`HeaderMap`]: most messages have under ten fields, and a list costs one allocation and no
/// hashing. It converts both ways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// No fields; allocates nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// How many fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a field behind the others, also when one of that name is there.
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.push((name, value));
    }

    /// Sets the field: others of that name are removed.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        let mut kept = false;
        let mut new = Some(value);
        self.0.retain_mut(|(known, value)| {
            if *known != name {
                return true;
            }
            if let Some(new) = new.take() {
                *value = new;
                kept = true;
                return true;
            }
            false
        });
        if !kept && let Some(value) = new {
            self.0.push((name, value));
        }
    }

    /// Sets the field unless one of that name is there.
    pub fn set_default(&mut self, name: HeaderName, value: HeaderValue) {
        if !self.contains(&name) {
            self.0.push((name, value));
        }
    }

    /// The first value of that name.
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All values of that name, in order.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value)
    }

    /// Is there a field of that name?
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Removes all fields of that name and gives the first value.
    pub fn remove(&mut self, name: &HeaderName) -> Option<HeaderValue> {
        let first = self.get(name).cloned()?;
        self.0.retain(|(known, _)| known != name);
        Some(first)
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

impl From<HeaderMap> for Headers {
    fn from(map: HeaderMap) -> Self {
        let mut list = Vec::with_capacity(map.len());
        let mut last = None;
        for (name, value) in map {
            // HeaderMap names only the first of several values.
            last = name.or(last);
            if let Some(name) = &last {
                list.push((name.clone(), value));
            }
        }
        Self(list)
    }
}

impl From<Headers> for HeaderMap {
    fn from(headers: Headers) -> Self {
        let mut map = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers.0 {
            map.append(name, value);
        }
        map
    }
}

impl Extend<(HeaderName, HeaderValue)> for Headers {
    fn extend<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(&mut self, fields: I) {
        self.0.extend(fields);
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ACCEPT, COOKIE, SET_COOKIE};

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn set_replaces_all_of_that_name_in_place() {
        let mut headers: Headers =
            [(COOKIE, value("a")), (ACCEPT, value("x")), (COOKIE, value("b"))].into_iter().collect();
        headers.set(COOKIE, value("c"));
        let list: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().expect("ascii"))).collect();
        assert_eq!(list, [("cookie", "c"), ("accept", "x")]);
    }

    #[test]
    fn map_there_and_back_keeps_repeated_fields() {
        let mut headers = Headers::new();
        headers.append(SET_COOKIE, value("a"));
        headers.append(ACCEPT, value("x"));
        headers.append(SET_COOKIE, value("b"));
        let back = Headers::from(HeaderMap::from(headers.clone()));
        let cookies: Vec<_> = back.get_all(&SET_COOKIE).collect();
        assert_eq!(cookies, ["a", "b"]);
        assert_eq!(back.len(), 3);
    }

    #[test]
    fn remove_takes_all_and_gives_the_first() {
        let mut headers: Headers = [(COOKIE, value("a")), (COOKIE, value("b"))].into_iter().collect();
        assert_eq!(headers.remove(&COOKIE), Some(value("a")));
        assert!(headers.is_empty());
    }
}
