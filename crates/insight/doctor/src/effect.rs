//! What a remedy will change, as numbers. The words of a remedy are written from them, so the two can't disagree.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number that a report shows, and a remedy changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// Sockets of an endpoint in TIME_WAIT.
    TimeWait,
    /// Sockets of an endpoint in CLOSE_WAIT.
    CloseWait,
    /// Sockets of an endpoint in FIN_WAIT_2 that nobody holds.
    #[serde(rename = "fin_wait_2_orphan")]
    FinWait2Orphan,
    /// Established connections of an endpoint that wait for an ACK in vain.
    Stalled,
    /// Local ports that there are for an endpoint's destination.
    Budget,
    /// New connections a second that these ports allow. It is calculated, by range, `tcp_tw_reuse` and what it needs: nobody
    /// can count connections that were not tried.
    ConnectLimit,
    /// How many connections may wait to be accepted at a listener.
    Backlog,
    /// How many wait there.
    AcceptQueue,
    /// Ports bound by sockets without a connection.
    BoundPorts,
    /// Flows that the firewall tracks, in percent of its table.
    TrackedPercent,
    /// Closes a second that skip TIME_WAIT.
    TimeWaitSkipped,
    /// Closes a second over data unread.
    ResetsAtClose,
    /// The median time in `connect()` in microseconds; only an engine knows it.
    ConnectCallUs,
    /// Failures in a thousand calls on reused connections; only an engine knows them.
    ReusedFailures,
    /// The most connections opened in one second; only an engine knows it.
    OpensPeak,
}

impl Measure {
    /// What is counted, as sentences name it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::TimeWait => "TIME_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::FinWait2Orphan => "FIN_WAIT_2 without an owner",
            Self::Stalled => "connections without an ACK for 30 s",
            Self::Budget => "local ports for the destination",
            Self::ConnectLimit => "new connections a second that the ports allow",
            Self::Backlog => "room in the accept queue",
            Self::AcceptQueue => "connections in the accept queue",
            Self::BoundPorts => "ports bound without a connection",
            Self::TrackedPercent => "tracked flows in percent of the table",
            Self::TimeWaitSkipped => "closes a second that skip TIME_WAIT",
            Self::ResetsAtClose => "closes a second with data unread",
            Self::ConnectCallUs => "microseconds in connect()",
            Self::ReusedFailures => "failures in a thousand calls on reused connections",
            Self::OpensPeak => "most connects in a second",
        }
    }
}

/// How one number will change.
///
/// ```
/// use millstream_doctor::{Effect, Measure};
///
/// let text = r#"{"measure":"time_wait","endpoint":"10.9.0.1 -> 10.9.0.2:80","from":40.0,"to":0.0,"within_s":60}"#;
/// let effect: Effect = serde_json::from_str(text)?;
/// assert_eq!((effect.measure, effect.percent()), (Measure::TimeWait, Some(-100.0)));
/// assert_eq!(effect.to_string(), "TIME_WAIT from 40 to about 0 in 60 s");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Effect {
    /// What changes.
    pub measure: Measure,
    /// Of which endpoint, listener or target; none if it is of the whole host.
    pub endpoint: Option<String>,
    /// What it is.
    pub from: f64,
    /// What it will be.
    pub to: f64,
    /// How many seconds that takes, once the remedy acts.
    pub within_s: u32,
}

impl Effect {
    /// Of the whole host, and at once.
    pub(crate) fn of(measure: Measure, from: f64, to: f64) -> Self {
        Self { measure, endpoint: None, from: hundredths(from), to: hundredths(to), within_s: 0 }
    }

    /// It is a number of this endpoint, listener or target.
    pub(crate) fn at(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// It takes so many seconds.
    pub(crate) fn within(mut self, seconds: u64) -> Self {
        self.within_s = u32::try_from(seconds).unwrap_or(u32::MAX);
        self
    }

    /// In words, with more behind them.
    pub(crate) fn and(self, more: impl fmt::Display) -> Expected {
        Expected { words: format!("{self}; {more}"), effect: Some(self) }
    }

    /// By how many percent it will change; none from zero.
    pub fn percent(&self) -> Option<f64> {
        self.percent_at(self.to)
    }

    /// By how many percent it has changed when it is this.
    pub(crate) fn percent_at(&self, value: f64) -> Option<f64> {
        (self.from != 0.0).then(|| hundredths((value - self.from) / self.from * 100.0))
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} to about {}", self.measure.words(), number(self.from), number(self.to))?;
        match self.within_s {
            0 => Ok(()),
            seconds => write!(f, " in {seconds} s"),
        }
    }
}

/// What a remedy will change, for people and, where it is a number, for programs.
pub(crate) struct Expected {
    pub(crate) words: String,
    pub(crate) effect: Option<Effect>,
}

impl From<&str> for Expected {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

impl From<String> for Expected {
    fn from(words: String) -> Self {
        Self { words, effect: None }
    }
}

impl From<Effect> for Expected {
    fn from(effect: Effect) -> Self {
        Self { words: effect.to_string(), effect: Some(effect) }
    }
}

/// A number as people read it: whole, or with one decimal where that tells more.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size.fract() == 0.0 || size >= 1000.0 => 0,
        size if size >= 1.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// More digits than anybody reads make two reports differ that say the same.
pub(crate) fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_percent_come_from_the_same_numbers() {
        let effect = Effect::of(Measure::FinWait2Orphan, 40.0, 3.0).at("a <- *").within(60);
        assert_eq!(effect.percent(), Some(-92.5));
        let expected = effect.clone().and("without root");
        assert_eq!(expected.words, "FIN_WAIT_2 without an owner from 40 to about 3 in 60 s; without root");
        assert_eq!(expected.effect, Some(effect));
        assert_eq!(Expected::from("much").effect, None);
    }

    #[test]
    fn nothing_is_a_share_of_zero() {
        assert_eq!(Effect::of(Measure::CloseWait, 0.0, 5.0).percent(), None);
    }

    #[test]
    fn numbers_are_as_long_as_they_tell_something() {
        for (value, text) in
            [(0.0, "0"), (1.666, "1.7"), (0.04, "0.04"), (28_232.0, "28232"), (1234.6, "1235")]
        {
            assert_eq!(number(value), text);
        }
    }
}
