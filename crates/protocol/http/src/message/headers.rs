//! Fields of a message that is being made: a flat list, since a message has few of them.

use std::fmt;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use self::stock::{put_list, take_list};

/// Fields to send, in order. A [`HeaderValue`] can't hold CR, LF or NUL, nor a [`HeaderName`] anything but a token, so
/// no field can smuggle another.
///
/// A list rather than a [`HeaderMap`]: most messages have under ten fields, and a list costs one allocation and no
/// hashing. It converts both ways.
#[derive(Clone, Default)]
pub struct Headers {
    /// A Content-Type that lives as long as the program: the one field that nearly every response has costs a pointer.
    /// It stands before all others; `list` holds no Content-Type then.
    media: Option<&'static HeaderValue>,
    list: Vec<(HeaderName, HeaderValue)>,
}

impl Headers {
    /// No fields; allocates nothing.
    pub const fn new() -> Self {
        Self { media: None, list: Vec::new() }
    }

    /// How many fields.
    pub fn len(&self) -> usize {
        self.list.len() + usize::from(self.media.is_some())
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets the Content-Type to one that lives as long as the program, on a list that has none.
    #[inline]
    pub(crate) fn set_media(&mut self, value: &'static HeaderValue) {
        debug_assert!(!self.contains(&CONTENT_TYPE), "set on a fresh list");
        self.media = Some(value);
    }

    /// The Content-Type, if it is one that lives as long as the program.
    #[inline]
    pub(crate) fn media(&self) -> Option<&'static HeaderValue> {
        self.media
    }

    /// All fields but [`Headers::media`], in order.
    #[inline]
    pub(crate) fn others(&self) -> &[(HeaderName, HeaderValue)] {
        &self.list
    }

    /// Makes the Content-Type a field like all others.
    fn settle_media(&mut self) {
        if let Some(media) = self.media.take() {
            self.list.insert(0, (CONTENT_TYPE, media.clone()));
        }
    }

    /// Adds a field behind the others, also when one of that name is there.
    #[inline]
    pub fn append(&mut self, name: HeaderName, value: HeaderValue) {
        if self.media.is_some() && name == CONTENT_TYPE {
            self.settle_media();
        }
        if self.list.capacity() == 0 {
            self.list = take_list();
        }
        self.list.push((name, value));
    }

    /// Sets the field: others of that name are removed.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        if self.media.is_some() && name == CONTENT_TYPE {
            self.settle_media();
        }
        let mut new = Some(value);
        self.list.retain_mut(|(known, value)| {
            if *known != name {
                return true;
            }
            new.take().map(|new| *value = new).is_some()
        });
        if let Some(value) = new {
            self.append(name, value);
        }
    }

    /// Sets the field unless one of that name is there.
    pub fn set_default(&mut self, name: HeaderName, value: HeaderValue) {
        if !self.contains(&name) {
            self.append(name, value);
        }
    }

    /// The first value of that name.
    pub fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.get_all(name).next()
    }

    /// All values of that name, in order.
    pub fn get_all(&self, name: &HeaderName) -> impl Iterator<Item = &HeaderValue> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Is there a field of that name?
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Removes all fields of that name and gives the first value.
    pub fn remove(&mut self, name: &HeaderName) -> Option<HeaderValue> {
        let first = self.get(name).cloned()?;
        if *name == CONTENT_TYPE {
            self.media = None;
        }
        self.list.retain(|(known, _)| known != name);
        Some(first)
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        let media = self.media.map(|value| (&CONTENT_TYPE, value));
        media.into_iter().chain(self.list.iter().map(|(name, value)| (name, value)))
    }
}

impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Headers {}

/// Lists used again and again: most responses have one or two fields, and this saves their only allocation.
mod stock {
    use std::cell::RefCell;

    use http::header::{HeaderName, HeaderValue};

    type List = Vec<(HeaderName, HeaderValue)>;

    /// Lists kept by a thread.
    const KEPT: usize = 64;
    /// Fields a kept list has room for at most.
    const KEPT_FIELDS: usize = 32;

    thread_local! {
        static LISTS: RefCell<Vec<List>> = const { RefCell::new(Vec::new()) };
    }

    #[inline]
    pub(super) fn take_list() -> List {
        LISTS.try_with(|lists| lists.borrow_mut().pop()).ok().flatten().unwrap_or_default()
    }

    #[inline]
    pub(super) fn put_list(mut list: List) {
        if list.capacity() == 0 || list.capacity() > KEPT_FIELDS {
            return;
        }
        list.clear();
        // When the thread ends its stock may be gone already: then the list is simply freed.
        let _ = LISTS.try_with(|lists| {
            let mut lists = lists.borrow_mut();
            if lists.len() < KEPT {
                lists.push(list);
            }
        });
    }
}

impl Drop for Headers {
    #[inline]
    fn drop(&mut self) {
        if self.list.capacity() > 0 {
            put_list(std::mem::take(&mut self.list));
        }
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
        Self { media: None, list }
    }
}

impl From<Headers> for HeaderMap {
    fn from(mut headers: Headers) -> Self {
        headers.settle_media();
        let mut map = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers.list.drain(..) {
            map.append(name, value);
        }
        map
    }
}

impl Extend<(HeaderName, HeaderValue)> for Headers {
    fn extend<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(&mut self, fields: I) {
        fields.into_iter().for_each(|(name, value)| self.append(name, value));
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Headers {
    fn from_iter<I: IntoIterator<Item = (HeaderName, HeaderValue)>>(fields: I) -> Self {
        Self { media: None, list: fields.into_iter().collect() }
    }
}

impl fmt::Debug for Headers {
    /// Names alone: any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
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
    fn lasting_content_type_behaves_like_a_field() {
        static MEDIA: HeaderValue = HeaderValue::from_static("text/x");
        let fresh = || {
            let mut headers = Headers::new();
            headers.set_media(&MEDIA);
            headers
        };
        let mut headers = fresh();
        headers.append(ACCEPT, value("y"));
        assert_eq!((headers.len(), headers.get(&CONTENT_TYPE)), (2, Some(&MEDIA)));
        headers.set(CONTENT_TYPE, value("z"));
        let names: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
        assert_eq!(names, [("content-type", "z"), ("accept", "y")]);
        let mut headers = fresh();
        assert_eq!(headers.remove(&CONTENT_TYPE), Some(value("text/x")));
        assert!(headers.is_empty());
        let mut headers = fresh();
        headers.append(CONTENT_TYPE, value("second"));
        assert_eq!(headers.get_all(&CONTENT_TYPE).collect::<Vec<_>>(), ["text/x", "second"]);
        assert_eq!(HeaderMap::from(fresh()).get(CONTENT_TYPE), Some(&value("text/x")));
    }

    #[test]
    fn remove_takes_all_and_gives_the_first() {
        let mut headers: Headers = [(COOKIE, value("a")), (COOKIE, value("b"))].into_iter().collect();
        assert_eq!(headers.remove(&COOKIE), Some(value("a")));
        assert!(headers.is_empty());
    }
}
