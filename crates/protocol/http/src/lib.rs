//! HTTP/1.0 and HTTP/1.1, client and server.

pub mod client;
pub mod codec;
pub mod compress;
pub mod extract;
pub mod files;
mod message;
mod raw;
pub mod router;
pub mod server;
pub mod sse;
#[cfg(feature = "tower")]
pub mod tower;

pub use client::{HttpClient, HttpClientOptions, Url};
pub use compress::Compress;
pub use files::Files;
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
pub use message::{Body, BodySender, Headers};
pub use router::Router;
pub use server::{Handler, HttpOptions, HttpServer, IntoResponse, Request, Response};
