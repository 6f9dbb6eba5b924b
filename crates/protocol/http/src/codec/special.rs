//! The few fields that steer the connection, picked out while the others are only measured.

use std::time::Duration;

use super::Version;
use super::fields::{FieldSpan, Span, list_items, trim_blanks};
use super::framing::{Lengths, parse_length};
use super::reject::Reject;

/// What the fields that steer the connection said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Special {
    pub(crate) lengths: Lengths,
    pub(crate) host: Option<Span>,
    pub(crate) has_close: bool,
    pub(crate) has_keep_alive: bool,
    pub(crate) has_upgrade_token: bool,
    pub(crate) has_upgrade: bool,
    pub(crate) expects_continue: bool,
    pub(crate) expects_unknown: bool,
    pub(crate) accepts_trailers: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) max: Option<u64>,
}

/// Whose fields they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Request,
    Response,
}

impl Special {
    /// Looks at one field. If not [`may_steer`], there is nothing to see.
    #[inline]
    pub(crate) fn on_field(&mut self, side: Side, head: &[u8], field: FieldSpan) -> Result<(), Reject> {
        let (name, value) = (field.name.of(head), field.value.of(head));
        match name.len() {
            4 if side == Side::Request && is(name, b"host") => self.on_host(field.value),
            14 if is(name, b"content-length") => match side {
                Side::Request => self.lengths.on_request_length(value),
                Side::Response => self.lengths.on_response_length(value),
            },
            17 if is(name, b"transfer-encoding") => self.lengths.on_codings(value),
            10 if is(name, b"connection") => {
                self.on_connection(value);
                Ok(())
            }
            2 | 6 | 7 | 10 => {
                self.on_rare(side, name, value);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Host of a request.
    #[inline]
    pub(crate) fn on_host(&mut self, at: Span) -> Result<(), Reject> {
        match self.host.replace(at) {
            None => Ok(()),
            Some(_) => Err(Reject::bad("more than one Host")),
        }
    }

    #[inline]
    fn on_connection(&mut self, value: &[u8]) {
        match value {
            b"keep-alive" => self.has_keep_alive = true,
            b"close" => self.has_close = true,
            _ => self.on_connection_list(value),
        }
    }

    fn on_connection_list(&mut self, value: &[u8]) {
        for item in list_items(value) {
            match item.len() {
                5 if item.eq_ignore_ascii_case(b"close") => self.has_close = true,
                7 if item.eq_ignore_ascii_case(b"upgrade") => self.has_upgrade_token = true,
                10 if item.eq_ignore_ascii_case(b"keep-alive") => self.has_keep_alive = true,
                _ => {}
            }
        }
    }

    fn on_rare(&mut self, side: Side, name: &[u8], value: &[u8]) {
        if is(name, b"upgrade") {
            self.has_upgrade = !value.is_empty();
        } else if side == Side::Request && is(name, b"expect") {
            let is_continue = value.eq_ignore_ascii_case(b"100-continue");
            self.expects_continue |= is_continue;
            self.expects_unknown |= !is_continue;
        } else if side == Side::Request && is(name, b"te") {
            self.accepts_trailers |= list_items(value).any(|item| item.eq_ignore_ascii_case(b"trailers"));
        } else if side == Side::Response && is(name, b"keep-alive") {
            self.timeout = parameter(value, "timeout").map(Duration::from_secs).or(self.timeout);
            self.max = parameter(value, "max").or(self.max);
        }
    }

    /// May another message follow on this connection, as far as this side says? RFC 9112 §9.3.
    #[inline]
    pub(crate) fn keeps_alive(&self, version: Version) -> bool {
        !self.has_close && (version == Version::Http11 || self.has_keep_alive)
    }
}

/// A parameter of a Keep-Alive field, a whole number: `timeout` in seconds, `max` in requests.
fn parameter(value: &[u8], wanted: &str) -> Option<u64> {
    list_items(value).find_map(|item| {
        let (name, number) = item.split_at_checked(wanted.len())?;
        let number = trim_blanks(trim_blanks(number).strip_prefix(b"=")?);
        let number = number.strip_prefix(b"\"").and_then(|s| s.strip_suffix(b"\"")).unwrap_or(number);
        name.eq_ignore_ascii_case(wanted.as_bytes()).then(|| parse_length(number).ok())?
    })
}

/// Is this name Host?
#[inline(always)]
pub(crate) fn is_host(name: &[u8]) -> bool {
    is(name, b"host")
}

/// May a field of this name steer the connection? Most are told apart by their length and first letter alone.
#[inline(always)]
pub(crate) fn may_steer(name: &[u8]) -> bool {
    let letters = STEERING.get(name.len()).copied().unwrap_or_default();
    name.first().is_some_and(|first| letters >> (first & 0x1f) & 1 != 0)
}

/// For each length of a name the first letters, `a` as bit 1, of those that [`Special`] knows.
static STEERING: [u32; 18] = {
    let mut table = [0; 18];
    let mut at = 0;
    while at < NAMES.len() {
        table[NAMES[at].len()] |= 1 << (NAMES[at].as_bytes()[0] & 0x1f);
        at += 1;
    }
    table
};

/// All names that [`Special`] knows.
const NAMES: [&str; 8] =
    ["te", "host", "expect", "upgrade", "connection", "keep-alive", "content-length", "transfer-encoding"];

/// Is it this name? `lower` is in lower case; a name holds no control byte that could pass for a `-` here.
#[inline]
fn is<const LEN: usize>(name: &[u8], lower: &[u8; LEN]) -> bool {
    <&[u8; LEN]>::try_from(name).is_ok_and(|name| {
        name.iter().zip(lower).fold(0, |wrong, (byte, lower)| wrong | ((byte | 0x20) ^ lower)) == 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::framing::is_token_byte;

    #[test]
    fn names_are_told_apart_byte_for_byte() {
        differs_as_ascii_does(b"host");
        differs_as_ascii_does(b"content-length");
        differs_as_ascii_does(b"transfer-encoding");
        assert!(!is(b"hosts", b"host") && !is(b"hos", b"host") && !is(b"", b"host"));
    }

    fn differs_as_ascii_does<const LEN: usize>(lower: &[u8; LEN]) {
        for at in 0..LEN {
            for byte in (0..=u8::MAX).filter(|&byte| is_token_byte(byte)) {
                let mut name = *lower;
                name[at] = byte;
                assert_eq!(is(&name, lower), name.eq_ignore_ascii_case(lower), "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn no_name_that_steers_is_passed_over() {
        for name in NAMES {
            assert!(may_steer(name.as_bytes()) && may_steer(name.to_uppercase().as_bytes()), "{name}");
        }
        assert!(!may_steer(b"accept") && !may_steer(b"") && !may_steer(&[b'a'; 40]));
    }
}
