//! Row 12: connecting takes whole seconds, because a SYN had to be repeated.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    row: 12,
    name: "connect-modes",
    symptom: "connecting takes about 1, 2 or 3 whole seconds",
    covers: &[],
    look,
};

/// Single losses happen on every network; a guess.
const MANY: u64 = 3;

fn look(view: &View<'_>) -> Look {
    let repeated = view.grown("TcpExt.TCPSynRetrans")?;
    let dropped = view.grown("TcpExt.ListenOverflows")?;
    let connects =
        view.all.engine.iter().flat_map(|engine| &engine.targets).flat_map(|target| &target.connect_ms);
    // The first repeat comes after 1 s, later ones after 1 s each (tcp_syn_linear_timeouts) or after doubled spans.
    let late = connects.filter(|&&ms| ms >= 950 && ms % 1000 <= 250).count() as u64;
    // Our own full accept queue is row 11, and a single destination row 18.
    if dropped > 0 || (repeated < MANY && late < MANY) || super::nat_budget::is_one_destination(view) {
        return Ok(vec![]);
    }
    let reused = view
        .grown_or_zero("TcpExt.PAWSTimewait")
        .saturating_add(view.grown_or_zero("TcpExt.TCPACKSkippedTimeWait"));
    let base = |cause| {
        Case::new(Severity::Warning, cause)
            .seen(format!(
                "{repeated} SYN repeated in {:.1} s; {late} connects took whole seconds",
                view.seconds()
            ))
            .seen(format!("{reused} segments came to a TIME_WAIT that refused them"))
    };
    let case = if reused > 0 {
        base(
            "a SYN came to a TIME_WAIT of the same ports with an older timestamp or \
             sequence, and the peer tried again after 1 s",
        )
        .helps(Remedy::code(
            "reuse connections, or let the side close first whose ports are not chosen anew",
            "no SYN meets a TIME_WAIT; connecting takes a round trip",
            "TcpExt PAWSTimewait stands still",
        ))
        .does_not_help("tcp_rfc1337=1: it makes this second up to a minute")
    } else {
        base(
            "SYNs, or the answers to them, are lost on the way or dropped by the peer's \
             full accept queue",
        )
        .helps(Remedy::code(
            "reuse connections, so that fewer SYNs are needed, and look at the peer's \
             ListenOverflows (run the doctor there)",
            "connecting takes a round trip",
            "TcpExt TCPSynRetrans stands still",
        ))
    };
    Ok(vec![case.does_not_help(
        "tcp_fin_timeout and tcp_tw_reuse here: the SYN left with a port of its own, \
             and was not answered",
    )])
}
