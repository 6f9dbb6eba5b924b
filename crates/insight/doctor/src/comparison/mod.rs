//! A report beside an earlier one: what was changed, and whether that did what was predicted.
//!
//! Nothing is concluded from what is not there: a number that the new report does not show is missing, and why is said.

mod text;

use millstream_base::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::diagnosis::{Diagnosis, Remedy, RemedyKind};
use crate::effect::{Effect, Measure};
use crate::report::Report;
use crate::rules::RULES;

/// What has become of an earlier report.
///
/// ```
/// use millstream_doctor::{Comparison, Report};
///
/// let (earlier, now) = (Report::default(), Report::default());
/// let compared = Comparison::of(&earlier, &now)?;
/// assert_eq!((compared.settings.len(), compared.diagnoses.len()), (0, 0));
/// // Neither says when it was made.
/// assert_eq!(compared.elapsed_s, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Comparison {
    /// Seconds between the two reports; none if one does not say when it was made, or the clock was set back.
    pub elapsed_s: Option<u64>,
    /// Settings of the host that differ.
    pub settings: Vec<ChangedSetting>,
    /// The diagnoses of the earlier report.
    pub diagnoses: Vec<Followed>,
    /// Diagnoses that are new.
    pub appeared: Vec<Appeared>,
}

/// A setting that differs. One that only one of the reports could read is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangedSetting {
    /// Its name, as `net.ipv4.tcp_tw_reuse`.
    pub name: String,
    /// What it was in the earlier report.
    pub before: u64,
    /// What it is in the new one.
    pub now: u64,
}

/// A diagnosis that is not in the earlier report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Appeared {
    /// The rule's name.
    pub rule: String,
    /// Where, if it is about one place.
    pub endpoint: Option<String>,
}

/// A diagnosis of the earlier report, and what has become of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Followed {
    /// The rule's name.
    pub rule: String,
    /// Where, if it is about one place.
    pub endpoint: Option<String>,
    /// Whether it, or one that it is a part of, is still found; none if the rule could not look.
    pub found: Option<bool>,
    /// Why the rule could not look.
    pub not_checked: Option<String>,
    /// What its remedies were to change, those that have a number.
    pub predictions: Vec<Prediction>,
}

/// What a remedy was to change, and what has changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Prediction {
    /// Where the remedy is applied.
    pub kind: RemedyKind,
    /// What was to be done.
    pub remedy: String,
    /// The setting, if it is one.
    pub setting: Option<String>,
    /// Whether it was done; none if that can't be seen from here, as with a program.
    pub applied: Option<bool>,
    /// What it was to change.
    pub effect: Effect,
    /// What the number is in the new report; none if it is not there.
    pub value: Option<f64>,
    /// By how many percent it was to change; none from zero.
    pub predicted_percent: Option<f64>,
    /// By how many percent it has changed.
    pub observed_percent: Option<f64>,
    /// Whether the time that the prediction needs has passed since the earlier report; none if that is not known. The change
    /// itself came later than that report.
    pub time_passed: Option<bool>,
    /// What comes of it.
    pub outcome: Outcome,
    /// Why the number is not there.
    pub not_measured: Option<String>,
}

/// What came of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The number has changed as predicted, by four fifths or more of it.
    Met,
    /// It has not, and the time for it has passed.
    Missed,
    /// It has not yet, and there is time left.
    TooEarly,
    /// It has not, and how much time has passed is not known; or there was no change to be predicted.
    Unknown,
    /// The new report does not show the number.
    NotMeasured,
}

impl Comparison {
    /// Compares.
    ///
    /// # Errors
    ///
    /// One of the reports is of all connections and the other of some, or both are of different ones.
    pub fn of(earlier: &Report, now: &Report) -> Result<Self> {
        if earlier.only != now.only {
            let name = |only: &Option<String>| only.clone().unwrap_or_else(|| "all endpoints".to_owned());
            let (was, is) = (name(&earlier.only), name(&now.only));
            return Err(Error::invalid(format!(
                "the earlier report is of {was}, the new one of {is}: they can't be compared"
            )));
        }
        let elapsed_s = now.made_at.zip(earlier.made_at).and_then(|(now, then)| now.checked_sub(then));
        let settings = earlier.changed_settings(now);
        let diagnoses = earlier.diagnoses.iter().map(|one| follow(one, now, elapsed_s)).collect();
        let is_new = |one: &&Diagnosis| !earlier.diagnoses.iter().any(|other| is_same(one, other));
        let appeared = now
            .diagnoses
            .iter()
            .filter(is_new)
            .map(|one| Appeared { rule: one.rule.clone(), endpoint: one.endpoint.clone() });
        Ok(Self { elapsed_s, settings, diagnoses, appeared: appeared.collect() })
    }
}

impl Report {
    /// Settings of the host that differ in a later report. What only shows a state, as the number of open files, is none.
    pub fn changed_settings(&self, now: &Self) -> Vec<ChangedSetting> {
        let before = self.host.sysctls.iter().filter(|(name, _)| !STATES.contains(&name.as_str()));
        let changed = before.filter_map(|(name, &before)| {
            let now = now.host.sysctls.get(name).copied().filter(|&now| now != before)?;
            Some(ChangedSetting { name: name.clone(), before, now })
        });
        changed.collect()
    }
}

/// They stand beside settings below `/proc/sys`, and change by themselves.
const STATES: [&str; 2] = ["net.netfilter.nf_conntrack_count", "fs.file-nr"];

fn is_same(one: &Diagnosis, other: &Diagnosis) -> bool {
    one.rule == other.rule && one.endpoint == other.endpoint
}

/// Whether the other is the same, or a worse state of the same endpoint that hides this one.
fn is_still(one: &Diagnosis, other: &Diagnosis) -> bool {
    let covers = RULES.iter().find(|rule| rule.name == other.rule).map_or(&[][..], |rule| rule.covers);
    is_same(one, other) || (one.endpoint == other.endpoint && covers.contains(&one.row))
}

fn follow(one: &Diagnosis, now: &Report, elapsed_s: Option<u64>) -> Followed {
    let is_found = now.diagnoses.iter().any(|other| is_still(one, other));
    let blind = now.not_checked.iter().find(|other| other.rule == one.rule).filter(|_| !is_found);
    let predictions = one.remedies.iter().filter_map(|remedy| predict(remedy, now, elapsed_s));
    Followed {
        rule: one.rule.clone(),
        endpoint: one.endpoint.clone(),
        found: blind.is_none().then_some(is_found),
        not_checked: blind.map(|blind| blind.why.clone()),
        predictions: predictions.collect(),
    }
}

fn predict(remedy: &Remedy, now: &Report, elapsed_s: Option<u64>) -> Option<Prediction> {
    let effect = remedy.effect.clone()?;
    let measured = now.measured(&effect);
    let value = measured.as_ref().ok().copied();
    let time_passed = elapsed_s.map(|elapsed| elapsed >= u64::from(effect.within_s));
    Some(Prediction {
        kind: remedy.kind,
        remedy: remedy.text.clone(),
        setting: remedy.setting.as_ref().map(|setting| setting.name.clone()),
        applied: applied(remedy, &effect, value, now),
        predicted_percent: effect.percent(),
        observed_percent: value.and_then(|value| effect.percent_at(value)),
        outcome: value.map_or(Outcome::NotMeasured, |value| outcome(&effect, value, time_passed)),
        effect,
        value,
        time_passed,
        not_measured: measured.err(),
    })
}

/// A setting shows whether it was made; the range of ports shows in the budget. What a program does is not seen.
fn applied(remedy: &Remedy, effect: &Effect, value: Option<f64>, now: &Report) -> Option<bool> {
    if let Some(setting) = &remedy.setting {
        let value = now.host.sysctls.get(&setting.name)?;
        return Some(value.to_string() == setting.proposed);
    }
    value.filter(|_| effect.measure == Measure::Budget).map(|value| value != effect.from)
}

/// How much of a predicted change counts as that change; a guess: traffic is never twice the same.
const MOST: f64 = 0.8;

fn outcome(effect: &Effect, value: f64, time_passed: Option<bool>) -> Outcome {
    let predicted = effect.to - effect.from;
    if predicted == 0.0 {
        return Outcome::Unknown;
    }
    if (value - effect.from) / predicted >= MOST {
        return Outcome::Met;
    }
    match time_passed {
        Some(true) => Outcome::Missed,
        Some(false) => Outcome::TooEarly,
        None => Outcome::Unknown,
    }
}
