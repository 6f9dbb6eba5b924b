//! A named bound.

use crate::{Error, Kind, Origin};

/// A named bound on a count or a size, so that the error says which limit was passed.
///
/// ```
/// use millstream_base::Limit;
/// const HEAD: Limit = Limit::new("request head", 32 * 1024, "bytes");
/// assert!(HEAD.check(32 * 1024).is_ok());
/// assert_eq!(HEAD.check(32 * 1024 + 1).unwrap_err().to_string(), "request head over 32768 bytes");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    what: &'static str,
    most: usize,
    unit: &'static str,
}

impl Limit {
    /// At most `most` `unit`s of `what`.
    pub const fn new(what: &'static str, most: usize, unit: &'static str) -> Self {
        Self { what, most, unit }
    }

    /// The same limit with another value.
    #[must_use]
    pub const fn with(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// The most that is allowed.
    pub const fn most(self) -> usize {
        self.most
    }

    /// Fails with [`Kind::Limit`] when `amount` is more than allowed.
    pub fn check(self, amount: usize) -> Result<(), Error> {
        if amount <= self.most {
            return Ok(());
        }
        Err(self.passed())
    }

    /// The error that says this limit was passed.
    #[cold]
    pub fn passed(self) -> Error {
        Error::new(Kind::Limit, Origin::Peer, format!("{} over {} {}", self.what, self.most, self.unit))
    }
}
