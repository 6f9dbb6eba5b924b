//! What `tcp_tw_reuse` lets `connect` do, and how many connections a second follow from it.

use std::collections::BTreeMap;

/// Whether `connect` may take over a TIME_WAIT to this destination. Timestamps are on where nobody says otherwise.
pub(crate) fn is_on(settings: &BTreeMap<String, u64>, is_loopback: bool) -> bool {
    let setting = |name: &str| settings.get(name).copied();
    let reuse = setting("net.ipv4.tcp_tw_reuse");
    (reuse == Some(1) || (reuse == Some(2) && is_loopback)) && setting("net.ipv4.tcp_timestamps") != Some(0)
}

/// How old a TIME_WAIT must be for that: a second in kernels without the setting.
pub(crate) fn delay_ms(settings: &BTreeMap<String, u64>) -> u64 {
    settings.get("net.ipv4.tcp_tw_reuse_delay").copied().unwrap_or(1000).max(1)
}

/// New connections a second to one destination, on average, where each port rests for 60 s.
pub(crate) fn resting_limit(ports: u32) -> f64 {
    f64::from(ports) / 60.0
}

/// The same where `connect` takes ports over.
pub(crate) fn taking_over_limit(ports: u32, settings: &BTreeMap<String, u64>) -> f64 {
    f64::from(ports) * 1000.0 / delay_ms(settings) as f64
}
