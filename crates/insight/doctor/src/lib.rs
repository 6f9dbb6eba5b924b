//! Diagnosis of a host's connections: evidence, conclusion, remedy, expected effect, and how it is checked.
//!
//! An [`Observation`] is plain data. [`Report::of`] lets 22 rules look at it. A rule speaks only of what it saw, says what
//! would not help, and says so when its facts are missing. [`Comparison::of`] puts a report beside an earlier one: did the
//! remedy do what its [`Effect`] predicted?
//!
//! ```
//! use millstream_doctor::{Observation, Report, Verdict};
//!
//! let report = Report::of(&Observation::default());
//! assert_eq!(report.verdict, Verdict::Ok);
//! // Without samples nothing can be said, and that is said.
//! assert_eq!(report.not_checked.len(), 22);
//! ```

mod comparison;
mod diagnosis;
mod effect;
mod engine;
mod measured;
mod observation;
mod observe;
mod report;
mod reuse;
mod rules;
mod text;
mod tuning;
mod view;

pub use comparison::{Appeared, ChangedSetting, Comparison, Followed, Outcome, Prediction};
pub use diagnosis::{Diagnosis, Remedy, RemedyKind, Setting, Severity};
pub use effect::{Effect, Measure};
pub use engine::{EngineFacts, Held, TargetFacts};
pub use observation::{
    Confidence, Descriptors, EXPIRY_STEP_S, Endpoint, Holder, Listener, Observation, Sample, Side, States,
};
pub use observe::{Observer, closed_by_peers};
pub use report::{EndpointRow, Host, NotChecked, Report, TargetRow, Verdict};
pub use tuning::{Change, Revert};
