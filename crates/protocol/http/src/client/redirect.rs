//! What a redirect makes of a request: the rules of the Fetch standard (HTTP-redirect fetch), and no step from https to
//! http.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HeaderName,
    PROXY_AUTHORIZATION,
};
use http::{Method, StatusCode};
use http_body::Body as _;
use millstream_base::{Deadline, Error, Kind, Origin, Result, Seen};
use millstream_client::{Worker, now};

use super::Url;
use super::drain::MOST_TIME;
use super::request::basic;
use super::wire::Sent;
use crate::Body;
use crate::codec::Fields;

/// Where a reply leads, if it is a redirect that says so.
pub(crate) fn location(status: StatusCode, fields: &Fields) -> Option<&[u8]> {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308).then(|| fields.get("location"))?
}

/// Makes of the request what is to be sent next, and gives the URL to send it to.
pub(crate) fn turn(sent: &mut Sent, from: &Url, status: StatusCode, location: &[u8]) -> Result<Url> {
    let method = sent.request.method.clone();
    let next = destination(&method, from, location)?;
    if from.is_https() && !next.is_https() {
        return Err(forbidden(
            &method,
            from,
            format!("redirect from https to {}, which is not encrypted", next.place()),
        ));
    }
    let request = &mut sent.request;
    let becomes_get = match status.as_u16() {
        301 | 302 => request.method == Method::POST,
        303 => request.method != Method::GET && request.method != Method::HEAD,
        _ => false,
    };
    if becomes_get {
        request.method = Method::GET;
        request.body = Body::empty();
        // What described the body, or was promised with it.
        (sent.is_repeatable, request.is_idempotent) = (true, None);
        remove(sent, &[CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE]);
    }
    if !sent.is_repeatable {
        return Err(forbidden(
            &method,
            from,
            format!("redirect to {}, but the body can't be sent again", next.place()),
        ));
    }
    if from.origin() != next.origin() {
        remove(sent, &[AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION]);
    }
    if let Some((user, password)) = next.credentials() {
        sent.request.headers.set(AUTHORIZATION, basic(user, password));
    }
    Ok(next)
}

fn destination(method: &Method, from: &Url, location: &[u8]) -> Result<Url> {
    // Latin-1 would be the letter of the standard; UTF-8 is what servers send.
    let text = std::str::from_utf8(location).ok();
    let next = text.ok_or_else(|| Error::invalid("not UTF-8")).and_then(|text| from.join(text));
    next.map_err(|error| forbidden(method, from, format!("redirect to nowhere: {}", error.message())))
}

fn remove(sent: &mut Sent, names: &[HeaderName]) {
    for name in names {
        sent.request.headers.remove(name);
    }
}

/// The chain is over its limit.
pub(crate) fn too_many(method: &Method, last: &Url, limit: u32) -> Error {
    forbidden(method, last, format!("too many redirects (limit {limit})"))
}

fn forbidden(method: &Method, from: &Url, message: String) -> Error {
    Error::new(Kind::Policy, Origin::Peer, message).with_seen(Seen::Yes).with_target(from.called(method))
}

/// Reads a redirect's body if it is short and comes soon, so that its connection serves the next call; else that is given up.
pub(crate) async fn drain(mut body: Body, worker: &Worker, deadline: Deadline) {
    let is_short = body.len().is_none_or(|length| length <= DRAINED_BYTES);
    if body.as_full().is_some() || !is_short {
        return;
    }
    let timer = worker.wheel().timer();
    timer.arm(deadline.earlier(Deadline::after(now(), MOST_TIME)).moment());
    let mut left = DRAINED_BYTES;
    while left > 0 {
        let next = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Pending => timer.poll_expired(cx).map(|()| None),
            ready => ready,
        });
        match next.await {
            Some(Ok(frame)) => left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64),
            // At its end the connection has gone back, a failed one is closed; a late one is, when the body is dropped.
            Some(Err(_)) | None => return,
        }
    }
}

/// A longer body costs more than a new connection (a guess: a page of a few packets is read, a download is not).
const DRAINED_BYTES: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::WireRequest;
    use http::HeaderValue;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn sent(method: &str, body: &'static str) -> Sent {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = Box::new(WireRequest::new(method, "/", HeaderValue::from_static("a")));
        request.body = Body::from(body);
        for (name, value) in [
            (AUTHORIZATION, "secret"),
            (COOKIE, "a=b"),
            (PROXY_AUTHORIZATION, "p"),
            (CONTENT_TYPE, "text/plain"),
        ] {
            request.headers.append(name, HeaderValue::from_static(value));
        }
        Sent {
            request,
            is_repeatable: true,
            deadline: Deadline::after(now(), std::time::Duration::from_secs(1)),
        }
    }

    fn turned(method: &str, status: u16, from: &str, to: &str) -> Result<(Sent, Url)> {
        let mut sent = sent(method, "body");
        let status = StatusCode::from_u16(status).expect("a status");
        let next = turn(&mut sent, &url(from), status, to.as_bytes())?;
        Ok((sent, next))
    }

    #[test]
    fn method_and_body_follow_the_fetch_standard() {
        for (status, method, expected) in [
            (301, "POST", "GET"),
            (302, "POST", "GET"),
            (303, "POST", "GET"),
            (307, "POST", "POST"),
            (308, "POST", "POST"),
            (301, "PUT", "PUT"),
            (302, "DELETE", "DELETE"),
            (303, "PUT", "GET"),
            (303, "DELETE", "GET"),
            (301, "GET", "GET"),
            (302, "HEAD", "HEAD"),
            (303, "HEAD", "HEAD"),
            (307, "PATCH", "PATCH"),
        ] {
            let (sent, _) = turned(method, status, "http://a/x", "/y").expect("allowed");
            assert_eq!(sent.request.method, expected, "{status} {method}");
            let keeps_body = method == expected;
            assert_eq!(sent.request.body.len() == Some(4), keeps_body, "{status} {method}");
            assert_eq!(sent.request.headers.contains(&CONTENT_TYPE), keeps_body, "{status} {method}");
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        for (from, to, kept) in [
            ("http://a/x", "/y", true),
            ("http://a/x", "http://a/y", true),
            ("http://a:80/x", "http://A/y", true),
            ("http://a/x", "//a/y", true),
            ("http://a/x", "http://a:81/y", false),
            ("http://a/x", "https://a/y", false),
            ("http://a/x", "http://b/y", false),
            ("http://a/x", "http://b.a/y", false),
        ] {
            let (sent, _) = turned("GET", 302, from, to).expect("allowed");
            for name in [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION] {
                assert_eq!(sent.request.headers.contains(&name), kept, "{from} to {to}: {name}");
            }
        }
    }

    #[test]
    fn credentials_in_a_location_are_used() {
        let (sent, next) = turned("GET", 302, "http://a/", "http://u:p@b/").expect("allowed");
        assert_eq!(sent.request.headers.get(&AUTHORIZATION).expect("set"), "Basic dTpw");
        assert_eq!(next.to_string(), "http://b/");
    }

    #[test]
    fn ways_that_lead_nowhere_or_out_of_encryption_are_refused() {
        for (from, to) in [
            ("https://a/", "http://a/"),
            ("https://a/", "http://b/"),
            ("http://a/", "ftp://a/"),
            ("http://a/", "javascript:alert(1)"),
            ("http://a/", "file:///etc/passwd"),
            ("http://a/", "http://"),
            ("http://a/", "http://a:99999/"),
        ] {
            let error =
                turned("GET", 302, from, to).err().unwrap_or_else(|| panic!("{from} to {to} is allowed"));
            assert_eq!(error.kind(), Kind::Policy, "{error}");
            assert_eq!(error.target(), Some(format!("GET {}", url(from)).as_str()));
        }
    }

    #[test]
    fn body_that_is_gone_is_refused_only_where_it_is_needed() {
        for (status, is_allowed) in [(301, true), (302, true), (303, true), (307, false), (308, false)] {
            let mut sent = sent("POST", "");
            sent.is_repeatable = false;
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(turn(&mut sent, &url("http://a/"), status, b"/y").is_ok(), is_allowed, "{status}");
        }
    }

    #[test]
    fn only_redirects_with_a_location_lead_anywhere() {
        let fields = |text: &str| {
            use crate::codec::{HeadLimits, Progress, ResponseHead, parse_response};
            let (mut head, mut progress) = (ResponseHead::new(), Progress::default());
            let bytes = format!("HTTP/1.1 302 Found\r\n{text}\r\n");
            let limits = HeadLimits::default();
            parse_response(bytes.as_bytes(), &limits, &Method::GET, &mut head, &mut progress)
                .expect("a head");
            head.fields
        };
        let (with, without) = (fields("Location: /x\r\n"), fields("X-A: b\r\n"));
        for status in [301, 302, 303, 307, 308] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(location(status, &with), Some(&b"/x"[..]));
            assert_eq!(location(status, &without), None);
        }
        for status in [200, 201, 300, 304, 305, 306, 399] {
            assert_eq!(location(StatusCode::from_u16(status).expect("a status"), &with), None);
        }
    }
}
