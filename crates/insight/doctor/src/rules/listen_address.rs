//! Row 19: a server can't listen on its address.

use super::{Case, Look, Rule};
use crate::diagnosis::{Remedy, Severity};
use crate::observation::Side;
use crate::view::View;

pub(super) const RULE: Rule = Rule {
    row: 19,
    name: "listen-address",
    symptom: "a server fails to start with EADDRINUSE",
    covers: &[],
    look,
};

fn look(view: &View<'_>) -> Look {
    let refused = view.engine()?.listen_refused.as_ref();
    let refused = refused.ok_or("the engine does not say where it could not listen")?;
    Ok(refused.iter().map(|address| case(view, address)).collect())
}

fn case(view: &View<'_>, address: &str) -> Case {
    let port = |place: &str| place.rsplit_once(':').map(|(_, port)| port.to_owned());
    let wanted = port(address);
    let owner =
        view.last.listeners.iter().find(|one| one.local == address).or_else(|| {
            view.last.listeners.iter().find(|one| wanted.is_some() && port(&one.local) == wanted)
        });
    match owner {
        Some(owner) => {
            let who: Vec<_> = owner.holders.iter().map(crate::text::holder).collect();
            let who = if who.is_empty() { "a process that can't be seen".to_owned() } else { who.join(", ") };
            Case::new(Severity::Critical, format!("{address} is listened on by {who}"))
                .at_place(address, Some(Side::Listening))
                .seen(format!("a listener at {}", owner.local))
                .helps(Remedy::configuration(
                    format!("stop {who}, or choose another port"),
                    "the server starts",
                    "it listens (`ss -tln`)",
                ))
                .does_not_help("SO_REUSEADDR: it does not let two listeners have one port")
        }
        None => {
            let port = wanted.unwrap_or_default();
            let waits = view
                .last
                .endpoints
                .iter()
                .filter(|one| one.local.ends_with(&format!(":{port}")))
                .map(|one| one.states.total())
                .fold(0, u32::saturating_add);
            Case::new(
                Severity::Critical,
                "nobody listens there, but connections of the earlier server still hold the \
             port, and the new socket lacks SO_REUSEADDR",
            )
            .at_place(address, Some(Side::Listening))
            .seen(format!("no listener at {address}; {waits} sockets with port {port}"))
            .helps(Remedy::code(
                "set SO_REUSEADDR before bind()",
                "the server starts at once instead of after 60 s",
                "it listens (`ss -tln`)",
            ))
            .does_not_help("tcp_tw_reuse: it acts on outgoing connections only")
        }
    }
    .does_not_help("tcp_fin_timeout: TIME_WAIT lasts 60 s whatever it is set to")
}
