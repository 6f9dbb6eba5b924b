//! Reads what `cargo test` says, and adds it up.

/// Passed, failed and skipped tests over several runs.
#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    skipped: Vec<String>,
    failed_commands: u64,
    /// Between `successes:` and what ends it: the output of tests that passed.
    in_successes: bool,
}

/// Is a line for people, or only for counting?
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Shown,
    Hidden,
}

impl Tally {
    /// Counts one line.
    pub(super) fn line(&mut self, line: &str) -> Line {
        if let Some((_, reason)) = line.split_once("SKIPPED: ") {
            self.skipped.push(reason.trim().to_owned());
            return Line::Shown;
        }
        if let Some(result) = line.strip_prefix("test result: ") {
            self.result(result);
            self.in_successes = false;
        }
        match line.trim_end() {
            "successes:" => self.in_successes = true,
            "failures:" => self.in_successes = false,
            _ => {}
        }
        if self.in_successes { Line::Hidden } else { Line::Shown }
    }

    /// `ok. 3 passed; 0 failed; 1 ignored; ...`
    fn result(&mut self, result: &str) {
        let counts = result.split_once(". ").map_or(result, |(_, counts)| counts);
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let number = words.next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.ignored += number,
                _ => {}
            }
        }
    }

    /// A command ended; a crash or a compile error fails without a failed test.
    pub(super) fn command_ended(&mut self, success: bool) {
        self.failed_commands += u64::from(!success);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.skipped.extend(other.skipped);
        self.failed_commands += other.failed_commands;
    }

    /// Prints the sum. True if all is well; with `strict` (CI) a peer that is missing is not.
    pub(super) fn report(&self, strict: bool) -> bool {
        println!();
        self.skipped.iter().for_each(|reason| println!("skipped: {reason}"));
        let missing = strict && self.skipped.iter().any(|reason| names_missing_peer(reason));
        if missing {
            println!("in CI every peer must be there");
        }
        if self.failed_commands > 0 && self.failed == 0 {
            println!("a test command failed without a failed test: see above");
        }
        println!("{}", self.summary());
        self.failed == 0 && self.failed_commands == 0 && !missing
    }

    fn summary(&self) -> String {
        let mut summary = format!("{} passed, {} failed", self.passed, self.failed);
        for (count, word) in [(self.skipped.len() as u64, "skipped"), (self.ignored, "ignored")] {
            if count > 0 {
                summary += &format!(", {count} {word}");
            }
        }
        summary
    }
}

fn names_missing_peer(reason: &str) -> bool {
    let reason = reason.to_lowercase();
    ["missing", "not installed", "not found", "no such"].iter().any(|word| reason.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
running 2 tests
test a ... ok

successes:

---- a stderr ----
SKIPPED: nginx is missing
noise

successes:
    a

failures:
    b

test result: FAILED. 1 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    #[test]
    fn counts_are_added_and_output_of_passed_tests_is_hidden() {
        let mut tally = Tally::default();
        let shown: Vec<&str> = OUTPUT.lines().filter(|line| tally.line(line) == Line::Shown).collect();
        assert_eq!(tally.summary(), "6 passed, 1 failed, 1 skipped, 2 ignored");
        assert!(shown.contains(&"SKIPPED: nginx is missing") && shown.contains(&"    b"));
        assert!(!shown.contains(&"noise"));
    }

    #[test]
    fn missing_peer_fails_only_in_ci() {
        let mut tally = Tally::default();
        tally.line("SKIPPED: wrk is not installed");
        assert!(tally.report(false));
        assert!(!tally.report(true));
    }

    #[test]
    fn crash_fails_without_a_failed_test() {
        let mut tally = Tally::default();
        tally.line("test result: ok. 5 passed; 0 failed; 0 ignored");
        tally.command_ended(false);
        assert!(!tally.report(false));
    }
}
