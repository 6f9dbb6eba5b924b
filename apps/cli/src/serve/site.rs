//! The folder that is served.

use std::path::{Path, PathBuf};

use millstream::http::Files;
use millstream::{Error, Result};

use super::Options;

/// A folder that could be read when it was opened.
pub(crate) struct Site {
    root: PathBuf,
    files: Files,
}

impl Site {
    pub(crate) fn open(options: &Options) -> Result<Self> {
        let refused = |error: std::io::Error| {
            Error::invalid(format!("can't serve {}", options.root.display())).with_source(error)
        };
        let root = options.root.canonicalize().map_err(refused)?;
        // Says now what the first request would find out.
        std::fs::read_dir(&root).map_err(refused)?;
        let mut files = Files::new(&root)?;
        if !options.no_listing {
            files = files.with_listing();
        }
        if options.hidden {
            files = files.with_dotfiles();
        }
        Ok(Self { root, files })
    }

    /// Its absolute path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What answers requests.
    pub(crate) fn files(&self) -> Files {
        self.files.clone()
    }
}
