//! Finds the functions of a file and how long they are, by counting brackets.

use super::scan::is_word;

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// The line of its `fn`, from 1.
    pub(super) line: usize,
    /// From the `fn` to the closing brace, both counted.
    pub(super) lines: usize,
}

/// Every function with a body in code without strings and comments (see `scan`).
pub(super) fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let starts = code.match_indices("fn ").map(|(at, _)| at);
    let starts = starts.filter(|&at| at == 0 || !is_word(bytes[at - 1]));
    starts.filter_map(|at| function(code, at)).collect()
}

fn function(code: &str, at: usize) -> Option<Function> {
    let rest = code[at + 3..].trim_start();
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if name.is_empty() {
        return None;
    }
    let open = at + body_offset(&code[at..])?;
    let close = open + matching_brace(&code[open..])?;
    let line = line_of(code, at);
    Some(Function { name, line, lines: line_of(code, close) - line + 1 })
}

/// Where the body's brace is; `None` for a declaration that ends with a semicolon.
fn body_offset(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn matching_brace(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The line, from 1, that holds the byte at `at`.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_signature_and_braces() {
        let code = "fn a(\n  x: [u8; 2],\n) {\n}\ntrait T { fn declared(&self); }\nfn b() { fn c() {} }\n";
        let found: Vec<_> = functions(code).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        let expected = [("a", 1, 4), ("b", 6, 1), ("c", 6, 1)];
        assert_eq!(found, expected.map(|(name, line, lines)| (name.to_owned(), line, lines)));
    }

    #[test]
    fn function_types_and_macro_variables_are_no_functions() {
        assert_eq!(functions("type F = fn (u8); macro { fn $name() {} } let often = 1;"), []);
    }
}
