//! Why a request does not fit what the handler wants.

use std::fmt;

use http::StatusCode;
use millstream_base::{BoxError, Error, Kind, Origin};

use crate::message::Blame;
use crate::{IntoResponse, Response};

/// Why a request does not fit what the handler wants: a status, and one line that tells the client what to change.
#[derive(Debug)]
pub struct Rejection {
    status: StatusCode,
    message: String,
    source: Option<BoxError>,
}

impl Rejection {
    /// A rejection with this status and message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), source: None }
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What the client is answered with.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the client is told.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn response(&self) -> Response {
        Response::text(format!("{}\n", self.message)).with_status(self.status)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Rejection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.response()
    }
}

impl From<Error> for Rejection {
    /// For what stopped a body: too long, too slow, malformed, or broken off.
    fn from(error: Error) -> Self {
        if let Some((status, reason)) = Blame::of(&error) {
            return Self::new(status, reason).with_source(error);
        }
        let status = match error.kind() {
            Kind::Limit => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Timeout => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.message()).with_source(error)
    }
}

impl From<Rejection> for Error {
    /// The error keeps the rejection as its cause, so that a handler that fails with it is answered all the same.
    fn from(rejection: Rejection) -> Self {
        let kind =
            if rejection.status == StatusCode::PAYLOAD_TOO_LARGE { Kind::Limit } else { Kind::Protocol };
        Error::new(kind, Origin::Peer, rejection.message.clone()).with_source(rejection)
    }
}

/// A value of a type that says what it wants, or which field does not fit: `age: invalid digit found in string`.
pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, (String, D::Error)>
where
    T: serde::Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    serde_path_to_error::deserialize(from).map_err(|error| {
        let path = error.path().to_string();
        // `?` stands for a field whose name was not whole, `.` for the value itself.
        let path = path.trim_end_matches(['?', '.']);
        let inner = error.inner();
        let text = if path.is_empty() { inner.to_string() } else { format!("{path}: {inner}") };
        let inner = error.into_inner();
        (text, inner)
    })
}
