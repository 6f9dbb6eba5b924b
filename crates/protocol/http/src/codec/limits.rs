//! How large a head may be.

/// How large a message head may be. Past it a request is answered with 431, or 414 where it is the target.
///
/// # Examples
///
/// ```
/// use millstream_http::codec::HeadLimits;
///
/// let mut limits = HeadLimits::default();
/// limits.bytes = 8 * 1024;
/// ```
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head, from the start line to the empty line, both included: 32 KiB.
    pub bytes: usize,
    /// Number of fields: 100. More than 128 cost an allocation per head.
    pub fields: usize,
    /// Bytes of the request target: 8 KiB, the least that RFC 9112 §3 recommends.
    pub target_bytes: usize,
}

impl HeadLimits {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self { bytes: 32 * 1024, fields: 100, target_bytes: 8 * 1024 };

    /// As much of `buf` as a head may take. Spans are 32 bits wide, so no limit goes beyond that.
    #[inline]
    pub(crate) fn window<'a>(&self, buf: &'a [u8]) -> &'a [u8] {
        let most = self.bytes.min(u32::MAX as usize);
        buf.get(..most).unwrap_or(buf)
    }

    /// Bytes of a start line that needs no second look: the longest target, a method, a version, two spaces.
    pub(crate) fn line_bytes(&self) -> usize {
        self.target_bytes + MAX_METHOD_BYTES + " HTTP/1.1\r\n ".len()
    }
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The longest method: a guess with room, the longest that IANA has registered is 17 (UPDATEREDIRECTREF).
pub(crate) const MAX_METHOD_BYTES: usize = 32;
