//! The client's side of HTTP/1.
//!
//! | layer | module |
//! | --- | --- |
//! | what a program calls | `http_client`, `builder`, `options`, `request`, `multipart`, `response`, `charset` |
//! | where a URL leads | `url`, `origin`, `route`, `proxy`, `no_proxy`, `redirect`, `cookies` |
//! | one exchange on one connection | `wire`, `exchange`, `outgoing`, `head`, `reply_body`, `upgraded` |
//! | what a body was before it was compressed | `decode`, `inflate` |

mod builder;
mod charset;
mod cookies;
mod decode;
mod drain;
mod exchange;
mod head;
mod http_client;
mod inflate;
mod multipart;
mod no_proxy;
mod options;
mod origin;
mod outgoing;
mod proxy;
mod redirect;
mod reply_body;
mod request;
mod response;
mod route;
mod session;
mod upgraded;
mod url;
mod wire;

pub use builder::HttpClientBuilder;
pub use cookies::CookieJar;
pub use http_client::HttpClient;
pub use millstream_client::ResetIdle;
pub use multipart::{Form, Part};
pub use options::{HttpClientOptions, Proxies};
pub use proxy::Proxy;
pub use request::RequestBuilder;
pub use response::Response;
pub use upgraded::UpgradedConn;
pub use url::Url;
pub use wire::{Http1, WireReply, WireRequest};
