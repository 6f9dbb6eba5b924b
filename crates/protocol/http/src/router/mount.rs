//! Handlers that see only the path below a prefix.

use crate::Request;

/// The name of the wildcard behind a mount's prefix: never a parameter that handlers see.
pub(crate) const REST: &str = "millstream.rest";

/// Among a request's extensions: how much of the path belongs to the prefix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MountedAt(pub(crate) usize);

impl Request {
    /// The path below the prefix that the handler is mounted at, percent-encoded as it came: `/a` of `/static/a` for
    /// what is mounted at `/static`. It is empty for the prefix itself, and the whole path when nothing is mounted.
    pub fn local_path(&self) -> &str {
        let at = self.extensions().and_then(|extensions| extensions.get::<MountedAt>());
        at.and_then(|at| self.path().get(at.0..)).unwrap_or(self.path())
    }
}

/// A prefix as patterns use it: begins with `/`, does not end with one; empty for the root.
pub(crate) fn trim_prefix(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

/// The patterns that a mount at this prefix answers.
pub(crate) fn patterns(prefix: &str) -> Vec<String> {
    let prefix = trim_prefix(prefix);
    let mut patterns = vec![format!("{prefix}/"), format!("{prefix}/{{*{REST}}}")];
    if !prefix.is_empty() {
        patterns.push(prefix.to_owned());
    }
    patterns
}
