//! One URL, from the request to the last byte of its body.

use std::time::Instant;

use indicatif::ProgressBar;
use millstream::http::client::{RequestBuilder, Response};
use millstream::http::codec::Version;
use millstream::http::{HttpClient, Method, StatusCode, header};
use millstream::{Error, Kind, Origin, Phase, Result};

use super::Options;
use super::data::Data;
use super::place;
use super::plan::{Job, Place};
use super::progress;
use super::resume::{self, Part};
use super::sink::{self, Draft, Sink, Writers};

/// What a transfer needs.
pub(crate) struct Transfer<'a> {
    pub(crate) client: &'a HttpClient,
    pub(crate) options: &'a Options,
    pub(crate) data: Option<&'a Data>,
    pub(crate) job: &'a Job,
    pub(crate) bar: &'a ProgressBar,
    pub(crate) writers: &'a Writers,
    /// By when all of it must be done.
    pub(crate) until: Option<Instant>,
}

impl Transfer<'_> {
    /// Fetches within the deadline. Dropping the future leaves a part behind that can be continued.
    ///
    /// # Errors
    /// When the body is not whole where it belongs, or the status is 400 or more.
    pub(crate) async fn run(&self) -> Result<()> {
        match &self.job.place {
            _ if self.options.head => self.head().await,
            Place::Stdout => self.to_stdout().await,
            Place::File(path) => self.to_file(sink::draft(path)).await,
        }
    }

    /// The head alone, as it came. That of an error as well.
    async fn head(&self) -> Result<()> {
        let response = self.send(self.request()?).await?;
        let (status, place) = (response.status(), place(response.url()));
        let mut sink = match &self.job.place {
            Place::Stdout => Sink::stdout(self.writers),
            Place::File(path) => Sink::file(sink::draft(path), self.writers),
        };
        let text = head_text(&response).into();
        let writing = async {
            sink.write(text).await?;
            sink.finish().await
        };
        self.in_time(writing).await?;
        if status.as_u16() < 400 { Ok(()) } else { Err(refused(status).with_target(place)) }
    }

    /// Also the body of an error goes out: it often says what is wrong.
    async fn to_stdout(&self) -> Result<()> {
        let response = self.send(self.request()?).await?;
        progress::begin(self.bar, 0, response.content_length());
        let (status, place) = (response.status(), place(response.url()));
        self.copy(response, Sink::stdout(self.writers)).await?;
        if status.as_u16() < 400 { Ok(()) } else { Err(refused(status).with_target(place)) }
    }

    async fn to_file(&self, mut draft: Draft) -> Result<()> {
        let part = if self.options.resume { resume::find(&draft, &self.job.url) } else { None };
        let Some(part) = part else { return self.fetch_whole(draft).await };
        let request = self.request()?.header(header::RANGE, format!("bytes={}-", part.size));
        let response = self.send(request.header(header::IF_RANGE, part.validator.as_str())).await?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let length = self.check_range(&response, &part)?;
                (draft.keeps, draft.is_resumable) = (part.size, true);
                progress::begin(self.bar, part.size, length);
                self.save(response, draft).await
            }
            StatusCode::RANGE_NOT_SATISFIABLE if is_whole(&response, &part) => {
                draft.keeps = part.size;
                progress::begin(self.bar, part.size, Some(part.size));
                self.in_time(Sink::file(draft.clone(), self.writers).finish()).await?;
                resume::forget(&draft)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => self.fetch_whole(draft).await,
            // It has changed, or the server knows no ranges: this is the whole of it.
            _ => self.save_whole(response, draft).await,
        }
    }

    async fn fetch_whole(&self, draft: Draft) -> Result<()> {
        let response = self.send(self.request()?).await?;
        self.save_whole(response, draft).await
    }

    async fn save_whole(&self, response: Response, mut draft: Draft) -> Result<()> {
        let is_asked = self.options.headers.iter().any(|(name, _)| name == header::RANGE);
        if response.status() == StatusCode::PARTIAL_CONTENT && !is_asked {
            let error = Error::protocol("answered with a part that was not asked for");
            return Err(error.with_target(place(response.url())));
        }
        let response = response.error_for_status()?;
        progress::begin(self.bar, 0, response.content_length());
        draft.is_resumable = resume::remember(&draft, &self.job.url, &response)?;
        self.save(response, draft).await
    }

    async fn save(&self, response: Response, draft: Draft) -> Result<()> {
        self.copy(response, Sink::file(draft.clone(), self.writers)).await?;
        resume::forget(&draft)
    }

    /// Until the head is here, with what is left of the deadline: the call knows what it was waiting for.
    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let Some(until) = self.until else { return request.send().await };
        request.timeout(until.saturating_duration_since(Instant::now())).send().await
    }

    async fn copy(&self, response: Response, sink: Sink) -> Result<()> {
        self.in_time(copy_all(response, sink, self.bar)).await
    }

    /// What follows the head, which may wait for whoever takes it as well.
    async fn in_time(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let (Some(until), Some(limit)) = (self.until, self.options.deadline) else { return work.await };
        let late = |_| Err(Error::timeout(Phase::Read, limit).with_target(place(&self.job.url)));
        tokio::time::timeout_at(until.into(), work).await.unwrap_or_else(late)
    }

    /// # Errors
    /// When what it carries can't be had again.
    fn request(&self) -> Result<RequestBuilder> {
        let options = self.options;
        let mut request = self.client.request(self.method(), &self.job.url);
        if let Some(data) = self.data {
            request = request.body(data.body()?);
            if options.json.is_empty() {
                request = request.header(header::CONTENT_TYPE, FORM);
            } else {
                request = request.header(header::CONTENT_TYPE, JSON).header(header::ACCEPT, JSON);
            }
        }
        for (name, value) in &options.headers {
            request = request.header(name.clone(), value.clone());
        }
        Ok(request)
    }

    fn method(&self) -> Method {
        match &self.options.request {
            Some(method) => method.clone(),
            None if self.options.head => Method::HEAD,
            None if self.data.is_some() => Method::POST,
            None => Method::GET,
        }
    }

    /// The part must go on exactly where it ends. Gives the length of the whole.
    fn check_range(&self, response: &Response, part: &Part) -> Result<Option<u64>> {
        let range = response.header("content-range").and_then(resume::content_range);
        match range {
            Some((first, length)) if first == part.size => Ok(length),
            _ => {
                let why = format!("was asked for bytes from {} on and sent others", part.size);
                Err(Error::protocol(why).with_target(place(&self.job.url)))
            }
        }
    }
}

/// The body, as it comes.
async fn copy_all(mut response: Response, mut sink: Sink, bar: &ProgressBar) -> Result<()> {
    while let Some(piece) = response.chunk().await? {
        bar.inc(piece.len() as u64);
        sink.write(piece).await?;
    }
    sink.finish().await
}

/// Status line and fields as they came, and the empty line.
fn head_text(response: &Response) -> Vec<u8> {
    let version = if response.version() == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut text = format!("{version} {}\r\n", response.status()).into_bytes();
    for (name, value) in response.fields() {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

/// Nothing follows the part: it was broken off behind its last byte.
fn is_whole(response: &Response, part: &Part) -> bool {
    response.header("content-range").and_then(resume::whole_length) == Some(part.size)
}

fn refused(status: StatusCode) -> Error {
    let origin = if status.is_client_error() { Origin::Caller } else { Origin::Peer };
    Error::new(Kind::Policy, origin, format!("answered with {status}"))
}

/// What a browser sends a form as.
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
