//! What a rule says when it found something.

use serde::{Deserialize, Serialize};

use crate::effect::{Effect, Expected};
use crate::observation::Side;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing; nothing has to be done.
    Note,
    /// It will hurt, or hurts a little.
    Warning,
    /// Connections fail now.
    Critical,
}

/// One thing found: symptom, cause, what shows it, what helps, and what does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// The rule's name.
    pub rule: String,
    /// Its row in the table of causes, 1 to 22.
    pub row: u8,
    /// How bad it is.
    pub severity: Severity,
    /// What one sees.
    pub symptom: String,
    /// Why.
    pub cause: String,
    /// Where, if it is about one place.
    pub endpoint: Option<String>,
    /// On which side of the connections.
    pub side: Option<Side>,
    /// What shows it, with numbers.
    pub evidence: Vec<String>,
    /// What helps, the best first; code before configuration before sysctl.
    pub remedies: Vec<Remedy>,
    /// What would not help, and why.
    pub not: Vec<String>,
}

/// Where a remedy is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RemedyKind {
    /// In a program.
    Code,
    /// In a program's settings.
    Configuration,
    /// In the kernel's settings; needs root.
    Sysctl,
}

/// Something that acts on the cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Remedy {
    /// Where it is applied.
    pub kind: RemedyKind,
    /// What to do.
    pub text: String,
    /// What it will change, in words, and in numbers where there are some.
    pub expected: String,
    /// How to see that it did.
    pub check: String,
    /// The number that will change, if the words hold one that a report shows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub effect: Option<Effect>,
    /// The setting, if it is one that can be applied as it stands.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub setting: Option<Setting>,
}

/// A setting of the kernel to be changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Setting {
    /// Its name, as `net.ipv4.tcp_tw_reuse`.
    pub name: String,
    /// What it is now, if that is known.
    pub now: Option<String>,
    /// What it should be.
    pub proposed: String,
}

impl Remedy {
    pub(crate) fn code(
        text: impl Into<String>,
        expected: impl Into<Expected>,
        check: impl Into<String>,
    ) -> Self {
        Self::of(RemedyKind::Code, text.into(), expected.into(), check.into())
    }

    pub(crate) fn configuration(
        text: impl Into<String>,
        expected: impl Into<Expected>,
        check: impl Into<String>,
    ) -> Self {
        Self::of(RemedyKind::Configuration, text.into(), expected.into(), check.into())
    }

    /// The setting's name as `sysctl` spells it, its value now, and the one proposed.
    pub(crate) fn sysctl(
        (name, now, proposed): (&str, Option<u64>, String),
        why: &str,
        expected: impl Into<Expected>,
        check: impl Into<String>,
    ) -> Self {
        let text = format!("sysctl -w {name}={proposed} (needs root): {why}");
        let setting = Setting { name: name.to_owned(), now: now.map(|now| now.to_string()), proposed };
        let setting = Some(setting);
        Self { setting, ..Self::of(RemedyKind::Sysctl, text, expected.into(), check.into()) }
    }

    fn of(kind: RemedyKind, text: String, expected: Expected, check: String) -> Self {
        let Expected { words, effect } = expected;
        Self { kind, text, expected: words, check, effect, setting: None }
    }
}
