//! Request targets and Host values: RFC 9112 §3.2, RFC 3986 §3.2.

use http::Method;

use super::bytes::{HOST, is_of};
use super::reject::Reject;

/// Which of the four forms of RFC 9112 §3.2 a request target has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TargetForm {
    /// `/path?query`: what clients send to a server.
    #[default]
    Origin,
    /// `http://host/path?query`: what clients send to a proxy, and every server must understand.
    Absolute,
    /// `host:port`: CONNECT, and nothing else.
    Authority,
    /// `*`: OPTIONS, and nothing else.
    Asterisk,
}

/// Sorts a target, or refuses it.
///
/// Refused beyond the grammar of RFC 9112: `#` (a fragment never goes on the wire, and servers differ in where they
/// cut it) and bytes beyond ASCII (servers differ in how they read them; they must be percent-encoded).
#[inline]
pub(crate) fn check_target(method: &Method, target: &[u8]) -> Result<TargetForm, Reject> {
    let wrong = target.iter().fold(0_u8, |wrong, &byte| wrong | (byte & 0x80) | u8::from(byte == b'#'));
    if wrong != 0 {
        return Err(Reject::bad("target holds a fragment or bytes beyond ASCII"));
    }
    if *method == Method::CONNECT {
        return check_connect(target);
    }
    match target {
        [b'/', ..] => Ok(TargetForm::Origin),
        b"*" if *method == Method::OPTIONS => Ok(TargetForm::Asterisk),
        _ => check_absolute(target),
    }
}

#[cold]
fn check_connect(target: &[u8]) -> Result<TargetForm, Reject> {
    match split_port(target) {
        Some((host, Some(port)))
            if is_host(host) && !host.is_empty() && is_port(port) && !port.is_empty() =>
        {
            Ok(TargetForm::Authority)
        }
        _ => Err(Reject::bad("CONNECT needs host:port")),
    }
}

#[cold]
fn check_absolute(target: &[u8]) -> Result<TargetForm, Reject> {
    let authority = std::str::from_utf8(target).ok().and_then(split_absolute).map(|(authority, _)| authority);
    match authority {
        Some(authority) if !authority.is_empty() && is_authority(authority.as_bytes()) => {
            Ok(TargetForm::Absolute)
        }
        _ => Err(Reject::bad("malformed target")),
    }
}

/// `http://authority` and the rest, which begins with `/` or `?` or is empty.
pub(crate) fn split_absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Some(rest.split_at(end))
}

/// Is this `uri-host [ ":" port ]`, or empty? No user info.
#[inline]
pub(crate) fn is_authority(bytes: &[u8]) -> bool {
    let host_len = bytes.iter().position(|&byte| !is_of(HOST, byte)).unwrap_or(bytes.len());
    match &bytes[host_len..] {
        [] => true,
        [b':', port @ ..] if host_len > 0 => is_port(port),
        _ => is_literal_authority(bytes),
    }
}

/// The same for an address in brackets.
#[cold]
fn is_literal_authority(bytes: &[u8]) -> bool {
    let Some((host @ [b'[', ..], port)) = split_port(bytes) else { return false };
    is_host(host) && port.is_none_or(is_port)
}

/// The host, and what stands behind its colon; `None` if the brackets don't match.
fn split_port(bytes: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let host_len = if bytes.first() == Some(&b'[') {
        memchr::memchr(b']', bytes)? + 1
    } else {
        bytes.iter().position(|&byte| byte == b':').unwrap_or(bytes.len())
    };
    let (host, rest) = bytes.split_at(host_len);
    match rest {
        [] => Some((host, None)),
        [b':', port @ ..] => Some((host, Some(port))),
        _ => None,
    }
}

#[inline]
fn is_port(port: &[u8]) -> bool {
    let mut number = 0_u32;
    for &digit in port {
        if !digit.is_ascii_digit() || number > 65_535 {
            return false;
        }
        number = number * 10 + u32::from(digit - b'0');
    }
    number <= 65_535 && port.len() <= 5
}

/// A registered name or IPv4 address, or an IPv6 address in brackets.
fn is_host(host: &[u8]) -> bool {
    match host {
        [b'[', literal @ .., b']'] => {
            std::str::from_utf8(literal).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
        }
        _ => host.iter().all(|&byte| is_of(HOST, byte)),
    }
}
