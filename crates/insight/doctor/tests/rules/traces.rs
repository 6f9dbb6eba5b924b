//! Observations made by hand: a healthy host, and how to disturb it.

use millstream_doctor::{Endpoint, EngineFacts, Listener, Observation, Sample, Side, TargetFacts};

/// Ports of the default range, 32768 to 60999.
pub(crate) const PORTS: u32 = 28_232;

/// Three samples of a host where nothing is wrong, two seconds long.
pub(crate) fn healthy() -> Observation {
    let mut all = Observation::default();
    all.ports = Some(PORTS);
    for (name, value) in [
        ("net.ipv4.tcp_tw_reuse", 2),
        ("net.ipv4.tcp_tw_reuse_delay", 1000),
        ("net.ipv4.tcp_timestamps", 1),
        ("net.ipv4.tcp_fin_timeout", 60),
        ("net.ipv4.tcp_max_tw_buckets", 131_072),
        ("net.ipv4.tcp_max_orphans", 131_072),
        ("net.ipv4.tcp_orphan_retries", 0),
        ("net.core.somaxconn", 4096),
        ("net.netfilter.nf_conntrack_count", 1000),
        ("net.netfilter.nf_conntrack_max", 262_144),
        ("fs.file-nr", 1000),
        ("fs.file-max", 1_000_000),
    ] {
        all.sysctls.insert(name.to_owned(), value);
    }
    for at_ms in [0, 1000, 2000] {
        let mut sample = Sample::default();
        sample.at_ms = at_ms;
        for name in [
            "TCPTimeWaitOverflow",
            "TCPAbortOnMemory",
            "TCPAbortOnClose",
            "ListenOverflows",
            "TCPSynRetrans",
            "PAWSTimewait",
            "TCPACKSkippedTimeWait",
        ] {
            sample.counters.insert(format!("TcpExt.{name}"), 500);
        }
        sample.gauges.insert("TCP.orphan".to_owned(), 3);
        sample.gauges.insert("TCP.tw".to_owned(), 20);
        all.samples.push(sample);
    }
    let mut engine = EngineFacts::default();
    engine.listen_refused = Some(Vec::new());
    all.engine = Some(engine);
    all
}

pub(crate) fn last(all: &mut Observation) -> &mut Sample {
    all.samples.last_mut().expect("it has three")
}

/// A counter grows by this much until the last sample.
pub(crate) fn grow(all: &mut Observation, name: &str, by: u64) {
    *last(all).counters.entry(format!("TcpExt.{name}")).or_insert(0) += by;
}

/// The same endpoint in each sample; `fill` is told which.
pub(crate) fn endpoint(all: &mut Observation, side: Side, remote: &str, fill: impl Fn(usize, &mut Endpoint)) {
    for (at, sample) in all.samples.iter_mut().enumerate() {
        let mut one = Endpoint::default();
        let local = if side == Side::Connecting { "10.9.0.1" } else { "10.9.0.1:80" };
        (one.local, one.remote, one.side) = (local.to_owned(), remote.to_owned(), side);
        fill(at, &mut one);
        sample.endpoints.push(one);
    }
}

pub(crate) fn listener(all: &mut Observation, waiting: u32, backlog: u32) {
    let mut one = Listener::default();
    (one.local, one.waiting, one.backlog) = ("10.9.0.1:80".to_owned(), waiting, backlog);
    last(all).listeners.push(one);
}

/// What an engine knows about 10.9.0.2:80.
pub(crate) fn target(all: &mut Observation, fill: impl Fn(&mut TargetFacts)) {
    let mut one = TargetFacts::default();
    (one.target, one.remote) = ("db:80".to_owned(), "10.9.0.2:80".to_owned());
    fill(&mut one);
    all.engine.as_mut().expect("a healthy host has one").targets.push(one);
}

/// `connect` may take over TIME_WAIT older than this, and has done so if `recycled` says it.
pub(crate) fn takes_over(all: &mut Observation, delay_ms: u64, recycled: u64) {
    all.sysctls.insert("net.ipv4.tcp_tw_reuse".to_owned(), 1);
    all.sysctls.insert("net.ipv4.tcp_tw_reuse_delay".to_owned(), delay_ms);
    for sample in &mut all.samples {
        sample.counters.insert("TcpExt.TWRecycled".to_owned(), 70);
    }
    grow(all, "TWRecycled", recycled);
}

/// TIME_WAIT of this number, evenly old.
pub(crate) fn waits(one: &mut Endpoint, count: u32) {
    one.states.time_wait = count;
    one.expiries = vec![count / 12; 12];
    one.held = count;
}
