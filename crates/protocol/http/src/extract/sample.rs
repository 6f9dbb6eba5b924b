//! Requests without a connection, to test handlers with.

use crate::codec::{HeadLimits, Parse, Progress, parse_request};
use crate::server::{DEFAULT_MAX_BODY, HeadBox};
use crate::{Body, Request};

impl Request {
    /// A request without a connection, to test a handler with: `GET /path`, or a whole head with `HTTP/1.1` and fields,
    /// each line ended by CR LF but for the last. A missing Host is added.
    ///
    /// ```
    /// # use millstream_http::Request;
    /// let request = Request::sample("GET /a?b=c HTTP/1.1\r\nAccept: text/html");
    /// assert_eq!((request.path(), request.header("accept")), ("/a", Some("text/html")));
    /// ```
    ///
    /// # Panics
    /// When that is no request. So does [`Request::conn`] later: there is none.
    pub fn sample(head: &str) -> Self {
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let version = if line.contains(" HTTP/1.") { "" } else { " HTTP/1.1" };
        let host = if fields.to_ascii_lowercase().contains("host:") { "" } else { "Host: sample\r\n" };
        let end = if fields.is_empty() { "\r\n" } else { "\r\n\r\n" };
        let bytes = format!("{line}{version}\r\n{host}{fields}{end}");
        let mut head = HeadBox::take();
        let limits = HeadLimits::default();
        let parse = parse_request(bytes.as_bytes(), &limits, &mut head.parsed, &mut Progress::default());
        assert_eq!(parse, Ok(Parse::Complete(bytes.len())), "no request: {bytes:?}");
        head.max_body = DEFAULT_MAX_BODY;
        Self::new(head)
    }

    /// The same request with this body. It does not touch Content-Length.
    #[must_use]
    pub fn with_sample_body(mut self, body: impl Into<Body>) -> Self {
        *self.body_mut() = body.into();
        self
    }
}
