//! What a measure is in a report; where it can't be found, why.

use std::net::SocketAddr;

use crate::effect::{Effect, Measure, hundredths};
use crate::observation::Listener;
use crate::report::{EndpointRow, Report, TargetRow};
use crate::reuse;

/// A number, or why there is none.
type Found = Result<f64, String>;

impl Report {
    /// The number that this effect is about, as it is in this report.
    pub(crate) fn measured(&self, effect: &Effect) -> Found {
        let place = effect.endpoint.as_deref().unwrap_or("this host");
        match effect.measure {
            Measure::TimeWait => Ok(self.row(place)?.time_wait.into()),
            Measure::CloseWait => Ok(self.row(place)?.close_wait.into()),
            Measure::FinWait2Orphan => told(self.row(place)?.fin_wait_2_orphan),
            Measure::Stalled => told(self.row(place)?.stalled),
            Measure::Budget => told(self.row(place)?.budget),
            Measure::ConnectLimit => self.connect_limit(self.row(place)?),
            Measure::Backlog => Ok(self.listener(place)?.backlog.into()),
            Measure::AcceptQueue => Ok(self.listener(place)?.waiting.into()),
            Measure::BoundPorts => told(self.states.get("bound_inactive").map(|count| *count as f64)),
            Measure::TrackedPercent => self.tracked(),
            Measure::TimeWaitSkipped => self.rate("TcpExt.TCPTimeWaitOverflow", "time-wait-limit"),
            Measure::ResetsAtClose => self.rate("TcpExt.TCPAbortOnClose", "unread-at-close"),
            Measure::ConnectCallUs => told(self.target(place)?.connect_call_us.map(|us| us as f64)),
            Measure::ReusedFailures => told(self.target(place)?.reused_failures),
            Measure::OpensPeak => told(self.target(place)?.opens_peak),
        }
    }

    /// Sockets that are gone were not counted: none is not the same as a cure.
    fn row(&self, name: &str) -> Result<&EndpointRow, String> {
        let row = self.endpoints.iter().find(|row| row.name() == name);
        row.ok_or_else(|| format!("{name} has no sockets any more"))
    }

    fn listener(&self, local: &str) -> Result<&Listener, String> {
        let listener = self.listeners.iter().find(|one| one.local == local);
        listener.ok_or_else(|| format!("nobody listens at {local} any more"))
    }

    fn target(&self, name: &str) -> Result<&TargetRow, String> {
        if self.targets.is_empty() {
            return Err("only an engine knows, and none was asked".to_owned());
        }
        let target = self.targets.iter().find(|one| one.target == name);
        target.ok_or_else(|| format!("the engine had no calls to {name}"))
    }

    fn connect_limit(&self, row: &EndpointRow) -> Found {
        let ports = row.budget.ok_or(UNTOLD)?;
        let settings = &self.host.sysctls;
        if !settings.contains_key("net.ipv4.tcp_tw_reuse") {
            return Err("the setting net.ipv4.tcp_tw_reuse could not be read".to_owned());
        }
        let remote = row.remote.parse().map(|remote: SocketAddr| remote.ip());
        let is_on = reuse::is_on(settings, remote.is_ok_and(|ip| ip.is_loopback()));
        Ok(hundredths(match is_on {
            true => reuse::taking_over_limit(ports, settings),
            false => reuse::resting_limit(ports),
        }))
    }

    fn tracked(&self) -> Found {
        let setting = |name| self.host.sysctls.get(name).copied();
        let used = setting("net.netfilter.nf_conntrack_count").zip(setting("net.netfilter.nf_conntrack_max"));
        told(used.map(|(count, max)| crate::view::percent(count, max) as f64))
    }

    /// By how much a counter grew in a second. One that did not grow is not in the report, as is one that could not be read;
    /// then the rule that needs it could not look.
    fn rate(&self, counter: &str, rule: &str) -> Found {
        if let Some(one) = self.not_checked.iter().find(|one| one.rule == rule) {
            return Err(one.why.clone());
        }
        let grown = self.host.counters.get(counter).copied().unwrap_or(0);
        Ok(hundredths(grown as f64 * 1000.0 / self.host.observed_ms.max(1) as f64))
    }
}

fn told(value: Option<impl Into<f64>>) -> Found {
    value.map(Into::into).ok_or_else(|| UNTOLD.to_owned())
}

const UNTOLD: &str = "the new report does not tell it";
