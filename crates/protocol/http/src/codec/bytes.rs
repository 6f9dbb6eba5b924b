//! Classes of bytes, and how long a run of them is.
//!
//! Runs of tokens, hosts and targets are short: a look into a table per byte is cheapest. Values are longer and of one wide
//! class: sixteen bytes at a time while all are of it, then eight at a time in a `u64`.

/// Bytes of field names and methods: `tchar` of RFC 9110 §5.6.2.
pub(super) const TOKEN: u8 = 1;
/// Bytes of a registered name or IPv4 address: `unreserved`, `sub-delims` and `%` of RFC 3986.
pub(super) const HOST: u8 = 2;
/// Decimal digits.
pub(super) const DIGIT: u8 = 4;
/// Bytes of a request target: visible ASCII but `#`.
pub(super) const TARGET: u8 = 8;
/// The same, but `?`.
pub(super) const PATH: u8 = 16;

/// Is this byte of the class?
#[inline(always)]
pub(super) fn is_of(class: u8, byte: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// How many bytes at the front are of this class.
#[inline(always)]
pub(super) fn run_len(bytes: &[u8], class: u8) -> usize {
    let mut rest = bytes;
    // In steps of a known length, so that compilers unroll them and check no bounds.
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        for (passed, &byte) in eight.iter().enumerate() {
            if !is_of(class, byte) {
                return bytes.len() - rest.len() + passed;
            }
        }
        rest = behind;
    }
    bytes.len() - rest.len() + last_run(rest, class)
}

#[inline(never)]
fn last_run(rest: &[u8], class: u8) -> usize {
    rest.iter().position(|&byte| !is_of(class, byte)).unwrap_or(rest.len())
}

/// How many bytes at the front are spaces or visible ASCII.
#[inline(always)]
pub(super) fn text_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    // Without a way out in the midst of the sixteen: compilers use vectors.
    while let Some((sixteen, behind)) = rest.split_first_chunk::<16>()
        && sixteen.iter().fold(true, |is_text, &byte| is_text & is_text_byte(byte))
    {
        rest = behind;
    }
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        let others = mark_others(u64::from_le_bytes(*eight));
        if others != 0 {
            return bytes.len() - rest.len() + others.trailing_zeros() as usize / 8;
        }
        rest = behind;
    }
    bytes.len() - rest.len() + last_text(rest)
}

#[inline(never)]
fn last_text(rest: &[u8]) -> usize {
    rest.iter().position(|&byte| !is_text_byte(byte)).unwrap_or(rest.len())
}

#[inline(always)]
fn is_text_byte(byte: u8) -> bool {
    byte.wrapping_sub(b' ') <= b'~' - b' '
}

/// Sets the highest bit of each byte that is a control byte or beyond ASCII.
///
/// The sums may run over from one byte into the next and mark it wrongly, but only out of a byte that is marked itself: the
/// lowest mark is right, and in a little-endian word that is the first byte.
#[inline(always)]
fn mark_others(word: u64) -> u64 {
    let below_space = word.wrapping_sub(u64::from_ne_bytes([b' '; 8]));
    let beyond_tilde = word.wrapping_add(u64::from_ne_bytes([0x7f - b'~'; 8]));
    (below_space | beyond_tilde | word) & u64::from_ne_bytes([0x80; 8])
}

static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = classes_of(byte as u8);
        byte += 1;
    }
    table
};

const fn classes_of(byte: u8) -> u8 {
    let token = matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z');
    let host = matches!(byte,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%'
        | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
    let target = matches!(byte, b'!'..=b'~') && byte != b'#';
    let path = target && byte != b'?';
    let digit = byte.is_ascii_digit();
    (token as u8 * TOKEN)
        | (host as u8 * HOST)
        | (digit as u8 * DIGIT)
        | (target as u8 * TARGET)
        | (path as u8 * PATH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_at_the_first_other_byte_wherever_it_stands() {
        for (other, len) in (0..=u8::MAX).flat_map(|other| (0..40).map(move |len| (other, len))) {
            for at in 0..len {
                // What stands behind it must not matter: sums run over into it.
                let mut bytes = vec![other; len];
                bytes[..at].fill(b'7');
                let text = if (b' '..=b'~').contains(&other) { len } else { at };
                assert_eq!(text_len(&bytes), text, "{other:#x} at {at} of {len}");
                for class in [TOKEN, HOST, DIGIT, TARGET, PATH] {
                    let run = if is_of(class, other) { len } else { at };
                    assert_eq!(run_len(&bytes, class), run, "{other:#x} at {at} of {len}");
                }
            }
        }
    }

    #[test]
    fn text_ends_between_its_own_bounds() {
        for byte in b' '..=b'~' {
            let mut bytes = [byte; 23];
            assert_eq!(text_len(&bytes), 23);
            for at in 0..23 {
                bytes[at] = b'\r';
                assert_eq!(text_len(&bytes), at);
                bytes[at] = byte;
            }
        }
    }
}
