//! Compressing responses for clients that ask for it.

mod coding;
mod media;

pub(crate) use coding::{Accepted, Coding};
pub(crate) use media::is_compressible;
