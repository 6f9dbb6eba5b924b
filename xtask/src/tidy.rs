//! `cargo xtask tidy`: the rules of DESIGN and STYLE that no compiler checks.

mod arrows;
mod files;
mod functions;
pub(crate) mod manifest;
mod scan;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

/// Prints what breaks a rule under `root`; fails if anything does.
pub(crate) fn run(root: &Path) -> Result<ExitCode> {
    let report = check(root)?;
    report.warnings.iter().for_each(|finding| println!("warning: {finding}"));
    report.findings.iter().for_each(|finding| println!("{finding}"));
    if report.findings.is_empty() {
        println!("tidy: {} files are fine", report.files);
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {} to mend", report.findings.len());
    Ok(ExitCode::FAILURE)
}

fn check(root: &Path) -> Result<Report> {
    let mut report = Report::default();
    manifest::check(root, &mut report)?;
    for file in files::list(root)? {
        report.files += 1;
        source::check(root, &file, &mut report)?;
    }
    Ok(report)
}

/// What tidy found.
#[derive(Debug, Default)]
struct Report {
    files: usize,
    findings: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Report {
    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

/// One broken rule.
#[derive(Debug)]
struct Finding {
    file: String,
    line: usize,
    rule: &'static str,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.rule, self.what)
    }
}
