//! One file that the program names itself.

use std::path::PathBuf;

use http::Method;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::answer::{Ask, Found, refuse, respond};
use super::conditions::Conditions;
use super::kinds::content_type;
use super::path::LocalPath;
use super::root::Reach;
use super::{Options, Serving};
use crate::compress::Accepted;
use crate::{Request, Response};

impl Response {
    /// The file at this path, with ranges and conditional requests, its type from its name. The path is the program's
    /// own: never build it from what a client sent, [`Files`](crate::Files) is for that.
    ///
    /// 404 when it is not there or no regular file, 403 when it can't be read. Dropping the future sends nothing.
    pub fn file(request: &Request, path: impl Into<PathBuf>) -> Serving {
        let path = path.into();
        let ask = Ask {
            path: LocalPath { text: String::new(), wants_directory: false },
            is_head: *request.method() == Method::HEAD,
            accepted: Accepted::IDENTITY,
            conditions: Conditions::of(request),
        };
        Serving::blocking(move || open(path).and_then(|found| answer(found, &ask)).unwrap_or_else(refuse))
    }
}

fn open(path: PathBuf) -> Result<Found, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(CWD, &path, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Errno::NOENT);
    }
    let content_type = content_type(&path.to_string_lossy());
    Ok(Found { file, stat, coding: None, content_type })
}

fn answer(found: Found, ask: &Ask) -> Result<Response, Errno> {
    let options = Options { precompressed: false, ..Options::default() };
    respond(found, &options, ask, Reach::Disk)
}
