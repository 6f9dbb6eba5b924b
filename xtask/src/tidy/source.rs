//! Rules over single files: lengths, module docs, names, purity of codecs, what must not be committed.

use std::path::Path;

use anyhow::{Context, Result};

use super::functions::{functions, line_of};
use super::scan::{code_only, is_word};
use super::{Finding, Report};

/// Longer fails, tests included (STYLE 1).
const FILE_LINES_MAX: usize = 800;
/// Longer needs a reason in its first lines (STYLE 1).
const FILE_LINES_REASON: usize = 500;
/// Longer fails (STYLE 2).
const FUNCTION_LINES_MAX: usize = 70;
/// In how many first lines the reason must stand.
const REASON_WITHIN: usize = 40;
/// The comment that gives it.
const REASON: &str = "// Long because ";

/// Checks one file, whose path is relative to `root`.
pub(super) fn check(root: &Path, file: &str, report: &mut Report) -> Result<()> {
    let path = root.join(file);
    let bytes = std::fs::read(&path).with_context(|| format!("{}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut checker = Checker { file, text: &text, code: String::new(), report };
    checker.check_machine_paths(root);
    if file.ends_with(".rs") {
        checker.code = code_only(&text);
        checker.check_lengths();
        checker.check_shape();
        checker.check_words();
        checker.check_codec();
    }
    Ok(())
}

struct Checker<'a> {
    file: &'a str,
    text: &'a str,
    /// Without strings and comments.
    code: String,
    report: &'a mut Report,
}

impl Checker<'_> {
    fn check_lengths(&mut self) {
        let lines = self.text.lines().count();
        if lines > FILE_LINES_MAX {
            self.add(1, "file-length", format!("{lines} lines, at most {FILE_LINES_MAX}: split it by noun"));
        } else if lines > FILE_LINES_REASON
            && !self.text.lines().take(REASON_WITHIN).any(|l| l.contains(REASON))
        {
            let what =
                format!("{lines} lines: split it, or say `{REASON}...` in its first {REASON_WITHIN} lines");
            let finding = Finding { file: self.file.to_owned(), line: 1, rule: "file-length", what };
            self.report.warnings.push(finding);
        }
        for function in functions(&self.code) {
            if function.lines > FUNCTION_LINES_MAX {
                let (name, lines) = (&function.name, function.lines);
                let what = format!(
                    "`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}: one thought a function"
                );
                self.add(function.line, "function-length", what);
            }
        }
    }

    fn check_shape(&mut self) {
        let first = self.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
        if !first.is_some_and(|line| line.starts_with("//! ")) {
            self.add(1, "module-doc", "begin it with `//! ` and what the file is for".to_owned());
        }
        let is_vague = |name: &str| VAGUE.contains(&name.trim_end_matches(".rs"));
        if let Some(part) = self.file.split('/').find(|part| is_vague(part)) {
            self.add(
                1,
                "vague-name",
                format!("`{part}` says nothing: name it by the field's noun (STYLE 4)"),
            );
        }
        for name in VAGUE {
            for at in words(&self.code, &format!("mod {name}")) {
                self.add_at(
                    at,
                    "vague-name",
                    format!("`{name}` says nothing: name it by the field's noun (STYLE 4)"),
                );
            }
        }
    }

    fn check_words(&mut self) {
        for word in ["todo!(", "unimplemented!("] {
            for at in words(&self.code, word) {
                self.add_at(at, "unfinished", format!("`{word}`: do it, or leave it out (STYLE 16)"));
            }
        }
        for at in words(&self.code, "#[ignore") {
            self.add_at(at, "ignored-test", "a test runs, or it goes".to_owned());
        }
        let tests_begin = self.tests_begin();
        // Under paused time a sleep costs nothing and is exact.
        if self.code.contains("start_paused") || self.code.contains("time::pause()") {
            return;
        }
        for at in words(&self.code, "sleep(").filter(|&at| at >= tests_begin).collect::<Vec<_>>() {
            self.add_at(
                at,
                "sleep",
                "a test waits for what it wants, by barrier or channel (STYLE 29)".to_owned(),
            );
        }
    }

    /// The offset from which the file is test code; its length if it has none.
    fn tests_begin(&self) -> usize {
        let folder = self.file.split('/').any(|part| matches!(part, "tests" | "testing" | "tests.rs"));
        if folder { 0 } else { self.code.find("#[cfg(test)]").unwrap_or(usize::MAX) }
    }

    fn check_codec(&mut self) {
        if !self.file.contains("/codec/") && !self.file.ends_with("/codec.rs") {
            return;
        }
        for word in IMPURE {
            for at in words(&self.code, word) {
                let what = format!("`{word}`: a codec has no socket, clock, thread or async (DESIGN §2)");
                self.add_at(at, "codec", what);
            }
        }
    }

    /// Where this checkout lies, and people's homes, are nobody else's business and exist nowhere else.
    fn check_machine_paths(&mut self, root: &Path) {
        let here = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        let here = here.to_string_lossy().into_owned();
        // In pieces, or this file would break its own rule.
        let homes = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];
        for pattern in homes.into_iter().chain([here.as_str()]) {
            for (at, _) in self.text.match_indices(pattern) {
                let before = self.text[..at].chars().next_back().unwrap_or(' ');
                let after = self.text[at + pattern.len()..].chars().next().unwrap_or(' ');
                let whole = pattern.ends_with('/') == (after.is_alphanumeric() || after == '.');
                if whole && !before.is_alphanumeric() && !matches!(before, '.' | '}' | '_' | '-' | '/') {
                    self.add_at(at, "machine-path", "a path of one machine: make it relative".to_owned());
                }
            }
        }
    }

    fn add_at(&mut self, at: usize, rule: &'static str, what: String) {
        let line = line_of(self.text, at);
        if !self.is_allowed(line, rule) {
            self.add(line, rule, what);
        }
    }

    fn add(&mut self, line: usize, rule: &'static str, what: String) {
        self.report.add(Finding { file: self.file.to_owned(), line, rule, what });
    }

    /// `tidy-allow(RULE): reason` on the line itself or the one above it.
    fn is_allowed(&self, line: usize, rule: &str) -> bool {
        let mark = format!("tidy-allow({rule}): ");
        let excuses = |line: &str| line.split_once(&mark).is_some_and(|(_, reason)| reason.trim().len() > 3);
        self.text.lines().skip(line.saturating_sub(2)).take(2).any(excuses)
    }
}

/// Names that say nothing (STYLE 4).
const VAGUE: [&str; 7] = ["utils", "util", "common", "helpers", "helper", "manager", "misc"];

/// What no codec uses. Spans and addresses are values, and free; whoever reads a clock or opens a socket names one of
/// these.
const IMPURE: [&str; 14] = [
    "async",
    "await",
    "tokio",
    "socket2",
    "mio",
    "Instant",
    "SystemTime",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
    "thread::",
];

/// Where `word` stands in the code, not as part of a longer one.
fn words(code: &str, word: &str) -> impl Iterator<Item = usize> + use<> {
    let bytes = code.as_bytes();
    let starts_word = word.bytes().next().is_some_and(is_word);
    let ends_word = word.bytes().next_back().is_some_and(is_word);
    let apart = |at: usize| {
        let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
        let after = bytes.get(at + word.len()).copied().unwrap_or(b' ');
        !(starts_word && is_word(before) || ends_word && is_word(after))
    };
    let found: Vec<usize> = code.match_indices(word).map(|(at, _)| at).filter(|&at| apart(at)).collect();
    found.into_iter()
}
