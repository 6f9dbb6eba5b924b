//! Settings of the kernel that act on what was found: to be shown, applied, and put back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millstream_base::{Error, Kind, Origin, Result};
use serde::{Deserialize, Serialize};

use crate::report::Report;

/// A setting to be changed, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// As `sysctl` spells it.
    pub name: String,
    /// What it was when it was looked at.
    pub now: Option<String>,
    /// What it should be.
    pub proposed: String,
    /// The rule that wants it, and the cause it found.
    pub why: String,
    /// What it will do, in numbers.
    pub expected: String,
    /// How to see that it did.
    pub check: String,
    /// How many seconds it takes until it shows; 0 if it shows at once, or nobody can say.
    #[serde(default)]
    pub within_s: u32,
    /// Always: there is no setting of the kernel that is everybody's to change.
    pub needs_root: bool,
}

/// The only settings that are ever written: those that some rule may propose. What is said to be harmful is not among them.
const SETTINGS: [&str; 6] = [
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_orphan_retries",
    "net.core.somaxconn",
    "net.netfilter.nf_conntrack_max",
];

impl Report {
    /// The settings that act on what was found, each once; of two wishes for one setting the first found holds.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::<Change>::new();
        for one in &self.diagnoses {
            for remedy in &one.remedies {
                let Some(setting) = &remedy.setting else { continue };
                if changes.iter().any(|other| other.name == setting.name) {
                    continue;
                }
                changes.push(Change {
                    name: setting.name.clone(),
                    now: setting.now.clone(),
                    proposed: setting.proposed.clone(),
                    why: format!("{}: {}", one.rule, one.cause),
                    expected: remedy.expected.clone(),
                    check: remedy.check.clone(),
                    within_s: remedy.effect.as_ref().map_or(0, |effect| effect.within_s),
                    needs_root: true,
                });
            }
        }
        changes
    }
}

/// Settings as they were, by name: what puts them back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Revert {
    /// What each was.
    pub was: BTreeMap<String, String>,
}

impl Revert {
    /// What the settings of these changes are now, below this folder (`/proc/sys`).
    ///
    /// # Errors
    ///
    /// A setting can't be read, or is none that this crate would write.
    pub fn of(changes: &[Change], below: &Path) -> Result<Self> {
        let mut was = BTreeMap::new();
        for change in changes {
            let place = place(&change.name, below)?;
            let text =
                fs::read_to_string(&place).map_err(|error| Error::io(error).with_target(&*change.name))?;
            was.insert(change.name.clone(), text.trim().to_owned());
        }
        Ok(Self { was })
    }

    /// Reads what [`Revert::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// It is something else.
    pub fn from_json(text: &str) -> Result<Self> {
        let bad = |error| Error::invalid("this is no file that `tune --apply` left").with_source(error);
        serde_json::from_str(text).map_err(|error: serde_json::Error| bad(error))
    }

    /// To be kept in a file.
    ///
    /// # Panics
    ///
    /// Never: a map of strings is always JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a map of strings is always JSON")
    }

    /// Puts all back, as far as it can.
    ///
    /// # Errors
    ///
    /// The first that could not be written; the others are.
    pub fn apply(&self, below: &Path) -> Result<()> {
        let outcomes: Vec<_> = self.was.iter().map(|(name, value)| write(name, value, below)).collect();
        outcomes.into_iter().collect()
    }
}

impl Change {
    /// Writes it below this folder (`/proc/sys`). Keep a [`Revert`] first.
    ///
    /// # Errors
    ///
    /// It can't be written, most often for want of root.
    pub fn apply(&self, below: &Path) -> Result<()> {
        write(&self.name, &self.proposed, below)
    }
}

fn write(name: &str, value: &str, below: &Path) -> Result<()> {
    let place = place(name, below)?;
    // These settings are numbers, whoever wrote the file they come from.
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::invalid(format!("{value:?} is no value")).with_target(name));
    }
    fs::write(place, value).map_err(|error| Error::io(error).with_target(name))
}

fn place(name: &str, below: &Path) -> Result<PathBuf> {
    if !SETTINGS.contains(&name) {
        let what = "this setting is none that is ever written here";
        return Err(Error::new(Kind::Policy, Origin::Local, what).with_target(name));
    }
    Ok(below.join(name.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_settings_and_numbers_are_written() {
        let nowhere = Path::new("/nonexistent");
        for (name, value) in [
            ("net.ipv4.tcp_timestamps", "0"),
            ("net.ipv4.tcp_tw_recycle", "1"),
            ("../../etc/passwd", "1"),
            ("net.core.somaxconn", "4096\n1"),
            ("net.core.somaxconn", ""),
        ] {
            let error = write(name, value, nowhere).expect_err(name);
            assert_ne!(error.kind(), Kind::Io, "{name}: it got as far as the file");
        }
        assert_eq!(write("net.core.somaxconn", "4096", nowhere).expect_err("no folder").kind(), Kind::Io);
    }

    #[test]
    fn what_is_no_revert_file_is_refused() {
        for bad in ["", "{", "[]", "{\"was\": 5}", "{}"] {
            assert!(Revert::from_json(bad).is_err(), "{bad}");
        }
    }
}
