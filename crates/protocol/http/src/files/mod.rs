//! Files of a folder: conditional requests, ranges, precompressed variants, listings, and no way out of the folder.
//!
//! | step | module |
//! | --- | --- |
//! | request → path below the root, decoded once | `path` |
//! | path → open file, never outside of the root | `root` |
//! | file and request → response | `answer`, with `conditions`, `ranges`, `parts`, `kinds`, `listing` |
//! | file → bytes | `source`, `body` |
//!
//! A file that lies in memory is opened and read on the worker itself, with calls that fail rather than wait for the disk
//! (`RESOLVE_CACHED`, `RWF_NOWAIT`). If one fails so, all is done again in one call on the blocking pool; the later pieces of a body are read by
//! the worker's ring (`millstream-files`).

mod answer;
mod body;
mod conditions;
mod kinds;
mod listing;
mod parts;
mod path;
mod ranges;
#[cfg(test)]
mod reach_tests;
mod root;
#[cfg(test)]
mod root_tests;
mod single;
mod source;

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::{ALLOW, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use millstream_base::{Error, Result};
use millstream_server::Engine;
use percent_encoding::{AsciiSet, utf8_percent_encode};
use rustix::io::Errno;

use self::answer::{Answer, Ask};
use self::conditions::Conditions;
use self::path::{BadPath, LocalPath};
use self::root::{Reach, Root};
use crate::compress::Accepted;
use crate::{Handler, Request, Response};

/// Serves the files of a folder. It is a [`Handler`]: serve it as it is, or below a prefix with
/// [`Router::mount`](crate::Router::mount).
///
/// GET and HEAD, with ranges and conditional requests; `index.html` for a folder; `x.br`, `x.zst` or `x.gz` instead of `x`
/// when it lies beside it, is not older, and the client takes it. Names that begin with a dot are hidden.
///
/// Nothing outside of the folder is ever opened: not through `..` in any spelling, nor through a link that leads out. Links
/// within the folder are followed when they are relative. What is no regular file is not there.
///
/// ```no_run
/// use millstream_http::{Files, Router};
/// let files = Files::new("/srv/www")?.with_listing().with_cache_control("max-age=60")?;
/// let router = Router::new().mount("/static", files);
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Files {
    root: Arc<Root>,
    options: Arc<Options>,
}

/// Settings of [`Files`].
#[derive(Clone, Debug)]
pub(crate) struct Options {
    index: Option<String>,
    lists: bool,
    shows_dotfiles: bool,
    precompressed: bool,
    cache_control: Option<HeaderValue>,
    /// Sent for whatever is not there.
    fallback: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            index: Some("index.html".to_owned()),
            lists: false,
            shows_dotfiles: false,
            precompressed: true,
            cache_control: None,
            fallback: None,
        }
    }
}

impl Files {
    /// Serves the files below this folder, which may be replaced by another of that name later.
    ///
    /// # Errors
    /// When there is no such folder, or it can't be opened.
    pub fn new(root: impl AsRef<Path>) -> Result<Self> {
        let path = root.as_ref();
        let name = path.display().to_string();
        let root = Root::open(path.to_owned()).map_err(|error| Error::io(error.into()).with_target(name))?;
        Ok(Self { root: Arc::new(root), options: Arc::default() })
    }

    fn options(&mut self) -> &mut Options {
        Arc::make_mut(&mut self.options)
    }

    /// Shows the content of a folder that has no index.
    #[must_use]
    pub fn with_listing(mut self) -> Self {
        self.options().lists = true;
        self
    }

    /// The file that stands for a folder, instead of `index.html`.
    #[must_use]
    pub fn with_index(mut self, name: impl Into<String>) -> Self {
        self.options().index = Some(name.into());
        self
    }

    /// No file stands for a folder.
    #[must_use]
    pub fn without_index(mut self) -> Self {
        self.options().index = None;
        self
    }

    /// Serves names that begin with a dot as well.
    #[must_use]
    pub fn with_dotfiles(mut self) -> Self {
        self.options().shows_dotfiles = true;
        self
    }

    /// Sends each file as it is, whatever compressed variant lies beside it.
    #[must_use]
    pub fn without_precompressed(mut self) -> Self {
        self.options().precompressed = false;
        self
    }

    /// Sends this Cache-Control with each file: `max-age=3600`.
    ///
    /// # Errors
    /// When it can't be the value of a field.
    pub fn with_cache_control(mut self, value: &str) -> Result<Self> {
        let value = HeaderValue::from_str(value).map_err(|error| {
            Error::invalid(format!("Cache-Control can't be {value:?}")).with_source(error)
        })?;
        self.options().cache_control = Some(value);
        Ok(self)
    }

    /// Sends this file, with 200, for whatever is not there: for an application that routes in the browser.
    #[must_use]
    pub fn with_fallback(mut self, path: impl Into<String>) -> Self {
        self.options().fallback = Some(path.into());
        self
    }

    fn ask(&self, request: &Request) -> Result<Ask, Response> {
        let is_head = *request.method() == Method::HEAD;
        if !is_head && *request.method() != Method::GET {
            let response = Response::new(StatusCode::METHOD_NOT_ALLOWED);
            return Err(response.with_header(ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        let path = LocalPath::parse(request.local_path(), self.options.shows_dotfiles);
        let path = path.map_err(|bad| match bad {
            BadPath::Malformed => Response::text("malformed path\n").with_status(StatusCode::BAD_REQUEST),
            BadPath::NotServed => answer::refuse(Errno::NOENT),
        })?;
        let (accepted, conditions) = (Accepted::of(request.fields()), Conditions::of(request));
        Ok(Ask { path, is_head, accepted, conditions })
    }
}

impl Handler for Files {
    type Future = Serving;

    fn call(&self, request: Request) -> Serving {
        let ask = match self.ask(&request) {
            Ok(ask) => ask,
            Err(response) => return Serving::ready(response),
        };
        let (root, options) = (&self.root, &self.options);
        match answer::answer(root, options, &ask, Reach::Memory) {
            Err(Errno::AGAIN) => {}
            other => return Serving::ready(finish(other, || location(&request))),
        }
        let (root, options) = (root.clone(), options.clone());
        let location = location(&request);
        Serving::blocking(move || {
            let mut answer = answer::answer(&root, &options, &ask, Reach::Disk);
            if matches!(answer, Err(Errno::IO)) {
                // A small file may have become shorter between the look at it and the read.
                answer = answer::answer(&root, &options, &ask, Reach::Disk);
            }
            finish(answer, || location)
        })
    }
}

fn finish(answer: Result<Answer, Errno>, location: impl FnOnce() -> String) -> Response {
    match answer {
        Ok(Answer::Response(response)) => response,
        Ok(Answer::AddSlash) => match HeaderValue::try_from(location()) {
            Ok(location) => Response::new(StatusCode::MOVED_PERMANENTLY).with_header(LOCATION, location),
            Err(_) => Response::new(StatusCode::NOT_FOUND),
        },
        Err(error) => answer::refuse(error),
    }
}

/// The same address with a slash behind it, relative to itself: so no path can send the client to another host
/// (`//evil.example`), and it holds behind a proxy that cuts a prefix off.
fn location(request: &Request) -> String {
    let segment = request.path().rsplit('/').next().unwrap_or_default();
    let segment = utf8_percent_encode(segment, &UNSAFE);
    let query = request.query_str();
    format!("./{segment}/{}{}", if query.is_some() { "?" } else { "" }, query.unwrap_or_default())
}

/// What an encoded segment can't hold: all else stays as the client sent it.
const UNSAFE: AsciiSet =
    percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'#');

/// The response of [`Files`] in the making: often there at once.
pub struct Serving(State);

enum State {
    Ready(Option<Response>),
    Blocking(Pin<Box<dyn Future<Output = Result<Response>> + Send>>),
}

impl Serving {
    fn ready(response: Response) -> Self {
        Self(State::Ready(Some(response)))
    }

    /// Does the work on the blocking pool; outside of an engine here and now.
    fn blocking(work: impl FnOnce() -> Response + Send + 'static) -> Self {
        match Engine::current() {
            Some(engine) => Self(State::Blocking(Box::pin(engine.blocking(work)))),
            None => Self::ready(work()),
        }
    }
}

impl Future for Serving {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        match &mut self.0 {
            State::Ready(response) => {
                Poll::Ready(response.take().expect("a future is not polled after its end"))
            }
            State::Blocking(work) => work.as_mut().poll(cx).map(crate::IntoResponse::into_response),
        }
    }
}
