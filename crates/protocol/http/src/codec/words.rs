//! Classes of bytes, looked for eight at a time in a `u64`.
//!
//! A class is a sum that carries into the highest bit of each byte that isn't in it: it marks that byte. A carry may run
//! on and mark the next byte wrongly, but only out of a byte that is marked itself: the lowest mark is always true, and
//! only that one is looked at. Words are little-endian, so the lowest mark is the first byte.
//!
//! Positions are 32 bits wide, as spans are; `at + 8` can't overflow a `usize`, which spares a check per word.

/// Where the bytes from `at` on stop being spaces and visible ASCII, as plain field values are.
#[inline(always)]
pub(super) fn text_end(head: &[u8], at: u32) -> u32 {
    let at = skip_text(head, at);
    class_end(head, at, |word| word.wrapping_sub(every(b' ')) | beyond_visible(word))
}

/// Where the bytes from `at` on stop being visible ASCII other than `#`, as plain targets are.
#[inline(always)]
pub(super) fn target_end(head: &[u8], at: u32) -> u32 {
    class_end(head, at, |word| {
        let is_fragment = (word ^ every(b'#')).wrapping_sub(every(1)) & !(word ^ every(b'#'));
        word.wrapping_sub(every(b'!')) | beyond_visible(word) | is_fragment
    })
}

/// Where the bytes from `at` on stop being letters and `-`, as most field names are.
#[inline(always)]
pub(super) fn letters_end(head: &[u8], at: u32) -> u32 {
    class_end(head, at, |word| {
        let (from_a, beyond_z) = letters(word);
        !from_a & other_than(word, b'-') | beyond_z | word
    })
}

/// Where the bytes from `at` on stop being letters, digits, `-` and `.`, as most hosts are.
#[inline(always)]
pub(super) fn host_end(head: &[u8], at: u32) -> u32 {
    class_end(head, at, |word| {
        let (from_a, beyond_z) = letters(word);
        // From `-` to `9` there is `/` besides.
        let digits = from(word, b'-') & !from(word, b'9' + 1) & other_than(word, b'/');
        !(from_a | digits) | beyond_z | word
    })
}

/// The same, but stops up to fifteen bytes before: sixteen at a time, for which compilers use vectors.
#[inline(always)]
fn skip_text(head: &[u8], mut at: u32) -> u32 {
    let is_other = |byte: &u8| byte.wrapping_sub(b' ') > b'~' - b' ';
    while let Some(bytes) = head.get(at as usize..at as usize + 16)
        && !bytes.iter().fold(false, |is_any, byte| is_any | is_other(byte))
    {
        at += 16;
    }
    at
}

/// Where the bytes from `at` on stop being digits.
#[inline(always)]
pub(super) fn digits_end(head: &[u8], at: u32) -> u32 {
    class_end(head, at, |word| !from(word, b'0') | from(word, b'9' + 1) | word)
}

/// The first byte from `at` on that is marked. The end of `head` always is.
#[inline(always)]
fn class_end(head: &[u8], mut at: u32, marked: impl Fn(u64) -> u64) -> u32 {
    loop {
        let marks = marked(word_at(head, at)) & every(0x80);
        if marks != 0 {
            return at + marks.trailing_zeros() / 8;
        }
        at += 8;
    }
}

/// Eight bytes; zeros, which are in no class, where `head` is over.
#[inline(always)]
fn word_at(head: &[u8], at: u32) -> u64 {
    let start = at as usize;
    match head.get(start..start + 8).and_then(<[u8]>::first_chunk) {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => last_word(head, start),
    }
}

/// The last bytes of `head`, fewer than eight.
#[inline(always)]
fn last_word(head: &[u8], start: usize) -> u64 {
    match (head.last_chunk(), head.len().saturating_sub(start)) {
        (_, 0) | (None, _) => 0,
        (Some(bytes), left) => u64::from_le_bytes(*bytes) >> (64 - 8 * left),
    }
}

/// Marks DEL and what is beyond ASCII.
#[inline(always)]
fn beyond_visible(word: u64) -> u64 {
    word.wrapping_add(every(1)) | word
}

/// Marks, in bytes of ASCII, what is `a` or beyond, and what is beyond `z`, letter case ignored.
#[inline(always)]
fn letters(word: u64) -> (u64, u64) {
    let lower = word | every(0x20);
    (from(lower, b'a'), from(lower, b'z' + 1))
}

/// Marks, in bytes of ASCII, what is `least` or beyond.
#[inline(always)]
fn from(word: u64, least: u8) -> u64 {
    word.wrapping_add(every(0x80 - least))
}

/// Marks, in bytes of ASCII, what isn't `byte`.
#[inline(always)]
fn other_than(word: u64, byte: u8) -> u64 {
    (word ^ every(byte)).wrapping_add(every(0x7f))
}

/// Eight times this byte.
#[inline(always)]
const fn every(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}
