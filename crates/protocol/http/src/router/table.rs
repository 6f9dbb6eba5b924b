//! Patterns to routes.

use std::sync::Arc;

use matchit::InsertError;
use millstream_base::{Error, Result};
use percent_encoding::percent_decode_str;

use super::mount::REST;
use super::route::Route;

/// Patterns to routes.
#[derive(Clone, Default)]
pub(crate) struct Table {
    tree: matchit::Router<usize>,
    routes: Vec<Arc<Route>>,
}

/// Parameters of a path, percent-decoded.
pub(crate) type Params = Vec<(Box<str>, Box<str>)>;

/// What was found for a path.
pub(crate) struct Found<'t> {
    pub(crate) route: &'t Arc<Route>,
    pub(crate) params: Params,
    /// Where the part of the path begins that a mounted handler sees.
    pub(crate) mounted_at: Option<usize>,
}

/// Why nothing was found.
pub(crate) enum Miss {
    /// No such pattern.
    Unknown,
    /// A parameter is not UTF-8.
    NotText,
}

impl Table {
    /// The route of exactly this pattern, made if there is none; `make` says what it begins with.
    ///
    /// # Errors
    /// When the pattern is malformed or could match the same path as another.
    pub(crate) fn entry(&mut self, pattern: &str, make: impl FnOnce() -> Route) -> Result<&mut Route> {
        let at = match self.routes.iter().position(|route| route.pattern == pattern) {
            Some(at) => at,
            None => self.insert(make())?,
        };
        Ok(Arc::make_mut(&mut self.routes[at]))
    }

    fn insert(&mut self, route: Route) -> Result<usize> {
        let at = self.routes.len();
        let pattern = route.pattern.clone();
        if !pattern.starts_with('/') {
            return Err(Error::invalid(format!("route {pattern:?} does not begin with /")));
        }
        self.tree.insert(pattern.clone(), at).map_err(|error| match error {
            InsertError::Conflict { with } => {
                Error::invalid(format!("route {pattern} conflicts with {with}"))
            }
            error => Error::invalid(format!("route {pattern}: {error}")),
        })?;
        self.routes.push(Arc::new(route));
        Ok(at)
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().map(|route| &**route)
    }

    pub(crate) fn routes_mut(&mut self) -> impl Iterator<Item = &mut Route> {
        self.routes.iter_mut().map(Arc::make_mut)
    }

    /// The route of this path, which is still percent-encoded.
    #[inline]
    pub(crate) fn find(&self, path: &str) -> Result<Found<'_>, Miss> {
        let found = self.tree.at(path).map_err(|_| Miss::Unknown)?;
        let route = &self.routes[*found.value];
        let mounted_at = route.is_mount.then(|| match found.params.get(REST) {
            Some(rest) => path.len() - rest.len() - 1,
            None => path.strip_suffix('/').unwrap_or(path).len(),
        });
        let mut params = Params::new();
        for (name, value) in found.params.iter().filter(|(name, _)| *name != REST) {
            let value = percent_decode_str(value).decode_utf8().map_err(|_| Miss::NotText)?;
            params.push((name.into(), value.into()));
        }
        Ok(Found { route, params, mounted_at })
    }
}
