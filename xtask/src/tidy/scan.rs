//! Blanks strings, characters and comments of Rust source, so that rules look at code only.

/// The source with every string, character and comment replaced by spaces. Lines and columns stay where they were.
pub(super) fn code_only(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + length_to_blank(bytes, at);
        if end == at {
            at += 1 + identifier_rest(bytes, at);
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    // A blanked multi-byte character became as many spaces; all else is untouched.
    String::from_utf8_lossy(&code).into_owned()
}

/// How many bytes from `at` are a comment, a string or a character literal; zero if neither begins there.
fn length_to_blank(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest),
        [b'b' | b'c', b'"', ..] => 1 + quoted(&rest[1..]),
        [b'r', b'"' | b'#', ..] => raw(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] => raw(rest, 2),
        [b'b', b'\'', ..] => 1 + character(&rest[1..]),
        [b'\'', ..] => character(rest),
        _ => 0,
    }
}

/// The rest of an identifier that begins here: `r` or `b` at the end of a name begin no literal.
fn identifier_rest(bytes: &[u8], at: usize) -> usize {
    if !is_word(bytes[at]) {
        return 0;
    }
    bytes[at + 1..].iter().take_while(|&&b| is_word(b)).count()
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"..."` or `r#"..."#`; `prefix` is the length of what stands before the hashes. Zero for `r#name`.
fn raw(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|&&b| b == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let body = &rest[open + 1..];
    match body.windows(close.len()).position(|window| window == close) {
        Some(found) => open + 1 + found + close.len(),
        None => rest.len(),
    }
}

/// `'x'` or `'\n'`; zero for a lifetime.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        let end = rest.iter().skip(3).position(|&b| b == b'\'');
        return end.map_or(rest.len(), |end| end + 4);
    }
    // One character, of at most four bytes, then the quote. A lifetime has none there.
    let first = rest.get(1).copied().unwrap_or(0);
    let width = match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_characters_and_comments_are_blank() {
        for (source, code) in [
            ("a(\"{\\\"\") // }\nb", "a( ) b"),
            ("x /* { /* } */ */ y", "x y"),
            ("r#\"a\"{\"# z", "z"),
            ("'{' 'a '\\'' '\\u{7b}' 'é'", "'a"),
            ("b'{' br\"{\" b\"{\" br", "br"),
            ("r#fn", "r#fn"),
        ] {
            let blanked = code_only(source);
            assert_eq!(blanked.split_whitespace().collect::<Vec<_>>().join(" "), code, "{source}");
            assert_eq!(blanked.len(), source.len(), "{source}");
        }
    }

    #[test]
    fn line_numbers_stay() {
        assert_eq!(code_only("\"a\nb\"\nc").lines().count(), 3);
    }

    #[test]
    fn unended_literals_end_with_the_file() {
        for source in ["\"abc", "/* abc", "r#\"abc", "'\\", "\"\\", "b'", "'"] {
            assert_eq!(code_only(source).len(), source.len());
        }
    }
}
