//! Forms with files: `multipart/form-data` (RFC 7578), named as browsers name (WHATWG HTML, form-data encoding).

mod body;
mod file;

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use bytes::Bytes;
use http::HeaderValue;
use millstream_base::{Error, Result};

use self::body::{Joined, Segment};
use super::HttpClient;
use crate::Body;

/// A form whose parts may be files. Sent by [`RequestBuilder::multipart`](super::RequestBuilder::multipart).
///
/// ```
/// use millstream_http::client::{Form, Part};
/// let form = Form::new()
///     .text("title", "Holidays")
///     .part("photo", Part::bytes(vec![0xff, 0xd8]).with_file_name("beach.jpg").with_content_type("image/jpeg")?);
/// # let _ = form;
/// # Ok::<(), millstream_base::Error>(())
/// ```
#[derive(Debug)]
pub struct Form {
    boundary: String,
    segments: Vec<Segment>,
}

/// One part of a [`Form`].
#[derive(Debug)]
pub struct Part {
    body: Body,
    file_name: Option<String>,
    content_type: Option<HeaderValue>,
}

impl Default for Form {
    fn default() -> Self {
        Self::new()
    }
}

impl Form {
    /// An empty form.
    pub fn new() -> Self {
        // Unguessable, so that no content can hold it.
        let [one, two] = [0, 1].map(|number| RandomState::new().hash_one(number));
        Self { boundary: format!("form-{one:016x}{two:016x}"), segments: Vec::new() }
    }

    /// With this field.
    #[must_use]
    pub fn text(self, name: &str, value: impl Into<String>) -> Self {
        self.part(name, Part::text(value))
    }

    /// With this part, as the field `name`.
    #[must_use]
    pub fn part(mut self, name: &str, part: Part) -> Self {
        let Part { body, file_name, content_type } = part;
        let mut head =
            format!("--{}\r\nContent-Disposition: form-data; name=\"{}\"", self.boundary, escape(name));
        if let Some(file_name) = file_name {
            head += &format!("; filename=\"{}\"", escape(&file_name));
        }
        let mut head = head.into_bytes();
        if let Some(content_type) = content_type {
            head.extend_from_slice(b"\r\nContent-Type: ");
            head.extend_from_slice(content_type.as_bytes());
        }
        head.extend_from_slice(b"\r\n\r\n");
        self.segments.push(Segment::Bytes(head.into()));
        self.segments.push(Segment::new(body));
        self.segments.push(Segment::Bytes(Bytes::from_static(b"\r\n")));
        self
    }

    /// What Content-Type must say.
    pub(crate) fn content_type(&self) -> HeaderValue {
        let text = format!("multipart/form-data; boundary={}", self.boundary);
        HeaderValue::try_from(text).expect("the boundary is letters and digits")
    }

    /// All parts in a row; of known length when each part is, and repeatable when each part lies in memory.
    pub(crate) fn into_body(mut self) -> Body {
        self.segments.push(Segment::Bytes(format!("--{}--\r\n", self.boundary).into()));
        Joined::new(self.segments).into_body()
    }
}

impl Part {
    /// A text.
    pub fn text(value: impl Into<String>) -> Self {
        Self::body(Body::from(value.into()))
    }

    /// Bytes; without a content type they are taken for text unless a file name is given.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::body(Body::from(bytes.into()))
    }

    /// Any body. Of one that knows its length the request can say it.
    pub fn body(body: Body) -> Self {
        Self { body, file_name: None, content_type: None }
    }

    /// A file, under its own name and as `application/octet-stream`, read on the engine's blocking pool as it is sent.
    ///
    /// Dropping the future opens nothing, or closes what was opened.
    ///
    /// # Errors
    /// When it can't be opened or is no regular file.
    pub async fn file(client: &HttpClient, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let body = file::open(client.worker().clone(), path).await?;
        let octets = HeaderValue::from_static("application/octet-stream");
        Ok(Self { body, file_name: name, content_type: Some(octets) })
    }

    /// With this file name.
    #[must_use]
    pub fn with_file_name(mut self, name: impl Into<String>) -> Self {
        self.file_name = Some(name.into());
        self
    }

    /// With this content type.
    ///
    /// # Errors
    /// When it holds what no field can.
    pub fn with_content_type(mut self, content_type: &str) -> Result<Self> {
        let value = HeaderValue::from_str(content_type).map_err(|_| Error::invalid("bad content type"))?;
        self.content_type = Some(value);
        Ok(self)
    }
}

/// WHATWG HTML, "multipart/form-data encoding algorithm": a name can't end its quotes or its line.
fn escape(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn form_reads_as_the_standard_writes_it() {
        let form = Form::new().text("a", "1").part(
            "f\"\r\nX: y",
            Part::bytes("data").with_file_name("n\"m.txt").with_content_type("text/plain").expect("a type"),
        );
        let boundary = form.boundary.clone();
        assert_eq!(form.content_type(), format!("multipart/form-data; boundary={boundary}"));
        let body = form.into_body();
        let (length, bytes) = (body.len(), body.collect(1000).await.expect("whole"));
        assert_eq!(length, Some(bytes.len() as u64));
        let expected = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
             --{boundary}\r\nContent-Disposition: form-data; name=\"f%22%0D%0AX: y\"; filename=\"n%22m.txt\"\r\n\
             Content-Type: text/plain\r\n\r\ndata\r\n--{boundary}--\r\n"
        );
        assert_eq!(std::str::from_utf8(&bytes).expect("text"), expected);
    }

    #[tokio::test]
    async fn form_in_memory_can_be_sent_twice_and_a_stream_can_not() {
        assert!(Form::new().text("a", "1").into_body().try_clone().is_some());
        let (sender, stream) = Body::channel(1);
        sender.send("streamed").await.expect("read");
        drop(sender);
        let body = Form::new().part("s", Part::body(stream)).text("b", "2").into_body();
        assert!(body.try_clone().is_none() && body.len().is_none());
        let bytes = body.collect(1000).await.expect("whole");
        assert!(bytes.windows(8).any(|window| window == b"streamed") && bytes.ends_with(b"--\r\n"));
    }

    #[test]
    fn boundaries_differ() {
        assert_ne!(Form::new().boundary, Form::new().boundary);
    }
}
