//! A parsed field block: the raw bytes and where each name and value lies in them.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::progress::BARE_LF;
use super::reject::Reject;
use super::special::{Side, Special};

/// The fields of a message as they came: one block of bytes, and spans into it.
///
/// Meant to be reused: [`Fields::clear`] keeps the memory, so that the next head needs no allocation.
///
/// # Examples
///
/// ```
/// use millstream_http::codec::{HeadLimits, Progress, RequestHead, parse_request};
///
/// let mut head = RequestHead::new();
/// let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, br\r\n\r\n";
/// parse_request(bytes, &HeadLimits::default(), &mut head, &mut Progress::default()).unwrap();
/// assert_eq!(head.fields.get("host"), Some(&b"a"[..]));
/// assert!(head.fields.contains_token("accept-encoding", "BR"));
/// assert_eq!(head.fields.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["Host", "Accept-Encoding"]);
/// ```
#[derive(Clone, Default)]
pub struct Fields {
    pub(crate) bytes: Vec<u8>,
    pub(crate) spans: Vec<FieldSpan>,
}

/// Where one field lies. 32 bits are enough: [`super::HeadLimits::bytes`] is capped to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FieldSpan {
    pub(crate) name: Span,
    pub(crate) value: Span,
}

/// A range of [`Fields::bytes`], at half the size of `Range<usize>`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Fields {
    /// The value of the first field of this name, letter case ignored.
    #[inline]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The values of all fields of this name, in order, letter case ignored.
    #[inline]
    pub fn get_all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let wanted = name.len() as u32;
        self.spans
            .iter()
            .filter(move |span| {
                span.name.len() == wanted && self.at(span.name).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(|span| self.at(span.value))
    }

    /// The value of the first field of this name if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Does a comma-separated list in any field of this name hold this token, letter case ignored?
    pub fn contains_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name).flat_map(list_items).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// All fields in the order they came: the name as it was spelled, and the value without surrounding blanks.
    pub fn iter(&self) -> Iter<'_> {
        Iter { fields: self, spans: self.spans.iter() }
    }

    /// Forgets all fields of this name, letter case ignored.
    pub(crate) fn remove(&mut self, name: &str) {
        let Self { bytes, spans } = self;
        spans.retain(|span| !bytes[span.name.range()].eq_ignore_ascii_case(name.as_bytes()));
    }

    /// How many fields there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Is there no field?
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// Its memory without its fields, for a head that forgets all else too.
    pub(super) fn take_emptied(&mut self) -> Self {
        self.clear();
        std::mem::take(self)
    }

    /// Forgets all fields and gives back memory beyond these many bytes, so that one large head isn't kept for ever.
    pub fn shrink(&mut self, bytes: usize) {
        self.clear();
        self.bytes.shrink_to(bytes);
        self.spans.shrink_to(bytes / size_of::<FieldSpan>());
    }

    /// The fields as the `http` crate has them. Copies the block once; all values share that copy.
    ///
    /// A [`HeaderMap`] holds at most 24,576 fields; what is beyond that is left out.
    pub fn to_header_map(&self) -> HeaderMap {
        let mut map = HeaderMap::try_with_capacity(self.len()).unwrap_or_default();
        let shared = Bytes::copy_from_slice(&self.bytes);
        for span in &self.spans {
            let name = HeaderName::from_bytes(self.at(span.name));
            let value = HeaderValue::from_maybe_shared(shared.slice(span.value.range()));
            if let (Ok(name), Ok(value)) = (name, value)
                && map.try_append(name, value).is_err()
            {
                break;
            }
        }
        map
    }

    /// Takes over a parsed head: copies it whole, notes where each field lies, and picks out those that steer the
    /// connection.
    ///
    /// httparse lets a line end in LF alone. That costs one look per line to refuse: before each name, and at the end
    /// of the head, there must be a CR, because a value can hold none.
    #[inline]
    pub(crate) fn take(
        &mut self,
        side: Side,
        head: &[u8],
        parsed: &[httparse::Header<'_>],
    ) -> Result<Special, Reject> {
        let base = head.as_ptr() as usize;
        let mut special = Special::default();
        self.clear();
        self.spans.reserve(parsed.len());
        for field in parsed {
            let name = Span::within(field.name.as_bytes(), base);
            let value = Span::within(field.value, base);
            if !ends_in_crlf(&head[..name.start as usize]) {
                return Err(BARE_LF);
            }
            let field = FieldSpan { name, value };
            special.on_field(side, head, field)?;
            self.spans.push(field);
        }
        if !head.ends_with(b"\r\n\r\n") {
            return Err(BARE_LF);
        }
        self.bytes.extend_from_slice(head);
        Ok(special)
    }

    /// The bytes of a span.
    #[inline]
    pub(crate) fn at(&self, span: Span) -> &[u8] {
        span.of(&self.bytes)
    }

    /// The bytes of a span that the parser found to be ASCII.
    #[inline]
    pub(crate) fn text_at(&self, span: Span) -> &str {
        std::str::from_utf8(self.at(span)).unwrap_or_default()
    }
}

impl<'a> IntoIterator for &'a Fields {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// The fields of a message in the order they came; see [`Fields::iter`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    fields: &'a Fields,
    spans: std::slice::Iter<'a, FieldSpan>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let span = self.spans.next()?;
        Some((self.fields.text_at(span.name), self.fields.at(span.value)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Span {
    /// The bytes it spans.
    #[inline]
    pub(crate) fn of(self, block: &[u8]) -> &[u8] {
        block.get(self.range()).unwrap_or_default()
    }

    /// Where `part` lies, when the block begins at the address `base`.
    #[inline]
    pub(crate) fn within(part: &[u8], base: usize) -> Self {
        let start = (part.as_ptr() as usize - base) as u32;
        Self { start, end: start + part.len() as u32 }
    }

    #[inline]
    pub(crate) fn len(self) -> u32 {
        self.end - self.start
    }

    #[inline]
    pub(crate) fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// `lines` ends in LF, as far as httparse is concerned: does a CR stand before it?
#[inline]
fn ends_in_crlf(lines: &[u8]) -> bool {
    matches!(lines, [.., b'\r', _])
}

/// Fields for which there is room on the stack, 4 KiB. A larger [`super::HeadLimits::fields`] costs an allocation per head.
pub(crate) const STACK_FIELDS: usize = 128;

/// The items of a comma-separated list without surrounding blanks; empty ones too.
pub(crate) fn list_items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim_blanks)
}

/// Without spaces and tabs at both ends.
pub(crate) fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

impl fmt::Debug for Fields {
    /// Names alone: any value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}
