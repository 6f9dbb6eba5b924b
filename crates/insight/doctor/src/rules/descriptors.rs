//! Row 21: descriptors are short, which looks like a want of ports.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::observation::Descriptors;
use crate::view::{View, percent};

pub(super) const RULE: Rule = Rule {
    row: 21,
    name: "descriptors",
    symptom: "EMFILE or ENFILE, taken for a want of ports",
    covers: &[],
    look,
};

/// A guess.
const FULL_PERCENT: u64 = 90;

fn look(view: &View<'_>) -> Look {
    let mut cases: Vec<_> = view
        .all
        .descriptors
        .iter()
        .filter(|one| percent(one.open, one.limit) >= FULL_PERCENT)
        .map(case)
        .collect();
    let refused = view.all.engine.as_ref().map_or(0, |engine| engine.descriptors_refused);
    if refused > 0 && cases.is_empty() {
        cases.push(remedies(
            Case::new(Severity::Critical, "the engine's process has no descriptor left")
                .seen(format!("{refused} sockets could not be made (EMFILE, ENFILE)")),
        ));
    }
    let host = view.sysctl("fs.file-nr").zip(view.sysctl("fs.file-max"));
    if let Some((open, max)) = host.filter(|&(open, max)| percent(open, max) >= FULL_PERCENT) {
        cases.push(
            Case::new(Severity::Critical, "the host has almost no file descriptions left")
                .seen(format!("{open} of {max} (fs.file-max) are in use"))
                .helps(Remedy::code(
                    "find the process that leaks them",
                    "the count falls",
                    "/proc/sys/fs/file-nr",
                ))
                .does_not_help("any setting of TCP: no port is missing"),
        );
    }
    if cases.is_empty() && view.all.descriptors.is_empty() && host.is_none() {
        return Err("no process's limit of descriptors could be read".to_owned());
    }
    Ok(cases)
}

fn case(one: &Descriptors) -> Case {
    let severity = if one.open >= one.limit { Severity::Critical } else { Severity::Warning };
    remedies(
        Case::new(severity, format!("{} (pid {}) has almost no descriptor left", one.name, one.pid))
            .at_place(format!("{} (pid {})", one.name, one.pid), None)
            .seen(format!("{} descriptors open, its limit is {}", one.open, one.limit)),
    )
}

fn remedies(case: Case) -> Case {
    case.helps(Remedy::code(
        "bound the connections below the limit, and keep one descriptor in reserve to \
             accept and close with",
        "no EMFILE",
        "/proc/PID/fd against /proc/PID/limits",
    ))
    .helps(Remedy::configuration(
        "raise the limit: `ulimit -n`, or LimitNOFILE of the service",
        "as many as are set",
        "/proc/PID/limits",
    ))
    .does_not_help("widening ip_local_port_range, or tcp_tw_reuse: no port is missing")
}
