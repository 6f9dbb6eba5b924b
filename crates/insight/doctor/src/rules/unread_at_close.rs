//! Row 13: sockets are closed with data unread, which sends a RST instead of a FIN.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::effect::{Effect, Expected, Measure};
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    row: 13,
    name: "unread-at-close",
    symptom: "peers get a reset instead of a response",
    covers: &[],
    look,
};

/// Single ones are clients that lose interest; a guess.
const MANY: u64 = 3;

fn look(view: &View<'_>) -> Look {
    let resets = view.grown("TcpExt.TCPAbortOnClose")?;
    let targets = view.all.engine.iter().flat_map(|engine| &engine.targets);
    let lost: Vec<_> = targets.filter(|target| target.reset_after_request > 0).collect();
    if resets < MANY && lost.is_empty() {
        return Ok(vec![]);
    }
    let mut case = Case::new(
        Severity::Warning,
        "close() with data unread sends a RST, which may destroy the last response in \
             the peer's buffer",
    )
    .seen(format!("{resets} closes with unread data on this host in {:.1} s", view.seconds()));
    for target in lost {
        let (count, name) = (target.reset_after_request, &target.target);
        case = case.seen(format!("{count} requests to {name} got a reset after they were written"));
    }
    let expected = match resets {
        0 => Expected::from("TCPAbortOnClose grows by 0"),
        _ => Effect::of(Measure::ResetsAtClose, resets as f64 / view.seconds(), 0.0).into(),
    };
    Ok(vec![
        case.helps(Remedy::code(
            "the server reads (and drops) the rest of the request within a limit, or \
             closes its half and lingers until the peer has read",
            expected,
            "TcpExt TCPAbortOnClose stands still",
        ))
        .does_not_help("SO_LINGER with 0: it sends a RST always")
        .does_not_help("tcp_fin_timeout: no FIN is sent here"),
    ])
}
