//! HTTP/1.0 and HTTP/1.1, client and server.

pub mod codec;
