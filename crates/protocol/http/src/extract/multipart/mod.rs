//! Forms with files: `multipart/form-data` (RFC 7578), read field by field as they come.

pub mod fuzz;
mod params;
mod parser;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use httparse::EMPTY_HEADER;

use self::params::Params;
use self::parser::{Event, Parser};
use super::Rejection;
use crate::server::DEFAULT_MAX_BODY;
use crate::{Body, Request};

/// What a form may be made of at most, beside the limit on the whole body.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct MultipartLimits {
    /// Fields, files among them. 100 by default: as many as a request's head may have.
    pub fields: usize,
    /// Bytes of one field's head. 8 KiB by default: browsers send a name, a file's name and its type.
    pub head_bytes: usize,
    /// Bytes of one field. By default only the whole body is limited.
    pub field_bytes: u64,
    /// Bytes that [`Field::bytes`] and [`Field::text`] take into memory: 8 MiB by default, as for a whole body.
    pub memory_bytes: usize,
}

impl Default for MultipartLimits {
    fn default() -> Self {
        let memory_bytes = usize::try_from(DEFAULT_MAX_BODY).unwrap_or(usize::MAX);
        Self { fields: 100, head_bytes: 8 * 1024, field_bytes: u64::MAX, memory_bytes }
    }
}

impl Request {
    /// The body as a form whose fields may be files, with the default limits. What is left of the request has no body.
    ///
    /// # Errors
    /// 415 when Content-Type is not `multipart/form-data`, 400 when it names no boundary.
    ///
    /// ```
    /// # use millstream_http::{Request, extract::Rejection};
    /// async fn upload(mut request: Request) -> Result<String, Rejection> {
    ///     let mut form = request.multipart()?;
    ///     let mut size = 0;
    ///     while let Some(mut field) = form.next_field().await? {
    ///         while let Some(piece) = field.chunk().await? {
    ///             size += piece.len();
    ///         }
    ///     }
    ///     Ok(format!("{size} bytes in all"))
    /// }
    /// ```
    pub fn multipart(&mut self) -> Result<Multipart, Rejection> {
        self.multipart_within(MultipartLimits::default())
    }

    /// The same with these limits.
    ///
    /// # Errors
    /// As [`Request::multipart`].
    pub fn multipart_within(&mut self, limits: MultipartLimits) -> Result<Multipart, Rejection> {
        let boundary = boundary(self.header("content-type").unwrap_or_default())?;
        let parser = Parser::new(&boundary, limits.head_bytes);
        Ok(Multipart { body: self.take_body(), parser, limits, fields: 0, is_in_field: false })
    }
}

fn boundary(content_type: &str) -> Result<String, Rejection> {
    let (media, rest) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !media.trim().eq_ignore_ascii_case("multipart/form-data") {
        let message = "Content-Type must be multipart/form-data";
        return Err(Rejection::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let params = Params::parse(rest).ok_or_else(|| bad("Content-Type is malformed"))?;
    let boundary = params.get("boundary").ok_or_else(|| bad("Content-Type names no boundary"))?;
    // RFC 2046 §5.1.1.
    let is_fine =
        (1..=70).contains(&boundary.len()) && boundary.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_fine { Ok(boundary.to_owned()) } else { Err(bad("a boundary has 1 to 70 visible letters")) }
}

/// A form that is being read: fields come in the order in which they were sent, each when the one before is done with.
pub struct Multipart {
    body: Body,
    parser: Parser,
    limits: MultipartLimits,
    fields: usize,
    /// Is the current field not read to its end?
    is_in_field: bool,
}

impl Multipart {
    /// The next field; `None` behind the last. What was not read of the one before is passed over.
    ///
    /// Cancel safe: a field is either given or still there.
    ///
    /// # Errors
    /// 400 when the form is malformed or cut off; 413 when there are too many fields; 431 when a field's head is too long;
    /// else what broke the body.
    pub async fn next_field(&mut self) -> Result<Option<Field<'_>>, Rejection> {
        let head = loop {
            match self.parser.next()? {
                Event::NeedMore => self.read().await?,
                Event::Head(head) => break head,
                Event::Data(_) => {}
                Event::FieldEnd => self.is_in_field = false,
                Event::End => return Ok(None),
            }
        };
        self.fields += 1;
        if self.fields > self.limits.fields {
            return Err(too_large(format!("form: more than {} fields", self.limits.fields)));
        }
        let head = Head::parse(&head)?;
        self.is_in_field = true;
        Ok(Some(Field { form: self, head, size: 0 }))
    }

    async fn read(&mut self) -> Result<(), Rejection> {
        match self.body.chunk().await {
            Some(piece) => self.parser.push(piece?),
            None => return Err(bad("form: cut off")),
        }
        Ok(())
    }
}

impl std::fmt::Debug for Multipart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Multipart(field {})", self.fields)
    }
}

/// One field of a form, a file perhaps. Dropping it passes over what was not read of it.
pub struct Field<'a> {
    form: &'a mut Multipart,
    head: Head,
    size: u64,
}

impl Field<'_> {
    /// The field's name.
    pub fn name(&self) -> &str {
        &self.head.name
    }

    /// The name of the file on the client's side, if it is one. It is whatever the client says, `../../x` too: it is for
    /// people to read, never a path to write to.
    pub fn file_name(&self) -> Option<&str> {
        self.head.file_name.as_deref()
    }

    /// The media type as the client says.
    pub fn content_type(&self) -> Option<&str> {
        self.head.content_type.as_deref()
    }

    /// The next piece; `None` at the field's end. Cancel safe: a piece is either given or still there.
    ///
    /// # Errors
    /// 400 when the form is cut off or malformed behind the field, 413 when the field is over its limit; else what broke the
    /// body.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Rejection> {
        while self.form.is_in_field {
            match self.form.parser.next()? {
                Event::NeedMore => self.form.read().await?,
                Event::Data(piece) => {
                    self.size += piece.len() as u64;
                    let most = self.form.limits.field_bytes;
                    return if self.size > most { Err(self.too_large(most)) } else { Ok(Some(piece)) };
                }
                Event::Head(_) | Event::FieldEnd | Event::End => self.form.is_in_field = false,
            }
        }
        Ok(None)
    }

    /// The rest of the field, in memory. Dropping the future loses what was read.
    ///
    /// # Errors
    /// As [`Field::chunk`], and 413 when it is longer than [`MultipartLimits::memory_bytes`].
    pub async fn bytes(&mut self) -> Result<Bytes, Rejection> {
        let most = self.form.limits.memory_bytes;
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let mut whole: Option<BytesMut> = None;
        let mut size = first.len();
        while size <= most
            && let Some(piece) = self.chunk().await?
        {
            size += piece.len();
            whole.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&piece);
        }
        if size > most {
            return Err(self.too_large(most as u64));
        }
        Ok(whole.map_or(first, BytesMut::freeze))
    }

    /// The rest of the field as text. Dropping the future loses what was read.
    ///
    /// # Errors
    /// As [`Field::bytes`], and 400 when it is not UTF-8.
    pub async fn text(&mut self) -> Result<String, Rejection> {
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into()).map_err(|_| bad(format!("form: {}: not UTF-8", self.name())))
    }

    fn too_large(&self, most: u64) -> Rejection {
        too_large(format!("form: {}: more than {most} bytes", self.name()))
    }
}

impl std::fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Field({:?})", self.name())
    }
}

/// What stands above a field.
#[derive(Debug)]
struct Head {
    name: String,
    file_name: Option<String>,
    content_type: Option<String>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, Rejection> {
        let mut slots = [EMPTY_HEADER; MOST_LINES];
        let parsed = httparse::parse_headers(bytes, &mut slots);
        let Ok(httparse::Status::Complete((_, fields))) = parsed else {
            return Err(bad("form: malformed head of a field"));
        };
        let find = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        let text = |name| find(name).map(|field| std::str::from_utf8(field.value)).transpose();
        let (Ok(disposition), Ok(content_type)) = (text("content-disposition"), text("content-type")) else {
            return Err(bad("form: a field's head is not UTF-8"));
        };
        let (kind, rest) = disposition.and_then(|value| value.split_once(';')).unwrap_or_default();
        let params = Params::parse(rest).filter(|_| kind.trim().eq_ignore_ascii_case("form-data"));
        let params = params.ok_or_else(|| bad("form: a field without a good Content-Disposition"))?;
        let name = params.get("name").ok_or_else(|| bad("form: a field without a name"))?;
        let (name, file_name) = (name.to_owned(), params.get("filename").map(str::to_owned));
        Ok(Self { name, file_name, content_type: content_type.map(str::to_owned) })
    }
}

/// Lines of a field's head: three have a meaning.
const MOST_LINES: usize = 16;

fn bad(message: impl Into<String>) -> Rejection {
    Rejection::new(StatusCode::BAD_REQUEST, message)
}

fn too_large(message: String) -> Rejection {
    Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}
