//! Bytes in, heads and data of fields out (RFC 2046 §5.1): no I/O, and no more memory than a head or a delimiter has.

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use memchr::memmem::{self, Finder};

use super::{Rejection, bad};

/// What comes next in a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// More must be pushed first.
    NeedMore,
    /// A field begins; its head, up to the empty line and with it.
    Head(Bytes),
    /// A piece of the field, not empty.
    Data(Bytes),
    /// The field is whole.
    FieldEnd,
    /// There are no more fields. What is pushed from here on means nothing.
    End,
}

/// Where in a form the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the first delimiter: nothing of use.
    Preamble,
    /// Behind a delimiter: does a field follow?
    Delimited,
    Head,
    Data,
    End,
}

/// Takes a form apart.
pub(super) struct Parser {
    /// `\r\n--boundary`.
    delimiter: Finder<'static>,
    /// Pushed and not used.
    buf: Bytes,
    stage: Stage,
    head_bytes: usize,
}

impl Parser {
    pub(super) fn new(boundary: &str, head_bytes: usize) -> Self {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // The first delimiter needs no line end before it where it is the first line.
        Self { delimiter, buf: Bytes::from_static(b"\r\n"), stage: Stage::Preamble, head_bytes }
    }

    /// Takes more of the form in. Copies only where a delimiter or a head may go over the end of what was pushed before.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.buf.is_empty() {
            self.buf = piece;
            return;
        }
        let mut both = BytesMut::with_capacity(self.buf.len() + piece.len());
        both.extend_from_slice(&self.buf);
        both.extend_from_slice(&piece);
        self.buf = both.freeze();
    }

    /// What comes next.
    ///
    /// # Errors
    /// When the form is malformed, or a head too long.
    pub(super) fn next(&mut self) -> Result<Event, Rejection> {
        loop {
            let event = match self.stage {
                Stage::Preamble => self.skip_preamble(),
                Stage::Delimited => self.end_delimiter()?,
                Stage::Head => Some(self.take_head()?),
                Stage::Data => Some(self.take_data()),
                Stage::End => Some(Event::End),
            };
            if let Some(event) = event {
                return Ok(event);
            }
        }
    }

    fn skip_preamble(&mut self) -> Option<Event> {
        match self.delimiter.find(&self.buf) {
            Some(at) => {
                self.buf.advance(at + self.delimiter.needle().len());
                self.stage = Stage::Delimited;
                None
            }
            None => {
                self.buf.advance(self.buf.len() - self.held());
                Some(Event::NeedMore)
            }
        }
    }

    fn end_delimiter(&mut self) -> Result<Option<Event>, Rejection> {
        if self.buf.starts_with(b"--") {
            self.stage = Stage::End;
            return Ok(None);
        }
        let padding = self.buf.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if padding > self.head_bytes {
            return Err(bad("form: malformed boundary"));
        }
        match &self.buf[padding..] {
            // The line's end stays: it is the first half of what a head without a field ends with.
            [b'\r', b'\n', ..] => {
                self.buf.advance(padding);
                self.stage = Stage::Head;
                Ok(None)
            }
            [] | [b'\r'] => Ok(Some(Event::NeedMore)),
            [b'-'] if padding == 0 => Ok(Some(Event::NeedMore)),
            _ => Err(bad("form: malformed boundary")),
        }
    }

    fn take_head(&mut self) -> Result<Event, Rejection> {
        // The line's end in front is not of the head.
        let seen = &self.buf[..self.buf.len().min(self.head_bytes + 2)];
        match memmem::find(seen, b"\r\n\r\n") {
            Some(at) => {
                self.stage = Stage::Data;
                let mut head = self.buf.split_to(at + 4);
                head.advance(2);
                Ok(Event::Head(head))
            }
            None if seen.len() < self.head_bytes + 2 => Ok(Event::NeedMore),
            None => {
                let message = format!("form: a field's head is longer than {} bytes", self.head_bytes);
                Err(Rejection::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, message))
            }
        }
    }

    fn take_data(&mut self) -> Event {
        let end = match self.delimiter.find(&self.buf) {
            Some(0) => {
                self.buf.advance(self.delimiter.needle().len());
                self.stage = Stage::Delimited;
                return Event::FieldEnd;
            }
            Some(at) => at,
            None => self.buf.len() - self.held(),
        };
        if end == 0 { Event::NeedMore } else { Event::Data(self.buf.split_to(end)) }
    }

    /// How many of the last bytes may be the beginning of a delimiter.
    fn held(&self) -> usize {
        let needle = self.delimiter.needle();
        let from = self.buf.len().saturating_sub(needle.len() - 1);
        let tail = &self.buf[from..];
        let begins = |at: &usize| needle.starts_with(&tail[*at..]);
        memchr::memchr_iter(b'\r', tail).find(begins).map_or(0, |at| tail.len() - at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Heads and data of all fields, from the form in these pieces.
    fn fields<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Vec<(String, String)>>, u16> {
        let mut parser = Parser::new("b", 20);
        let mut pieces = pieces.into_iter();
        let mut fields: Vec<(String, String)> = Vec::new();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).expect("text");
        loop {
            match parser.next().map_err(|rejection| rejection.status().as_u16())? {
                Event::NeedMore => match pieces.next() {
                    Some(piece) => parser.push(Bytes::copy_from_slice(piece)),
                    None => return Ok(None),
                },
                Event::Head(head) => fields.push((text(&head), String::new())),
                Event::Data(data) => fields.last_mut().expect("a head comes first").1 += &text(&data),
                Event::FieldEnd => {}
                Event::End => return Ok(Some(fields)),
            }
        }
    }

    #[test]
    fn forms_come_apart_at_every_split() {
        let table: [(&str, &[(&str, &str)]); 8] = [
            ("--b--", &[]),
            ("--b--\r\nepilogue", &[]),
            ("--b\r\n\r\n\r\n--b--\r\n", &[("\r\n", "")]),
            ("--b\r\nA: c\r\n\r\nhello\r\n--b--\r\n", &[("A: c\r\n\r\n", "hello")]),
            ("preamble\r\n--b \t\r\nA: c\r\n\r\nx\r\n--b--", &[("A: c\r\n\r\n", "x")]),
            (
                "--b\r\nA: c\r\n\r\none\r\n--b\r\nD: e\r\n\r\ntwo\r\n\r\n--b--",
                &[("A: c\r\n\r\n", "one"), ("D: e\r\n\r\n", "two\r\n")],
            ),
            // What looks like a delimiter and is none: no line end, half of it.
            ("--b\r\n\r\n--b\r\n-\r\n--\r\n--c\r\r\n\r\n--b--", &[("\r\n", "--b\r\n-\r\n--\r\n--c\r\r\n")]),
            ("--b\r\n12345678: 901234\r\n\r\n\r\n--b--", &[("12345678: 901234\r\n\r\n", "")]),
        ];
        for (bytes, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            for at in 0..=bytes.len() {
                let (one, two) = bytes.as_bytes().split_at(at);
                assert_eq!(fields([one, two]), Ok(Some(expected.clone())), "{bytes:?} at {at}");
            }
            assert_eq!(fields(bytes.as_bytes().chunks(1)), Ok(Some(expected.clone())), "{bytes:?} by byte");
        }
    }

    #[test]
    fn form_that_is_cut_off_is_never_whole() {
        let bytes = b"--b\r\nA: c\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--";
        for end in 0..bytes.len() {
            assert_eq!(fields([&bytes[..end]]), Ok(None), "{end}");
        }
    }

    #[test]
    fn malformed_forms_are_refused() {
        for (bytes, status) in [
            ("--bx\r\n", 400),
            ("--b \rx", 400),
            ("--b\n\r\n", 400),
            ("--b -", 400),
            ("--b-x", 400),
            ("--b\r\n12345678: 9012345\r\n\r\n\r\n--b--", 431),
            ("--b\r\n12345678: 901234567890", 431),
        ] {
            assert_eq!(fields([bytes.as_bytes()]), Err(status), "{bytes:?}");
            assert_eq!(fields(bytes.as_bytes().chunks(1)), Err(status), "{bytes:?} by byte");
        }
        // One space more than a head may have bytes: refused also where its line is whole.
        let padding = format!("--b{}\r\n\r\n\r\n--b--", " ".repeat(21));
        assert_eq!(fields([padding.as_bytes()]), Err(400));
        assert_eq!(fields(padding.as_bytes().chunks(1)), Err(400));
    }

    #[test]
    fn no_more_is_held_than_a_delimiter_may_need() {
        let mut parser = Parser::new("boundary", 100);
        parser.push(Bytes::from_static(b"--boundary\r\n\r\n"));
        assert!(matches!(parser.next(), Ok(Event::Head(_))));
        for piece in ["x".repeat(100_000), "\r\n--bound".to_owned(), "\r\n--bound".to_owned()] {
            parser.push(piece.into());
            while parser.next().expect("fine") != Event::NeedMore {}
            assert!(parser.buf.len() < "\r\n--boundary".len());
        }
    }
}
