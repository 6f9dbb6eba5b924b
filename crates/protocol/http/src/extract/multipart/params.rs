//! Parameters behind a value: `; name="a"; filename=b`.

/// Names in lower case, and values, unquoted.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// What stands behind the first semicolon; `None` when it is malformed, or says something twice.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (mut params, mut rest) = (Self(Vec::new()), text.trim());
        while !rest.is_empty() {
            let (name, behind) = rest.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            let (value, behind) = match behind.trim_start().strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => {
                    let (value, behind) = behind
                        .split_once(';')
                        .map_or((behind, ""), |(value, _)| (value, &behind[value.len()..]));
                    (value.trim().to_owned(), behind)
                }
            };
            if name.is_empty() || name.contains([';', '"', ' ']) || params.get(&name).is_some() {
                return None;
            }
            params.0.push((name, value));
            let behind = behind.trim();
            if behind.is_empty() {
                break;
            }
            rest = behind.strip_prefix(';')?.trim_start();
        }
        Some(params)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What stands before the closing quote, and what behind it. A backslash escapes a quote and itself, nothing else: some
/// browsers sent whole paths of Windows (`C:\x`). The escapes that browsers use today (`%22`) stay as they are, since a
/// name may have been `%22` before.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => {
                let escaped = letters.next_if(|(_, next)| matches!(next, '"' | '\\'));
                value.push(escaped.map_or('\\', |(_, next)| next));
            }
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_tokens_or_quoted() {
        for (text, name, file_name) in [
            (" name=a", Some("a"), None),
            ("name=\"a b\"; filename=\"c.txt\"", Some("a b"), Some("c.txt")),
            ("NAME = a ;filename = \"\"", Some("a"), Some("")),
            ("name=\"你好\";", Some("你好"), None),
            ("name=\"a\\\"b\\\\c\"", Some("a\"b\\c"), None),
            ("name=f; filename=\"C:\\dir\\x\"", Some("f"), Some("C:\\dir\\x")),
            ("name=a%22b", Some("a%22b"), None),
            ("", None, None),
            // What stands within quotes names nothing.
            ("filename=\"x; name=evil\"; name=\"good\"", Some("good"), Some("x; name=evil")),
        ] {
            let params = Params::parse(text).expect(text);
            assert_eq!((params.get("name"), params.get("filename")), (name, file_name), "{text}");
        }
    }

    #[test]
    fn malformed_or_repeated_ones_are_refused() {
        for text in ["name", "name=\"a", "=a", "name=a; name=b", "name=\"a\" x", "a b=c", "name=\"a\"b=c"] {
            assert!(Params::parse(text).is_none(), "{text}");
        }
    }
}
