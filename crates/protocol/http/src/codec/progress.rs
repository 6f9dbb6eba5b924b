//! What is known about a head that hasn't arrived whole, so that a peer that drips costs no more than one that doesn't.

use httparse::EMPTY_HEADER;

use super::limits::HeadLimits;
use super::reject::Reject;

/// How far a head that isn't whole has been looked at. One per connection and direction; starts as the default.
///
/// The first bytes of a head are parsed at once: mostly it is whole. If it isn't, later calls only look at the new
/// bytes, line by line, and parse again once the empty line is there: each byte is looked at a fixed number of times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Bytes that were searched for line ends.
    scanned: usize,
    /// Where the line that isn't whole begins; all before it is valid.
    line_start: usize,
    /// Lines that are whole, the start line included.
    lines: usize,
}

/// What the new bytes hold.
pub(crate) enum Scan {
    /// The empty line, or something that a full parse will refuse: parse now.
    Ready,
    /// No end yet, nothing wrong so far.
    Wait,
}

impl Progress {
    /// Has an earlier call returned [`super::Parse::Partial`] for this head?
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.scanned != 0
    }

    /// After a full parse that found no end and no fault: all whole lines of `head` are valid but for their ends.
    pub(crate) fn skip_parsed(&mut self, head: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
        *self = Self::default();
        while let Some(end) = self.next_line_end(head) {
            check_line_end(head, end)?;
            self.line_start = end;
            self.lines += 1;
        }
        self.check_rest(head, limits)
    }

    /// Looks at the bytes that came since the last call. `head` begins at the start line.
    pub(crate) fn scan(&mut self, head: &[u8], limits: &HeadLimits) -> Result<Scan, Reject> {
        while let Some(end) = self.next_line_end(head) {
            let line = &head[self.line_start..end];
            if line == b"\r\n" || self.lines == 0 || !line.ends_with(b"\r\n") {
                return Ok(Scan::Ready);
            }
            check_field(line)?;
            self.line_start = end;
            self.lines += 1;
            if self.lines > limits.fields + 1 {
                return Err(Reject::new(431, "too many fields"));
            }
        }
        self.check_rest(head, limits)?;
        Ok(Scan::Wait)
    }

    /// The end of the next whole line, behind its LF.
    fn next_line_end(&mut self, head: &[u8]) -> Option<usize> {
        let from = self.scanned.max(self.line_start);
        let end = memchr::memchr(b'\n', head.get(from..)?).map(|at| from + at + 1);
        self.scanned = end.unwrap_or(head.len());
        end
    }

    /// The limits that can be checked before the end is there.
    fn check_rest(&self, head: &[u8], limits: &HeadLimits) -> Result<(), Reject> {
        // First: the verdict on a line without an end must not depend on how much of it came at once.
        if self.lines == 0 && head.len() > limits.line_bytes() {
            return Err(Reject::new(414, "request line too long"));
        }
        if head.len() >= limits.bytes {
            return Err(Reject::new(431, "head too large"));
        }
        Ok(())
    }
}

fn check_line_end(head: &[u8], end: usize) -> Result<(), Reject> {
    if head[..end].ends_with(b"\r\n") { Ok(()) } else { Err(BARE_LF) }
}

/// One whole field line must be valid by itself.
fn check_field(line: &[u8]) -> Result<(), Reject> {
    match httparse::parse_headers(line, &mut [EMPTY_HEADER; 1]) {
        Ok(_) => Ok(()),
        Err(error) => Err(field_fault(error)),
    }
}

/// What httparse says about fields, in our words.
#[cold]
pub(crate) fn field_fault(error: httparse::Error) -> Reject {
    match error {
        httparse::Error::TooManyHeaders => Reject::new(431, "too many fields"),
        httparse::Error::HeaderName => Reject::bad("malformed field name"),
        httparse::Error::HeaderValue => Reject::bad("malformed field value"),
        httparse::Error::NewLine => Reject::bad("bare CR"),
        httparse::Error::Token => Reject::bad("malformed request line"),
        httparse::Error::Status => Reject::bad("malformed status line"),
        httparse::Error::Version => Reject::bad("malformed version"),
    }
}

/// A line that ends in LF alone: what one reader takes for the end of a line, another may not.
pub(crate) const BARE_LF: Reject = Reject::bad("bare LF");
