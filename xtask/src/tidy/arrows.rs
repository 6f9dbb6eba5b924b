//! The arrows of DESIGN §2: which crate may depend on which. The one place where they are written as data.

/// A crate and what it may depend on, besides `millstream-base`, which all share.
pub(super) struct Arrow {
    pub(super) from: &'static str,
    pub(super) to: &'static [&'static str],
}

const fn arrow(from: &'static str, to: &'static [&'static str]) -> Arrow {
    Arrow { from, to }
}

/// In the order of a byte's journey. A crate that isn't here can't be depended on and may depend on none of these.
const ARROWS: &[Arrow] = &[
    arrow("millstream-base", &[]),
    arrow("millstream-compute", &[]),
    arrow("millstream-runtime", &["millstream-compute"]),
    arrow("millstream-files", &["millstream-runtime"]),
    arrow("millstream-sockets", &[]),
    arrow("millstream-ports", &["millstream-sockets"]),
    arrow("millstream-pool", &[]),
    arrow("millstream-upstream", &[]),
    arrow("millstream-transport", &["millstream-runtime", "millstream-ports"]),
    arrow(
        "millstream-client",
        &[
            "millstream-pool",
            "millstream-upstream",
            "millstream-ports",
            "millstream-transport",
            "millstream-runtime",
        ],
    ),
    arrow("millstream-server", &["millstream-transport", "millstream-ports", "millstream-runtime"]),
    arrow("millstream-http", PROTOCOL),
    arrow("millstream-redis", PROTOCOL),
    arrow("millstream-mysql", PROTOCOL),
    arrow("millstream-kafka", PROTOCOL),
    arrow("millstream-dns", PROTOCOL),
    arrow("millstream-tlv", PROTOCOL),
    arrow("millstream-flow", &["millstream-runtime"]),
    arrow("millstream-doctor", INSIGHT),
    arrow("millstream-metrics", INSIGHT),
    arrow("millstream-admin", &["millstream-http", "millstream-doctor", "millstream-metrics"]),
    arrow("millstream", FACADE),
    arrow("millstream-cli", &["millstream"]),
    arrow("millstream-examples", &["millstream"]),
    // Only ever a dev-dependency, so free to start whatever a test needs.
    arrow("millstream-peers", &["millstream-runtime", "millstream-transport"]),
    arrow("xtask", &[]),
];

/// Never on each other, never on flow.
const PROTOCOL: &[&str] =
    &["millstream-client", "millstream-server", "millstream-transport", "millstream-files"];

const INSIGHT: &[&str] = &[
    "millstream-ports",
    "millstream-sockets",
    "millstream-pool",
    "millstream-upstream",
    "millstream-runtime",
];

/// The facade re-exports, so it names everything below it.
const FACADE: &[&str] = &[
    "millstream-http",
    "millstream-redis",
    "millstream-mysql",
    "millstream-kafka",
    "millstream-dns",
    "millstream-tlv",
    "millstream-flow",
    "millstream-admin",
    "millstream-doctor",
    "millstream-metrics",
    "millstream-client",
    "millstream-server",
    "millstream-upstream",
    "millstream-pool",
    "millstream-ports",
    "millstream-sockets",
    "millstream-transport",
    "millstream-files",
    "millstream-runtime",
    "millstream-compute",
];

/// Crates that only tests may use.
pub(super) const TEST_ONLY: &[&str] = &["millstream-peers"];

/// Crates that may hold `unsafe`, and so write their lints themselves.
pub(super) const UNSAFE: &[&str] =
    &["millstream-runtime", "millstream-sockets", "millstream-base", "millstream-files"];

/// What `from` may depend on; `None` for a crate that the table does not know.
pub(super) fn allowed(from: &str) -> Option<&'static [&'static str]> {
    ARROWS.iter().find(|arrow| arrow.from == from).map(|arrow| arrow.to)
}

/// Does the arrow from one crate to another exist?
pub(super) fn may_depend(from: &str, to: &str) -> bool {
    let to_base = to == "millstream-base" && from != "millstream-base";
    to_base || allowed(from).is_some_and(|targets| targets.contains(&to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_have_no_ring() {
        for arrow in ARROWS {
            let mut seen = vec![arrow.from];
            let mut open: Vec<&str> = arrow.to.to_vec();
            while let Some(next) = open.pop() {
                assert_ne!(next, arrow.from, "ring through {}", arrow.from);
                if !seen.contains(&next) {
                    seen.push(next);
                    open.extend(allowed(next).expect("every target is in the table"));
                }
            }
        }
    }

    #[test]
    fn protocols_stand_alone() {
        assert!(may_depend("millstream-http", "millstream-server"));
        assert!(!may_depend("millstream-http", "millstream-redis"));
        assert!(!may_depend("millstream-http", "millstream-flow"));
        assert!(!may_depend("millstream-pool", "millstream-transport"));
        assert!(may_depend("millstream-pool", "millstream-base"));
    }
}
