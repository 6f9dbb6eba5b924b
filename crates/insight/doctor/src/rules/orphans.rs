//! Row 10: many sockets without an owner still try to deliver.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::view::{View, percent};

pub(super) const RULE: Rule = Rule {
    row: 10,
    name: "orphans",
    symptom: "many orphaned sockets, or TCPAbortOnMemory grows",
    covers: &[],
    look,
};

fn look(view: &View<'_>) -> Look {
    let orphans = view.gauge("TCP.orphan")?;
    let limit = view.need_sysctl("net.ipv4.tcp_max_orphans")?;
    let aborted = view.grown("TcpExt.TCPAbortOnMemory")?;
    // Half: the kernel itself counts an orphan up to four times when it is short of memory (net/ipv4/tcp_timer.c).
    if aborted == 0 && percent(orphans, limit) < 50 {
        return Ok(vec![]);
    }
    let severity = if aborted > 0 { Severity::Critical } else { Severity::Warning };
    let retries = view.sysctl("net.ipv4.tcp_orphan_retries");
    let mut case = Case::new(
        severity,
        "peers vanish while our last bytes are still to be delivered; the kernel keeps trying for closed sockets",
    )
    .seen(format!(
        "{orphans} of {limit} orphans on the whole host; {aborted} connections were reset for want of room"
    ))
    .helps(Remedy::code(
        "set TCP_USER_TIMEOUT (30 s), so that unacknowledged data gives up in time; keep send buffers small",
        "an orphan lasts at most 30 s instead of minutes",
        "`orphan` in /proc/net/sockstat falls",
    ))
    .does_not_help(
        "tcp_fin_timeout: these sockets are before FIN_WAIT_2, their data is not acknowledged",
    );
    // 0 means 8; where somebody has set fewer already, there is nothing to gain.
    if retries.is_some_and(|retries| retries == 0 || retries > PROPOSED) {
        case = case.helps(Remedy::sysctl(
            ("net.ipv4.tcp_orphan_retries", retries, PROPOSED.to_string()),
            "the kernel's retries for closed sockets are many (0 means 8)",
            format!("an orphan gives up after {PROPOSED} retries: seconds instead of a minute or more"),
            "`orphan` in /proc/net/sockstat falls",
        ));
    }
    Ok(vec![case])
}

/// A guess: fewer would give up on peers that are only slow.
const PROPOSED: u64 = 3;
