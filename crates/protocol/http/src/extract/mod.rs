//! Typed values out of a request: query, JSON, forms, cookies, credentials.
//!
//! What does not fit is a [`Rejection`]: it says which field is wrong, and is a response with the right status.
//!
//! | from | method | when it does not fit |
//! | --- | --- | --- |
//! | query | [`Request::query`], [`Request::query_pairs`] | 400 |
//! | body | [`Request::json`] | 415 not JSON, 400 malformed, 422 another shape, 413 too long |
//! | body | [`Request::form`] | 415 no form, 422 another shape, 413 too long |
//! | body | [`Request::multipart`] | 415 no such form, 400 malformed, 413 too long, 431 a field's head too long |
//! | Cookie | [`Request::cookies`], [`Request::cookie`] | none |
//! | Authorization | [`Request::bearer`], [`Request::basic`] | none |

mod authorization;
mod body;
mod cookies;
mod multipart;
mod query;
mod rejection;
mod sample;

pub use authorization::Basic;
pub use multipart::fuzz;
pub use multipart::{Field, Multipart, MultipartLimits};
pub use rejection::Rejection;

#[cfg(doc)]
use crate::Request;
