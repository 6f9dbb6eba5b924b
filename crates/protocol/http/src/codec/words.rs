//! Classes of bytes, looked for eight at a time in a `u64`.
//!
//! A test for a class is a sum that carries into the highest bit of each byte that isn't in it. A carry may run on into the
//! next byte and mark it wrongly, but only out of a byte that is marked itself: the lowest mark is always true, and only
//! that one is looked at. Words are little-endian, so the lowest mark is the first byte.

/// How many bytes at the front are spaces or visible ASCII: what a plain field value holds.
#[inline]
pub(crate) fn text_len(bytes: &[u8]) -> usize {
    prefix_len(bytes, |word| below(word, b' ') | beyond_visible(word))
}

/// How many bytes at the front may stand in a request target: visible ASCII but `#`.
#[inline]
pub(crate) fn target_len(bytes: &[u8]) -> usize {
    prefix_len(bytes, |word| below(word, b'!') | beyond_visible(word) | equal(word, b'#'))
}

/// How many bytes at the front are letters, digits, `-` or `.`: what nearly all field names and hosts are made of.
#[inline]
pub(crate) fn label_len(bytes: &[u8]) -> usize {
    prefix_len(bytes, |word| {
        let ascii = word & !HIGH;
        let letters = within(ascii | every(0x20), b'a', b'z');
        // From `-` to `9` there is only `/` that is no part of a label.
        let others = within(ascii, b'-', b'9') & !equal(ascii, b'/');
        !(letters | others) | word
    })
}

/// How many bytes at the front the test doesn't mark.
#[inline(always)]
fn prefix_len(bytes: &[u8], marked: impl Fn(u64) -> u64) -> usize {
    let mut rest = bytes;
    while let Some((word, behind)) = rest.split_first_chunk() {
        let marks = marked(u64::from_le_bytes(*word)) & HIGH;
        if marks != 0 {
            return bytes.len() - rest.len() + (marks.trailing_zeros() / 8) as usize;
        }
        rest = behind;
    }
    let is_marked = |&byte: &u8| marked(u64::from(byte)) & 0x80 != 0;
    bytes.len() - rest.len() + rest.iter().position(is_marked).unwrap_or(rest.len())
}

/// Marks bytes below `least`, and some beyond ASCII.
#[inline(always)]
fn below(word: u64, least: u8) -> u64 {
    word.wrapping_sub(every(least))
}

/// Marks DEL and what is beyond ASCII.
#[inline(always)]
fn beyond_visible(word: u64) -> u64 {
    word.wrapping_add(every(1)) | word
}

/// Marks bytes equal to `byte`.
#[inline(always)]
fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ every(byte);
    difference.wrapping_sub(every(1)) & !difference
}

/// Marks bytes from `first` to `last`; none may be beyond ASCII, so nothing carries.
#[inline(always)]
fn within(ascii: u64, first: u8, last: u8) -> u64 {
    (ascii + every(0x80 - first)) & !(ascii + every(0x7f - last))
}

/// Eight times this byte.
#[inline(always)]
const fn every(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each byte.
const HIGH: u64 = every(0x80);
