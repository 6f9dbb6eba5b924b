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
            format!("--{}\r\nContent-Disposition: form-data; name=\"{}\"", self.boundary, escape_name(name));
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

/// WHATWG HTML, "multipart/form-data encoding algorithm": each line of a field's name ends with CR LF, whatever it ended
/// with. File names are left as they are in this.
fn escape_name(name: &str) -> String {
    escape(&name.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n"))
}

/// The same: no name can end its quotes or its line.
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
    fn lines_of_a_name_end_as_the_standard_says_and_those_of_a_file_name_as_they_did() {
        for (given, name, file_name) in [
            ("a\nb", "a%0D%0Ab", "a%0Ab"),
            ("a\rb", "a%0D%0Ab", "a%0Db"),
            ("a\r\nb", "a%0D%0Ab", "a%0D%0Ab"),
            ("a\n\rb", "a%0D%0A%0D%0Ab", "a%0A%0Db"),
            ("\r\r\n\n", "%0D%0A%0D%0A%0D%0A", "%0D%0D%0A%0A"),
            ("plain \"x\"", "plain %22x%22", "plain %22x%22"),
        ] {
            assert_eq!((escape_name(given).as_str(), escape(given).as_str()), (name, file_name), "{given:?}");
        }
    }

    #[tokio::test]
    async fn large_part_in_memory_is_sent_as_it_lies_there() {
        let large = Bytes::from(vec![b'x'; 1 << 20]);
        for with_stream in [false, true] {
            let mut form = Form::new().text("a", "1").part("l", Part::bytes(large.clone())).text("b", "2");
            if with_stream {
                form = form.part("s", Part::body(Body::from_fn(|| std::future::ready(None))));
            }
            let mut body = form.into_body();
            let mut again = body.try_clone();
            assert_eq!(again.is_none(), with_stream, "what lies in memory can be sent twice");
            for body in std::iter::once(&mut body).chain(&mut again) {
                let (mut left, mut whole, mut is_same) = (body.len(), 0, false);
                while let Some(piece) = body.chunk().await {
                    let piece = piece.expect("in memory");
                    is_same |= piece.as_ptr() == large.as_ptr() && piece.len() == large.len();
                    whole += piece.len() as u64;
                    left = left.map(|left| left - piece.len() as u64);
                    assert!(left.is_none() || left == body.len());
                }
                assert!(is_same && whole > 1 << 20);
                assert_eq!(left.unwrap_or(0), 0);
            }
        }
    }

    #[tokio::test]
    async fn small_parts_are_one_piece() {
        let form = (0..100).fold(Form::new(), |form, number| form.text("n", number.to_string()));
        let body = form.into_body();
        assert!(body.as_full().is_some_and(|bytes| bytes.len() as u64 == body.len().expect("known")));
    }

    #[test]
    fn boundaries_differ() {
        assert_ne!(Form::new().boundary, Form::new().boundary);
    }
}
