//! What `millstream get` is told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use millstream::http::client::Proxy;
use millstream::http::{HeaderName, HeaderValue, Method, Url};

use crate::span;

/// Fetches URLs
///
/// One body goes to standard output as it arrives, several go to files named after their URLs. Exits with 0 only when every
/// body arrived whole with a status under 400.
#[derive(Args)]
pub(crate) struct Options {
    /// What to fetch
    #[arg(required = true, value_name = "URL", value_parser = url)]
    pub(crate) urls: Vec<Url>,
    /// Writes to this file, or into this folder; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Fetches at most this many at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
    /// Sends this field with each request; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = field)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// Sends this text as the body of a POST, as a form unless a Content-Type is given; `@FILE` is what the file holds, byte
    /// for byte, `@-` standard input; given again, it is joined with `&`
    #[arg(short, long, alias = "data-binary", value_name = "TEXT|@FILE|@-", conflicts_with_all = ["json", "resume"])]
    pub(crate) data: Vec<String>,
    /// The same as JSON, asking for JSON; given again, it is joined with nothing between
    #[arg(long, value_name = "TEXT|@FILE|@-", conflicts_with = "resume")]
    pub(crate) json: Vec<String>,
    /// Asks with this method, as it is spelled, instead of GET (POST with data)
    #[arg(short = 'X', long, value_name = "METHOD", value_parser = method, conflicts_with = "resume")]
    pub(crate) request: Option<Method>,
    /// Asks for the reply's head alone (HEAD), and writes that
    #[arg(short = 'I', long, conflicts_with_all = ["data", "json", "request", "resume"])]
    pub(crate) head: bool,
    /// How long each URL may take, body included; without it there are only limits on silence
    #[arg(long, value_name = "SPAN", value_parser = span::parse)]
    pub(crate) deadline: Option<Duration>,
    /// Follows at most this many redirects
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) max_redirects: u32,
    /// Goes through this proxy, or through none when it is empty, whatever the environment says
    #[arg(short = 'x', long, value_name = "URL", value_parser = proxy)]
    pub(crate) proxy: Option<Way>,
    /// Accepts any certificate: whoever stands between can read and change all
    #[arg(short = 'k', long)]
    pub(crate) insecure: bool,
    /// Goes on where an earlier try of the same URL to the same file was broken off
    #[arg(short, long)]
    pub(crate) resume: bool,
}

/// With `http://` in front where there is no scheme, as people type it.
pub(crate) fn url(text: &str) -> Result<Url, String> {
    let url = if has_scheme(text) { text.parse() } else { format!("http://{text}").parse() };
    url.map_err(|error: millstream::Error| error.to_string())
}

/// Does it begin with a scheme (RFC 3986 §3.1)? What else stands before `://` may be a password: it is no scheme to be named.
fn has_scheme(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    text.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(is_letter))
}

/// How URLs are reached.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    Direct,
    Through(Proxy),
}

fn proxy(text: &str) -> Result<Way, String> {
    if text.is_empty() {
        return Ok(Way::Direct);
    }
    let proxy = if has_scheme(text) { Proxy::all(text) } else { Proxy::all(&format!("http://{text}")) };
    proxy.map(Way::Through).map_err(|error| error.to_string())
}

/// Any token (RFC 9110 §9.1), but none that makes a tunnel of the connection.
pub(crate) fn method(text: &str) -> Result<Method, String> {
    let method = Method::from_bytes(text.as_bytes()).map_err(|_| "a method is a word like GET or PURGE")?;
    if method == Method::CONNECT { Err("CONNECT is for proxies: see --proxy".to_owned()) } else { Ok(method) }
}

/// `Name: value`.
pub(crate) fn field(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("want NAME: VALUE")?;
    let name: HeaderName =
        name.trim_end().parse().map_err(|_| "what stands before the colon can't name a field")?;
    if ["host", "content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
        return Err(format!("{name} is the client's own to send"));
    }
    let value = value.trim().parse().map_err(|_| format!("the value of {name} holds forbidden bytes"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_not_repeated() {
        for text in ["u:secret@bad host", "http://u:secret@:bad", "u:secret@a b/?c=http://d", "secret@:1://"]
        {
            let why = [url(text).expect_err(text), proxy(text).expect_err(text)].concat();
            assert!(!why.contains("secret"), "{why}");
        }
        for text in ["Authorization secret", "Authorization secret: x", "secret\0: x", "A: secret\0"] {
            let why = field(text).expect_err(text);
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn url_without_a_scheme_is_http() {
        assert_eq!(url("example.org/a").expect("good").to_string(), "http://example.org/a");
        assert_eq!(url("localhost:8080").expect("good").to_string(), "http://localhost:8080/");
        assert!(url("ftp://example.org/").is_err());
        assert_eq!(url("a/x?to=http://b/").expect("good").to_string(), "http://a/x?to=http://b/");
        assert!(url("http://").is_err());
    }

    #[test]
    fn methods_are_tokens_as_they_are_spelled() {
        for good in ["GET", "PURGE", "M-SEARCH", "delete"] {
            assert_eq!(method(good).expect(good).as_str(), good);
        }
        for bad in ["", "GET ", "A B", "GET\r\nX: y", "G\0T", "(x)", "CONNECT"] {
            assert!(method(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fields_have_a_name_and_no_line_of_their_own() {
        let (name, value) = field("X-Name:  a: b ").expect("good");
        assert_eq!((name.as_str(), value.as_bytes()), ("x-name", &b"a: b"[..]));
        for bad in ["no colon", ": x", "a b: x", "Host: x", "content-length: 5", "a: x\r\nb: y", "a: x\0"] {
            assert!(field(bad).is_err(), "{bad:?}");
        }
    }
}
