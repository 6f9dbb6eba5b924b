//! Heads as bytes. Nothing the caller gives can end a line: it is refused or can't be written.
//!
//! ```
//! use http::{HeaderValue, StatusCode, header};
//! use millstream_http::codec::{Version, encode};
//!
//! let mut out = Vec::new();
//! encode::encode_status_line(&mut out, Version::Http11, StatusCode::OK);
//! encode::encode_field(&mut out, &header::SERVER, &HeaderValue::from_static("m"));
//! encode::encode_content_length(&mut out, 2);
//! out.extend_from_slice(b"\r\nhi");
//! assert_eq!(out, b"HTTP/1.1 200 OK\r\nserver: m\r\nContent-Length: 2\r\n\r\nhi");
//!
//! out.clear();
//! assert!(encode::encode_request_line(&mut out, &http::Method::GET, "/a b\r\n").is_err());
//! encode::encode_request_line(&mut out, &http::Method::GET, "/a%20b").unwrap();
//! assert_eq!(out, b"GET /a%20b HTTP/1.1\r\n");
//! ```

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use millstream_base::{Error, Result};

use super::Version;
use super::framing::is_token;

/// Appends a status line.
#[inline]
pub fn encode_status_line(out: &mut Vec<u8>, version: Version, status: StatusCode) {
    match (version, common_line(status)) {
        (Version::Http11, Some(line)) => out.extend_from_slice(line),
        _ => encode_rare_line(out, version, status),
    }
}

/// Appends a request line: `GET /path HTTP/1.1`.
///
/// # Errors
///
/// Of kind `Invalid`, with nothing written, if the target is empty or holds a space, a control byte, a byte beyond
/// ASCII or `#`: those must be percent-encoded or left out.
pub fn encode_request_line(out: &mut Vec<u8>, method: &Method, target: &str) -> Result<()> {
    let is_clean = |byte: u8| byte > b' ' && byte < 0x7f && byte != b'#';
    if target.is_empty() || !target.bytes().all(is_clean) {
        return Err(Error::invalid("request target holds bytes that must be percent-encoded"));
    }
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    Ok(())
}

/// Appends one field. The types of the `http` crate hold nothing that could end a line.
#[inline]
pub fn encode_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends all fields of a map.
pub fn encode_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        encode_field(out, name, value);
    }
}

/// Appends one field from raw parts, for names and values that aren't of the `http` crate.
///
/// # Errors
///
/// Of kind `Invalid`, with nothing written, if the name is no token or the value holds a control byte other than tab.
pub fn encode_raw_field(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<()> {
    if !is_token(name.as_bytes()) {
        return Err(Error::invalid("malformed field name"));
    }
    if value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err(Error::invalid("field value holds a control byte"));
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Appends `Content-Length`, spelled so that clients which compare letter case (ab) find it.
#[inline]
pub fn encode_content_length(out: &mut Vec<u8>, length: u64) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(length).as_bytes();
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(digits);
    out.extend_from_slice(b"\r\n");
}

#[cold]
fn encode_rare_line(out: &mut Vec<u8>, version: Version, status: StatusCode) {
    out.extend_from_slice(match version {
        Version::Http10 => b"HTTP/1.0 ",
        Version::Http11 => b"HTTP/1.1 ",
    });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Whole lines of the codes that servers send all day.
#[inline]
fn common_line(status: StatusCode) -> Option<&'static [u8]> {
    Some(match status.as_u16() {
        200 => b"HTTP/1.1 200 OK\r\n",
        201 => b"HTTP/1.1 201 Created\r\n",
        204 => b"HTTP/1.1 204 No Content\r\n",
        206 => b"HTTP/1.1 206 Partial Content\r\n",
        301 => b"HTTP/1.1 301 Moved Permanently\r\n",
        302 => b"HTTP/1.1 302 Found\r\n",
        304 => b"HTTP/1.1 304 Not Modified\r\n",
        400 => b"HTTP/1.1 400 Bad Request\r\n",
        401 => b"HTTP/1.1 401 Unauthorized\r\n",
        403 => b"HTTP/1.1 403 Forbidden\r\n",
        404 => b"HTTP/1.1 404 Not Found\r\n",
        405 => b"HTTP/1.1 405 Method Not Allowed\r\n",
        500 => b"HTTP/1.1 500 Internal Server Error\r\n",
        503 => b"HTTP/1.1 503 Service Unavailable\r\n",
        _ => return None,
    })
}
