//! Row 5: many TIME_WAIT on a port that is listened on: our server closes first, which costs no port.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::observation::{Endpoint, Side};
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    row: 5,
    name: "time-wait-listening",
    symptom: "many TIME_WAIT on a listening port",
    covers: &[],
    look,
};

/// A guess; the kernel keeps 131,072 by default, 256 bytes each.
const MANY: u32 = 1000;

fn look(view: &View<'_>) -> Look {
    let is_many = |one: &&Endpoint| one.states.time_wait >= MANY;
    Ok(view.on_side(Side::Listening).filter(is_many).map(|one| case(view, one)).collect())
}

fn case(view: &View<'_>, one: &Endpoint) -> Case {
    let waits = one.states.time_wait;
    let limit =
        view.sysctl("net.ipv4.tcp_max_tw_buckets").map_or("unknown".to_owned(), |limit| limit.to_string());
    Case::new(
        Severity::Note,
        format!("the server at {} closes first; this uses no port, and nothing has to be done", one.local),
    )
    .at(one)
    .seen(format!("{waits} TIME_WAIT, {} KiB; the kernel's limit is {limit}", waits / 4))
    .seen(format!("{:.1} closes a second", one.time_wait_rate()))
    .helps(Remedy::configuration(
        "if connections are to live longer: raise the server's idle limit and its \
             requests per connection, and let clients keep them alive",
        "fewer handshakes; ports are not at stake on this side",
        "closes a second",
    ))
    .does_not_help("tcp_tw_reuse: it acts on outgoing connections only")
    .does_not_help(format!(
        "tcp_fin_timeout: it acts on orphaned FIN_WAIT_2 only ({} here)",
        one.states.fin_wait_2_orphan
    ))
}
