//! What `tcp_tw_reuse` lets `connect` do: which TIME_WAIT it takes over, and how many connections a second follow from it.

use std::collections::BTreeMap;

use crate::observation::{EXPIRY_STEP_S, Endpoint, Observation, Side};

/// The setting that says how long a TIME_WAIT rests before it may be taken over.
pub(crate) const DELAY: &str = "net.ipv4.tcp_tw_reuse_delay";

/// `TCP_TIMEWAIT_LEN`, a constant of the kernel (include/net/tcp.h).
pub(crate) const TIME_WAIT_MS: u64 = 60_000;

/// Whether `connect` may take over a TIME_WAIT to this destination. Timestamps are on where nobody says otherwise.
pub(crate) fn is_on(settings: &BTreeMap<String, u64>, is_loopback: bool) -> bool {
    let setting = |name: &str| settings.get(name).copied();
    let reuse = setting("net.ipv4.tcp_tw_reuse");
    (reuse == Some(1) || (reuse == Some(2) && is_loopback)) && setting("net.ipv4.tcp_timestamps") != Some(0)
}

/// How old a TIME_WAIT must be for that.
pub(crate) fn delay_ms(settings: &BTreeMap<String, u64>) -> u64 {
    delay_or_usual(settings.get(DELAY).copied())
}

/// The same by the setting alone: a second in kernels without it.
pub(crate) fn delay_or_usual(setting: Option<u64>) -> u64 {
    setting.unwrap_or(1000).max(1)
}

/// New connections a second to one destination, on average, where each port rests for 60 s.
pub(crate) fn resting_limit(ports: u32) -> f64 {
    f64::from(ports) / 60.0
}

/// The same where `connect` takes ports over.
pub(crate) fn taking_over_limit(ports: u32, settings: &BTreeMap<String, u64>) -> f64 {
    f64::from(ports) * 1000.0 / delay_ms(settings) as f64
}

/// The ports of an endpoint in TIME_WAIT that `connect` may take over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takeable {
    /// How many there are.
    pub(crate) ports: u32,
    /// How long each has rested at least.
    pub(crate) delay_ms: u64,
    /// Whether they were counted; else they are estimated from the expiries.
    is_counted: bool,
    /// How many TIME_WAIT the host took over while it was looked at.
    recycled: u64,
    /// Whether both ends are of this host.
    is_loopback: bool,
}

impl Takeable {
    /// None where the settings allow no taking over.
    pub(crate) fn of(all: &Observation, one: &Endpoint) -> Option<Self> {
        if one.side != Side::Connecting || !is_on(&all.sysctls, one.is_loopback) {
            return None;
        }
        let delay_ms = delay_ms(&all.sysctls);
        let ports = one.rested.unwrap_or_else(|| one.states.time_wait.saturating_sub(young(one, delay_ms)));
        let counter = |at: Option<&crate::Sample>| at?.counters.get("TcpExt.TWRecycled").copied();
        let counted = counter(all.samples.first()).zip(counter(all.samples.last()));
        Some(Self {
            ports: ports.min(one.held).min(one.states.time_wait),
            delay_ms,
            is_counted: one.rested.is_some(),
            recycled: counted.map_or(0, |(first, last)| last.saturating_sub(first)),
            is_loopback: one.is_loopback,
        })
    }

    /// Whether new connections do take ports over, rather than only may. The kernel does not tell which TIME_WAIT has the peer's
    /// timestamps, which it takes as well: that is shown by the counter, or by the peer being this host.
    pub(crate) fn is_shown(&self) -> bool {
        self.recycled > 0 || self.is_loopback
    }

    /// How many there are, and what shows that they are taken over, as a line of evidence.
    pub(crate) fn evidence(&self, seconds: f64) -> String {
        let Self { ports, delay_ms, recycled, .. } = self;
        let known = if self.is_counted { "" } else { " (estimated: they were not counted by age)" };
        let shown = match (recycled, self.is_loopback) {
            (0, true) => "connect() takes them over when it needs a port".to_owned(),
            (0, false) => format!(
                "connect() may take them over, but did not in {seconds:.1} s: nobody connected, or the \
                 peers send no timestamps, or the ports were bound"
            ),
            _ => format!("connect() takes them over (TWRecycled: {recycled} in {seconds:.1} s)"),
        };
        format!("{ports} ports have been in TIME_WAIT for more than {delay_ms} ms{known}: {shown}")
    }
}

/// TIME_WAIT younger than the delay, by the steps of the expiries as if the ages were even within each; without them, as if they
/// were even within the 60 s.
fn young(one: &Endpoint, delay_ms: u64) -> u32 {
    let share =
        |count: u32, of_ms: u64, ms: u64| u64::from(count).saturating_mul(ms.min(of_ms)).div_ceil(of_ms);
    let step_ms = u64::from(EXPIRY_STEP_S) * 1000;
    let count = match one.expiries.iter().any(|&count| count > 0) {
        false => share(one.states.time_wait, TIME_WAIT_MS, delay_ms),
        true => one.expiries.iter().rev().zip(0..).fold(0u64, |sum, (&count, step)| {
            sum.saturating_add(share(count, step_ms, delay_ms.saturating_sub(step * step_ms)))
        }),
    };
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn young_ones_are_a_share_of_the_youngest_steps() {
        let mut one = Endpoint::default();
        one.states.time_wait = 600;
        assert_eq!((young(&one, 1000), young(&one, 60_000)), (10, 600));
        one.expiries = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 400, 100, 100];
        for (delay_ms, count) in [(1000, 20), (1, 1), (5000, 100), (7500, 150), (15_000, 600), (60_000, 600)]
        {
            assert_eq!(young(&one, delay_ms), count, "{delay_ms} ms");
        }
    }
}
