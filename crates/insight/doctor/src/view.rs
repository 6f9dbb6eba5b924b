//! Questions that several rules ask of an observation.

use crate::engine::{EngineFacts, TargetFacts};
use crate::observation::{EXPIRY_STEP_S, Endpoint, Observation, Sample, Side};
use crate::reuse::Takeable;

/// An observation with at least three samples.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) all: &'a Observation,
    pub(crate) first: &'a Sample,
    pub(crate) last: &'a Sample,
}

impl<'a> View<'a> {
    pub(crate) fn new(all: &'a Observation) -> Option<Self> {
        let enough = all.samples.len() >= Observation::SAMPLES_MIN;
        let (first, last) = (all.samples.first()?, all.samples.last()?);
        enough.then_some(Self { all, first, last })
    }

    /// The time between the first sample and the last.
    pub(crate) fn seconds(&self) -> f64 {
        let ms = self.last.at_ms.saturating_sub(self.first.at_ms);
        (ms as f64 / 1000.0).max(0.001)
    }

    /// How much a counter grew.
    pub(crate) fn grown(&self, counter: &str) -> Result<u64, String> {
        let value = |sample: &Sample| sample.counters.get(counter).copied();
        let values = value(self.first).zip(value(self.last));
        let (first, last) = values.ok_or_else(|| format!("the counter {counter} could not be read"))?;
        Ok(last.saturating_sub(first))
    }

    /// The same, zero if it is not known: for context only.
    pub(crate) fn grown_or_zero(&self, counter: &str) -> u64 {
        self.grown(counter).unwrap_or(0)
    }

    pub(crate) fn gauge(&self, name: &str) -> Result<u64, String> {
        let value = self.last.gauges.get(name).copied();
        value.ok_or_else(|| format!("{name} could not be read"))
    }

    pub(crate) fn sysctl(&self, name: &str) -> Option<u64> {
        self.all.sysctls.get(name).copied()
    }

    pub(crate) fn need_sysctl(&self, name: &str) -> Result<u64, String> {
        self.sysctl(name).ok_or_else(|| format!("the setting {name} could not be read"))
    }

    /// How many ports there are for each destination.
    pub(crate) fn ports(&self) -> Result<u32, String> {
        let ports = self.all.ports.filter(|&ports| ports > 0);
        ports.ok_or_else(|| "the range of local ports could not be read".to_owned())
    }

    pub(crate) fn engine(&self) -> Result<&'a EngineFacts, String> {
        self.all.engine.as_ref().ok_or_else(|| "only an engine knows, and none was asked".to_owned())
    }

    pub(crate) fn target(&self, endpoint: &Endpoint) -> Option<&'a TargetFacts> {
        let targets = &self.all.engine.as_ref()?.targets;
        targets.iter().find(|target| target.remote == endpoint.remote)
    }

    /// What `connect` may take over of an endpoint's ports; none where the settings allow nothing.
    pub(crate) fn takeable(&self, one: &Endpoint) -> Option<Takeable> {
        Takeable::of(self.all, one)
    }

    pub(crate) fn on_side(&self, side: Side) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
        self.last.endpoints.iter().filter(move |endpoint| endpoint.side == side)
    }

    /// One number of an endpoint in each sample, zero where it was not there.
    pub(crate) fn history(&self, of: &Endpoint, number: impl Fn(&Endpoint) -> u32) -> Vec<u32> {
        let in_sample = |sample: &Sample| {
            let same = sample
                .endpoints
                .iter()
                .find(|one| one.side == of.side && one.local == of.local && one.remote == of.remote);
            same.map_or(0, &number)
        };
        self.all.samples.iter().map(in_sample).collect()
    }
}

/// Who holds the sockets of an endpoint, as a line of evidence.
pub(crate) fn holders(endpoint: &Endpoint) -> Option<String> {
    let mut parts: Vec<_> = endpoint.holders.iter().map(crate::text::holder).collect();
    if parts.is_empty() {
        return None;
    }
    if endpoint.unknown > 0 {
        parts.push(format!("{} unknown", endpoint.unknown));
    }
    Some(format!("held by {}", parts.join(", ")))
}

/// Seconds until an endpoint has no port left, if it goes on as in its youngest five seconds; none if it never will.
///
/// TIME_WAIT ends after 60 s, so what is held settles at 60 times the rate: the forecast follows the expiries rather than
/// draw a straight line. Where `connect` is seen to take ports over, each is lost for the delay only.
pub(crate) fn seconds_to_exhaustion(
    endpoint: &Endpoint,
    ports: u32,
    takeable: Option<Takeable>,
) -> Option<u32> {
    if endpoint.side == Side::Listening {
        return None;
    }
    if let Some(takeable) = takeable.filter(Takeable::is_shown) {
        return seconds_with_taking_over(endpoint, ports, &takeable);
    }
    if endpoint.held >= ports {
        return Some(0);
    }
    let rate = endpoint.time_wait_rate();
    if rate <= 0.0 {
        return None;
    }
    let mut held = f64::from(endpoint.held);
    for second in 1..=60 {
        let step = endpoint.expiries.get(((second - 1) / EXPIRY_STEP_S) as usize).copied().unwrap_or(0);
        held += rate - f64::from(step) / f64::from(EXPIRY_STEP_S);
        if held >= f64::from(ports) {
            return Some(second);
        }
    }
    None
}

/// The young TIME_WAIT of now are old enough after the delay, and as many are there again as close in that time.
fn seconds_with_taking_over(endpoint: &Endpoint, ports: u32, takeable: &Takeable) -> Option<u32> {
    let lost = endpoint.held.saturating_sub(takeable.ports);
    if lost >= ports {
        return Some(0);
    }
    let delay_s = takeable.delay_ms as f64 / 1000.0;
    let young = f64::from(endpoint.states.time_wait.saturating_sub(takeable.ports).min(lost));
    let growth = endpoint.time_wait_rate() - young / delay_s;
    let seconds = (f64::from(ports) - f64::from(lost)) / growth;
    (growth > 0.0 && seconds <= delay_s).then_some(seconds.ceil() as u32)
}

/// `part` of `whole` in percent.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}
