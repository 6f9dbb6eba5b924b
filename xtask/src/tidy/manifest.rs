//! Rules over the members' `Cargo.toml`: arrows, lints, shared versions, README; and over the lock file.

use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::arrows::{TEST_ONLY, UNSAFE, allowed, may_depend};
use super::{Finding, Report};

/// Checks every member of the workspace at `root`.
pub(super) fn check(root: &Path, report: &mut Report) -> Result<()> {
    let workspace = read(&root.join("Cargo.toml"))?;
    for member in members(&workspace) {
        let path = root.join(&member).join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
        let table = text.parse::<Table>().with_context(|| format!("{}", path.display()))?;
        let manifest = Manifest { file: format!("{member}/Cargo.toml"), name: name(&table), text, table };
        manifest.check_arrows(report);
        manifest.check_versions(report);
        manifest.check_lints(report);
        check_readme(root, &member, &manifest.name, report);
    }
    check_lock(root, report);
    Ok(())
}

struct Manifest {
    file: String,
    name: String,
    text: String,
    table: Table,
}

impl Manifest {
    fn check_arrows(&self, report: &mut Report) {
        if allowed(&self.name).is_none() {
            let what = format!(
                "{} is not in the table of xtask/src/tidy/arrows.rs: add it, see DESIGN §2",
                self.name
            );
            report.add(self.finding("name", "arrow", what));
            return;
        }
        for (key, value) in self.dependencies("dependencies").chain(self.dependencies("build-dependencies")) {
            let target = package(key, value);
            if TEST_ONLY.contains(&target) {
                let what = format!("{target} is for tests: move it to [dev-dependencies]");
                report.add(self.finding(key, "arrow", what));
            } else if target.starts_with("millstream") && !may_depend(&self.name, target) {
                let what = format!("{} may not depend on {target} (DESIGN §2): cut it", self.name);
                report.add(self.finding(key, "arrow", what));
            }
        }
    }

    fn check_versions(&self, report: &mut Report) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (key, value) in self.dependencies(kind) {
                if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                    let what = format!("put its version at the root and write `{key}.workspace = true`");
                    report.add(self.finding(key, "shared-version", what));
                }
            }
        }
    }

    fn check_lints(&self, report: &mut Report) {
        let lints = self.table.get("lints");
        if lints.and_then(|lints| lints.get("workspace")).and_then(Value::as_bool) == Some(true) {
            return;
        }
        if !UNSAFE.contains(&self.name.as_str()) {
            let what =
                "write `[lints]` and `workspace = true`: unsafe code is for the crates DESIGN §2 names";
            return report.add(self.finding("name", "lints", what.to_owned()));
        }
        let lint = |group: &str, lint: &str| lints.and_then(|lints| lints.get(group)?.get(lint)).is_some();
        for (group, name) in [("rust", "unsafe_code"), ("clippy", "undocumented_unsafe_blocks")] {
            if !lint(group, name) {
                let what = format!("a crate with lints of its own sets `{name}` under [lints.{group}]");
                report.add(self.finding("name", "lints", what));
            }
        }
    }

    /// The entries of one kind, those for single platforms too.
    fn dependencies<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let platforms = self.table.get("target").and_then(Value::as_table).into_iter();
        let tables = platforms.flat_map(|table| table.values()).map(move |target| target.get(kind));
        let all = tables.chain([self.table.get(kind)]).flatten().filter_map(Value::as_table);
        all.flat_map(|table| table.iter().map(|(key, value)| (key.as_str(), value)))
    }

    /// A finding at the line that begins with `key`.
    fn finding(&self, key: &str, rule: &'static str, what: String) -> Finding {
        let begins = |line: &str| {
            let rest = line.trim_start().trim_start_matches('"').strip_prefix(key);
            rest.is_some_and(|rest| rest.starts_with([' ', '.', '=', '"']))
        };
        let line = self.text.lines().position(begins).unwrap_or(0) + 1;
        Finding { file: self.file.clone(), line, rule, what }
    }
}

/// The package behind a dependency's key, which may be a new name for it.
fn package<'a>(key: &'a str, value: &'a Value) -> &'a str {
    value.get("package").and_then(Value::as_str).unwrap_or(key)
}

fn read(path: &Path) -> Result<Table> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    text.parse().with_context(|| format!("{}", path.display()))
}

/// The folders of the members.
pub(crate) fn members(workspace: &Table) -> Vec<String> {
    let members = workspace.get("workspace").and_then(|table| table.get("members")).and_then(Value::as_array);
    members.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn name(manifest: &Table) -> String {
    let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

/// A README that names its crate and says at least one sentence about it.
fn check_readme(root: &Path, member: &str, name: &str, report: &mut Report) {
    let file = format!("{member}/README.md");
    let text = std::fs::read_to_string(root.join(&file)).unwrap_or_default();
    let says_something = |line: &str| !line.starts_with('#') && line.split_whitespace().count() >= 3;
    if !text.contains(name) || !text.lines().any(says_something) {
        let what = format!("write a README.md that names {name} and says in a line what it gives");
        report.add(Finding { file, line: 1, rule: "readme", what });
    }
}

/// Every package in the lock file comes from crates.io, whatever mirror this machine uses.
fn check_lock(root: &Path, report: &mut Report) {
    const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let text = std::fs::read_to_string(root.join("Cargo.lock")).unwrap_or_default();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("source = ") && line != CRATES_IO {
            let what = "every dependency comes from crates.io: remove the other source".to_owned();
            report.add(Finding { file: "Cargo.lock".to_owned(), line: index + 1, rule: "lock", what });
        }
    }
}
