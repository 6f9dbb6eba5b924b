//! HTTP messages as tests see them: read plainly, without a limit, trusting nobody's parser but this short one.

use std::collections::VecDeque;

/// Where bytes of a message come from.
pub trait Reader {
    /// A line without its end.
    fn line(&mut self) -> Vec<u8>;
    /// This many bytes.
    fn exact(&mut self, count: usize) -> Vec<u8>;
    /// All that comes until the connection ends.
    fn to_end(&mut self) -> Vec<u8>;
}

/// A response that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawResponse {
    /// `HTTP/1.1`.
    pub version: String,
    /// The status.
    pub status: u16,
    /// The fields.
    pub fields: Fields,
    /// The body, unchunked.
    pub body: Vec<u8>,
    /// The trailers of a chunked body.
    pub trailers: Fields,
}

/// A request that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawRequest {
    /// The method.
    pub method: String,
    /// The target as it came.
    pub target: String,
    /// The fields.
    pub fields: Fields,
    /// The body, unchunked.
    pub body: Vec<u8>,
    /// The trailers of a chunked body.
    pub trailers: Fields,
}

/// Names in lower case, and values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    /// The value of the only field of that name.
    ///
    /// # Panics
    /// When there are several.
    #[track_caller]
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value);
        let first = values.next();
        assert!(values.next().is_none(), "several fields {name}: {self:?}");
        first
    }

    #[track_caller]
    fn read(from: &mut impl Reader) -> Self {
        let mut fields = Vec::new();
        loop {
            let line = text(from.line());
            if line.is_empty() {
                return Self(fields);
            }
            let Some((name, value)) = line.split_once(':') else { panic!("no field: {line:?}") };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|codings| codings.ends_with("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.get("content-length").map(|length| length.parse().expect("Content-Length is a number"))
    }
}

impl RawResponse {
    /// Reads one; interim ones (1xx but 101) are responses of their own.
    ///
    /// # Panics
    /// When it is malformed or not whole.
    #[track_caller]
    pub fn read(from: &mut impl Reader, method: &str) -> Self {
        let line = text(from.line());
        let mut words = line.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        let status = words.next().and_then(|status| status.parse::<u16>().ok());
        let Some(status) = status.filter(|_| version.starts_with("HTTP/1.")) else {
            panic!("no status line: {line:?}")
        };
        let fields = Fields::read(from);
        let mut response = Self { version, status, fields, body: Vec::new(), trailers: Fields::default() };
        let is_bodiless = method == "HEAD" || status < 200 || matches!(status, 204 | 304);
        if is_bodiless || (method == "CONNECT" && status < 300) {
            return response;
        }
        if response.fields.is_chunked() {
            (response.body, response.trailers) = read_chunked(from);
        } else if let Some(length) = response.fields.length() {
            response.body = from.exact(length);
        } else {
            response.body = from.to_end();
        }
        response
    }

    /// Reads all responses that lie in `bytes`, one for each method.
    ///
    /// # Panics
    /// When one is malformed or not whole, or something stands behind them.
    #[track_caller]
    pub fn read_all<'a>(bytes: &[u8], methods: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        let mut rest = Rest(bytes.iter().copied().collect());
        let responses = methods.into_iter().map(|method| Self::read(&mut rest, method)).collect();
        assert!(rest.0.is_empty(), "behind the last response: {}", text(rest.0.into()));
        responses
    }

    /// Reads responses to GET until `bytes` end.
    ///
    /// # Panics
    /// When one is malformed or not whole.
    #[track_caller]
    pub fn read_each(bytes: &[u8]) -> Vec<Self> {
        let mut rest = Rest(bytes.iter().copied().collect());
        let mut responses = Vec::new();
        while !rest.0.is_empty() {
            responses.push(Self::read(&mut rest, "GET"));
        }
        responses
    }

    /// The field of that name.
    ///
    /// # Panics
    /// When there are several.
    #[track_caller]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name)
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }
}

impl RawRequest {
    /// Reads one.
    ///
    /// # Panics
    /// When it is malformed or not whole.
    #[track_caller]
    pub fn read(from: &mut impl Reader) -> Self {
        let line = text(from.line());
        let words: Vec<_> = line.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else { panic!("no request line: {line:?}") };
        let (method, target) = (method.to_owned(), target.to_owned());
        let fields = Fields::read(from);
        let (body, trailers) = if fields.is_chunked() {
            read_chunked(from)
        } else {
            (from.exact(fields.length().unwrap_or(0)), Fields::default())
        };
        Self { method, target, fields, body, trailers }
    }
}

fn read_chunked(from: &mut impl Reader) -> (Vec<u8>, Fields) {
    let mut body = Vec::new();
    loop {
        let line = text(from.line());
        let Ok(size) = usize::from_str_radix(&line, 16) else { panic!("no chunk size: {line:?}") };
        if size == 0 {
            return (body, Fields::read(from));
        }
        body.extend(from.exact(size));
        assert_eq!(from.line(), b"", "behind a chunk");
    }
}

/// Bytes that are all there.
struct Rest(VecDeque<u8>);

impl Reader for Rest {
    #[track_caller]
    fn line(&mut self) -> Vec<u8> {
        let end = self.0.iter().position(|byte| *byte == b'\n');
        let Some(end) = end else { panic!("not a whole line: {}", text(self.0.iter().copied().collect())) };
        let mut line: Vec<u8> = self.0.drain(..=end).collect();
        line.pop();
        assert_eq!(line.pop(), Some(b'\r'), "LF without CR");
        line
    }

    #[track_caller]
    fn exact(&mut self, count: usize) -> Vec<u8> {
        assert!(count <= self.0.len(), "a body of {count} bytes, of which {} are there", self.0.len());
        self.0.drain(..count).collect()
    }

    fn to_end(&mut self) -> Vec<u8> {
        self.0.drain(..).collect()
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_of_every_framing_are_read() {
        let bytes = b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nHTTP/1.0 200 OK\r\n\r\nrest";
        let responses = RawResponse::read_all(bytes, ["GET", "GET", "GET", "HEAD", "GET"]);
        let bodies: Vec<_> = responses.iter().map(RawResponse::text).collect();
        assert_eq!(bodies, ["", "hi", "abc", "", "rest"]);
        assert_eq!((responses[0].field("a"), responses[2].trailers.get("x")), (Some("b"), Some("y")));
    }

    #[test]
    fn request_is_read_with_its_body() {
        let mut rest = Rest(b"PUT /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi".iter().copied().collect());
        let request = RawRequest::read(&mut rest);
        assert_eq!((&*request.method, &*request.target, &request.body[..]), ("PUT", "/x", &b"hi"[..]));
    }
}
