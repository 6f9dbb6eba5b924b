//! A request in the making.

use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method};
use millstream_base::{Error, Result};
use serde::Serialize;

use super::{HttpClient, Response, Url};
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
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
    pub(crate) timeout: Option<Duration>,
    pub(crate) is_idempotent: Option<bool>,
}

impl RequestBuilder {
    pub(crate) fn new(client: HttpClient, method: Method, url: Result<Url>) -> Self {
        let request = url.map(|url| {
            let credentials = url.credentials().cloned();
            let mut request = ClientRequest {
                method,
                url,
                headers: Headers::new(),
                body: Body::empty(),
                timeout: None,
                is_idempotent: None,
            };
            request.headers.append(ACCEPT, HeaderValue::from_static("*/*"));
            if let Some(agent) = &client.options().user_agent {
                request.headers.append(USER_AGENT, agent.clone());
            }
            if let Some((user, password)) = credentials {
                request.headers.append(AUTHORIZATION, basic(&user, &password));
            }
            request
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
            request.headers.set(name, value);
            Ok(())
        })
    }

    /// With these fields; others of their names are replaced.
    pub fn headers(self, headers: HeaderMap) -> Self {
        self.change(|request| {
            for name in headers.keys() {
                request.headers.remove(name);
            }
            request
                .headers
                .extend(Headers::from(headers.clone()).iter().map(|(n, v)| (n.clone(), v.clone())));
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

    /// With this body.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.change(|request| {
            request.body = body.into();
            Ok(())
        })
    }

    /// With this value as a JSON body.
    pub fn json(self, value: &impl Serialize) -> Self {
        self.change(|request| {
            let bytes = serde_json::to_vec(value)
                .map_err(|error| Error::invalid("not possible as JSON").with_source(error))?;
            request.headers.set_default(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = bytes.into();
            Ok(())
        })
    }

    /// With these pairs as a form's body.
    pub fn form(self, pairs: &impl Serialize) -> Self {
        self.change(|request| {
            let text = serde_urlencoded::to_string(pairs)
                .map_err(|error| Error::invalid("a form can't be made of this").with_source(error))?;
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers.set_default(CONTENT_TYPE, form);
            request.body = text.into();
            Ok(())
        })
    }

    /// With basic credentials.
    pub fn basic_auth(self, user: &str, password: &str) -> Self {
        self.change(|request| {
            if user.contains(':') {
                return Err(Error::invalid("a user name of basic credentials can't hold a colon"));
            }
            request.headers.set(AUTHORIZATION, basic(user, password));
            Ok(())
        })
    }

    /// With a bearer token.
    pub fn bearer_auth(self, token: &str) -> Self {
        self.change(|request| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Error::invalid("a bearer token with forbidden bytes"))?;
            value.set_sensitive(true);
            request.headers.set(AUTHORIZATION, value);
            Ok(())
        })
    }

    /// With this deadline for the call, until the reply's head is here.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.change(|request| {
            request.timeout = Some(timeout);
            Ok(())
        })
    }

    /// Says that the server may see this request twice without harm, whatever its method: it can be tried again then.
    pub fn idempotent(self) -> Self {
        self.change(|request| {
            request.is_idempotent = Some(true);
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

fn basic(user: &str, password: &str) -> HeaderValue {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value =
        HeaderValue::try_from(format!("Basic {encoded}")).expect("base64 holds only visible ASCII");
    value.set_sensitive(true);
    value
}
