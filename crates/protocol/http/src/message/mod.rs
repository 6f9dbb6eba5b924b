//! What both sides send and receive: fields and bodies.

mod blame;
mod body;
mod headers;
mod incoming;

pub(crate) use blame::Blame;
pub use body::{Body, BodySender};
pub use headers::Headers;
pub(crate) use incoming::{Feeder, Incoming, incoming};
