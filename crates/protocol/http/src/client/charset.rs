//! Bytes to text: UTF-8, and windows-1252 for what calls itself Latin-1 (WHATWG Encoding).

use bytes::Bytes;
use millstream_base::{Error, Result};

/// A charset that we read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    Utf8,
    Windows1252,
}

/// Labels of windows-1252 in the WHATWG's table that servers use.
const LATIN: [&str; 9] =
    ["iso-8859-1", "iso8859-1", "iso_8859-1", "latin1", "l1", "us-ascii", "ascii", "windows-1252", "cp1252"];

impl Charset {
    /// What a Content-Type says, UTF-8 if nothing.
    pub(crate) fn of(content_type: Option<&str>) -> Result<Self> {
        let Some(label) = content_type.and_then(label) else { return Ok(Self::Utf8) };
        let is = |known: &str| label.eq_ignore_ascii_case(known);
        if is("utf-8") || is("utf8") {
            Ok(Self::Utf8)
        } else if LATIN.into_iter().any(is) {
            Ok(Self::Windows1252)
        } else {
            Err(Error::protocol(format!("the body's charset `{label}` is not supported")))
        }
    }

    pub(crate) fn decode(self, bytes: Bytes) -> Result<String> {
        match self {
            Self::Windows1252 => Ok(bytes.iter().map(|byte| windows_1252(*byte)).collect()),
            Self::Utf8 => {
                let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
                    Some(rest) => rest.to_vec(),
                    None => bytes.into(),
                };
                String::from_utf8(bytes).map_err(|_| Error::protocol("the body is not UTF-8"))
            }
        }
    }
}

/// The value of the `charset` parameter.
fn label(content_type: &str) -> Option<&str> {
    let value = content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (!value.is_empty()).then_some(value)
}

/// Only 0x80 to 0x9F differ from Unicode's first 256.
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '\u{20ac}', '\u{81}', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}',
        '\u{2c6}', '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\u{8d}', '\u{17d}', '\u{8f}', '\u{90}',
        '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}',
        '\u{2122}', '\u{161}', '\u{203a}', '\u{153}', '\u{9d}', '\u{17e}', '\u{178}',
    ];
    match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_in_its_charset() {
        for (content_type, bytes, expected) in [
            (None, &b"caf\xc3\xa9"[..], Some("caf\u{e9}")),
            (Some("text/plain"), b"caf\xc3\xa9", Some("caf\u{e9}")),
            (Some("text/plain; charset=utf-8"), b"\xef\xbb\xbfx", Some("x")),
            (Some("text/plain; charset=\"UTF-8\""), b"caf\xe9", None),
            (Some("text/plain;charset=ISO-8859-1"), b"caf\xe9", Some("caf\u{e9}")),
            (
                Some("text/plain; format=flowed; Charset=latin1"),
                b"\x80 \x93x\x94",
                Some("\u{20ac} \u{201c}x\u{201d}"),
            ),
            (Some("text/plain; charset=us-ascii"), b"x", Some("x")),
            (Some("text/plain; charset="), b"x", Some("x")),
            (Some("text/plain; charset=koi8-r"), b"x", None),
        ] {
            let text =
                Charset::of(content_type).and_then(|charset| charset.decode(Bytes::copy_from_slice(bytes)));
            assert_eq!(text.ok().as_deref(), expected, "{content_type:?}");
        }
    }
}
