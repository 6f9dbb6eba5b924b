//! What can't be had, and why.

use std::fmt;
use std::io;

use rustix::io::Errno;

/// What can't be had, and why. Whatever else was asked for goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The rights are missing.
    NotPermitted {
        /// What needs them, and which.
        what: &'static str,
    },
    /// This kernel has no such thing.
    Unsupported {
        /// What it lacks.
        what: &'static str,
    },
    /// The kernel said no, or nothing that could be understood.
    Io {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn of(what: &'static str, errno: Errno) -> Self {
        match errno {
            Errno::PERM | Errno::ACCESS => Self::NotPermitted { what },
            Errno::OPNOTSUPP | Errno::NOENT | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => {
                Self::Unsupported { what }
            }
            errno => Self::Io { what, source: errno.into() },
        }
    }

    pub(crate) fn malformed(what: &'static str) -> Self {
        Self::Io { what, source: io::ErrorKind::InvalidData.into() }
    }

    /// Would it work with more rights?
    pub fn is_not_permitted(&self) -> bool {
        matches!(self, Self::NotPermitted { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted { what } => write!(f, "{what}: not permitted"),
            Self::Unsupported { what } => write!(f, "{what}: not in this kernel"),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
