//! The folder that is served.

use std::path::{Path, PathBuf};

use millstream::http::{Handler, Request, Response, StatusCode};
use millstream::{Error, Result};

use super::Options;

/// A folder that could be read when it was opened.
pub(crate) struct Site {
    root: PathBuf,
}

impl Site {
    pub(crate) fn open(options: &Options) -> Result<Self> {
        let refused = |error: std::io::Error| {
            Error::invalid(format!("can't serve {}", options.root.display())).with_source(error)
        };
        let root = options.root.canonicalize().map_err(refused)?;
        // Says now what the first request would find out.
        std::fs::read_dir(&root).map_err(refused)?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn handler(&self) -> impl Handler + use<> {
        async |_: Request| Response::new(StatusCode::NOT_FOUND)
    }
}
