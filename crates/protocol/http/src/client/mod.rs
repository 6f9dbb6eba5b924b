//! The client's side of HTTP/1.
//!
//! | layer | module |
//! | --- | --- |
//! | what a program calls | `http_client`, `request`, `response` |
//! | where a URL leads | `url`, `origin` |
//! | one exchange on one connection | `wire`, `exchange`, `outgoing`, `reply_body`, `upgraded` |

mod exchange;
mod head;
mod http_client;
mod options;
mod origin;
mod outgoing;
mod reply_body;
mod request;
mod response;
mod session;
mod upgraded;
mod url;
mod wire;

pub use http_client::HttpClient;
pub use options::HttpClientOptions;
pub use request::RequestBuilder;
pub use response::Response;
pub use upgraded::UpgradedConn;
pub use url::Url;
pub use wire::{Http1, WireReply, WireRequest};
