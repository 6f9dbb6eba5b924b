//! What must be remembered of a request until its response is out.

use std::time::Instant;

use http::{Method, StatusCode};

use crate::codec::{RequestHead, Version};

/// What must be remembered of a request until its response is out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) started: Instant,
    pub(crate) version: Version,
    pub(crate) keeps_alive: bool,
    pub(crate) is_head: bool,
    pub(crate) is_connect: bool,
    pub(crate) wants_upgrade: bool,
    /// HTTP/1.1, kept alive, and a method whose responses have bodies: nothing needs a second look.
    pub(crate) is_plain: bool,
}

impl Exchange {
    #[inline]
    pub(crate) fn of(head: &RequestHead, started: Instant) -> Self {
        Self {
            started,
            version: head.version,
            keeps_alive: head.keep_alive,
            is_head: head.method == Method::HEAD,
            is_connect: head.method == Method::CONNECT,
            wants_upgrade: head.upgrade,
            is_plain: head.keep_alive
                && head.version == Version::Http11
                && !(head.method == Method::HEAD || head.method == Method::CONNECT),
        }
    }

    /// For a connection without a request: answers to what can't be parsed.
    pub(crate) fn none(now: Instant) -> Self {
        Self {
            started: now,
            version: Version::Http11,
            keeps_alive: false,
            is_head: false,
            is_connect: false,
            wants_upgrade: false,
            is_plain: false,
        }
    }

    /// Has a response of this status a body on the wire (RFC 9110 §6.4.1)?
    #[inline]
    pub(crate) fn allows_body(&self, status: StatusCode) -> bool {
        !self.is_head && status_allows_body(status) && !(self.is_connect && status.is_success())
    }

    /// May a response of this status say how long its body is (RFC 9110 §8.6)?
    #[inline]
    pub(crate) fn allows_length(&self, status: StatusCode) -> bool {
        !(status.is_informational()
            || status == StatusCode::NO_CONTENT
            || (self.is_connect && status.is_success()))
    }
}

#[inline]
pub(crate) fn status_allows_body(status: StatusCode) -> bool {
    !(status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED)
}
