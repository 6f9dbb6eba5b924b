//! A request in the making.

use std::panic::Location;
use std::time::Duration;

use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, Method};
use millstream_base::{Error, Result};
use serde::Serialize;

use super::wire::WireRequest;
use super::{Form, HttpClient, Response, Url};
use crate::{Body, Headers};

/// A request in the making. An error in its making is told by [`RequestBuilder::send`].
#[must_use = "nothing is sent before `send`"]
#[derive(Debug)]
pub struct RequestBuilder {
    client: HttpClient,
    request: Result<ClientRequest>,
}

/// A request as the client carries it through redirects and retries.
#[derive(Debug)]
pub(crate) struct ClientRequest {
    pub(crate) url: Url,
    /// Without target and Host: they come with the URL.
    pub(crate) wire: Box<WireRequest>,
    pub(crate) timeout: Option<Duration>,
    /// Of the whole call, the reply's body too.
    pub(crate) total_timeout: Option<Duration>,
}

impl RequestBuilder {
    #[track_caller]
    pub(crate) fn new(client: HttpClient, method: Method, url: Result<Url>) -> Self {
        let caller = Location::caller();
        let request = url.map(|url| {
            let mut wire =
                Box::new(WireRequest::new(method, url.shared_target(), url.origin().host_field().clone()));
            wire.caller = caller;
            wire.headers.append(ACCEPT, HeaderValue::from_static("*/*"));
            if let Some(agent) = &client.options().user_agent {
                wire.headers.append(USER_AGENT, agent.clone());
            }
            if let Some((user, password)) = url.credentials() {
                wire.headers.append(AUTHORIZATION, basic(user, password));
            }
            ClientRequest { url, wire, timeout: None, total_timeout: client.options().total_timeout }
        });
        Self { client, request }
    }

    fn change(mut self, change: impl FnOnce(&mut ClientRequest) -> Result<()>) -> Self {
        if let Ok(request) = &mut self.request
            && let Err(error) = change(request)
        {
            self.request = Err(error);
        }
        self
    }

    /// With this field; others of that name are replaced. Host, Content-Length and Transfer-Encoding are the client's own.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: std::fmt::Display>,
        V: TryInto<HeaderValue, Error: std::fmt::Display>,
    {
        self.change(|request| {
            let name = name.try_into().map_err(|error| Error::invalid(format!("bad field name: {error}")))?;
            let value =
                value.try_into().map_err(|error| Error::invalid(format!("bad value of {name}: {error}")))?;
            request.wire.headers.set(name, value);
            Ok(())
        })
    }

    /// With these fields; others of their names are replaced.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.change(|request| {
            for name in headers.keys() {
                request.wire.headers.remove(name);
            }
            let more = Headers::from(headers);
            request.wire.headers.extend(more.iter().map(|(name, value)| (name.clone(), value.clone())));
            Ok(())
        })
    }

    /// With these pairs behind the URL's query, form-encoded.
    pub fn query(self, pairs: &impl Serialize) -> Self {
        self.change(|request| {
            let encoded = serde_urlencoded::to_string(pairs)
                .map_err(|error| Error::invalid("a query can't be made of this").with_source(error))?;
            if !encoded.is_empty() {
                request.url = request.url.with_query(&encoded);
            }
            Ok(())
        })
    }

    /// With this body. One that is a stream is read as it is sent, and never sent twice.
    ///
    /// A server may answer before it has all of the body. While a successful reply is still under way, the rest goes on; a
    /// reply that is whole ends the call, whatever its status: what has not been sent by then is not sent, the body is
    /// dropped, and the connection is closed. Who must know that all was taken looks at what the server says of it, or has
    /// the body tell when it was read to its end.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.change(|request| {
            request.wire.body = body.into();
            Ok(())
        })
    }

    /// With this value as a JSON body.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.change(|request| {
            let bytes = serde_json::to_vec(value)
                .map_err(|error| Error::invalid("not possible as JSON").with_source(error))?;
            request.wire.headers.set_default(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.wire.body = bytes.into();
            Ok(())
        })
    }

    /// With these pairs as a form's body.
    pub fn form(self, pairs: &impl Serialize) -> Self {
        self.change(|request| {
            let text = serde_urlencoded::to_string(pairs)
                .map_err(|error| Error::invalid("a form can't be made of this").with_source(error))?;
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.wire.headers.set_default(CONTENT_TYPE, form);
            request.wire.body = text.into();
            Ok(())
        })
    }

    /// With this form as the body: fields and files.
    pub fn multipart(self, form: Form) -> Self {
        self.change(|request| {
            request.wire.headers.set(CONTENT_TYPE, form.content_type());
            request.wire.body = form.into_body();
            Ok(())
        })
    }

    /// Asks the server to switch to this protocol, as `websocket` is one. If it does, the reply's status is 101 and
    /// [`Response::into_upgraded`] gives the raw connection.
    pub fn upgrade(self, protocol: &str) -> Self {
        self.header(CONNECTION, "upgrade").header(UPGRADE, protocol)
    }

    /// With basic credentials.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        self.change(|request| {
            if user.contains(':') {
                return Err(Error::invalid("a user name of basic credentials can't hold a colon"));
            }
            request.wire.headers.set(AUTHORIZATION, basic(user, password));
            Ok(())
        })
    }

    /// With a bearer token.
    pub fn bearer_auth(self, token: &str) -> Self {
        self.change(|request| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Error::invalid("a bearer token with forbidden bytes"))?;
            value.set_sensitive(true);
            request.wire.headers.set(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// With this deadline for the whole call, the reply's body too: however slowly it comes, reading it fails then with
    /// [`Kind::Timeout`](millstream_base::Kind::Timeout). None unless set, here or on the client.
    ///
    /// ```no_run
    /// # async fn example(client: millstream_http::HttpClient) -> Result<(), millstream_base::Error> {
    /// let limit = std::time::Duration::from_secs(20);
    /// let text = client.get("http://127.0.0.1/report").total_timeout(limit).send().await?.text().await?;
    /// # Ok(()) }
    /// ```
    pub fn total_timeout(self, timeout: Duration) -> Self {
        self.change(|request| {
            request.total_timeout = Some(timeout);
            Ok(())
        })
    }

    /// With this deadline for the call, until the reply's head is here. The body has the limit on a server's silence, and
    /// [`total_timeout`](Self::total_timeout).
    pub fn timeout(self, timeout: Duration) -> Self {
        self.change(|request| {
            request.timeout = Some(timeout);
            Ok(())
        })
    }

    /// Says that the server may see this request twice without harm, whatever its method: it can be tried again then.
    pub fn idempotent(self) -> Self {
        self.change(|request| {
            request.wire.is_idempotent = Some(true);
            Ok(())
        })
    }

    /// Sends the request and gives the reply as soon as its head is here.
    ///
    /// Dropping the future cancels the call and closes its connection.
    ///
    /// # Errors
    /// What went wrong in the making, or in the call. A status of 400 and more is a reply, not an error.
    pub async fn send(self) -> Result<Response> {
        self.client.execute(self.request?).await
    }
}

pub(crate) fn basic(user: &str, password: &str) -> HeaderValue {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value =
        HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 holds only visible ASCII");
    value.set_sensitive(true);
    value
}
