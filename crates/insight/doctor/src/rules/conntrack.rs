//! Row 17: the firewall's table of flows is almost full; new flows are dropped then.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Measure};
use crate::view::{View, percent};

pub(super) const RULE: Rule = Rule {
    row: 17,
    name: "conntrack",
    symptom: "\"nf_conntrack: table full\" in the log, and SYNs are lost",
    covers: &[],
    look,
};

const MAX: &str = "net.netfilter.nf_conntrack_max";

fn look(view: &View<'_>) -> Look {
    let none = |_| "nf_conntrack is not loaded, or could not be read".to_owned();
    let count = view.need_sysctl("net.netfilter.nf_conntrack_count").map_err(none)?;
    let max = view.need_sysctl(MAX).map_err(none)?;
    let used = percent(count, max);
    // 85 % is a guess. Zero means no limit.
    if max == 0 || used <= 85 {
        return Ok(vec![]);
    }
    let severity = if used >= 98 { Severity::Critical } else { Severity::Warning };
    let proposed = max.saturating_mul(2);
    Ok(vec![
        Case::new(
            severity,
            "the table of tracked flows is almost full; packets of new flows are dropped then",
        )
        .seen(format!("{count} of {max} flows are tracked: {used} %"))
        .helps(Remedy::code(
            "reuse connections",
            "each is one flow less, for two minutes after it ends",
            "nf_conntrack_count falls",
        ))
        .helps(Remedy::configuration(
            "do not track what needs no tracking (NOTRACK for a server's port)",
            "its flows leave the table",
            "nf_conntrack_count falls",
        ))
        .helps(Remedy::sysctl(
            (MAX, Some(max), proposed.to_string()),
            "the table is the limit",
            Effect::of(Measure::TrackedPercent, used as f64, percent(count, proposed) as f64)
                .and("about 320 bytes for each flow"),
            "nf_conntrack_count / nf_conntrack_max",
        ))
        .does_not_help("tcp_tw_reuse and tcp_fin_timeout: they act on sockets, not on this table"),
    ])
}
