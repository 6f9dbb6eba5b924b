//! Whom a URL names, and the way there: directly, or through a proxy's tunnel.

use std::fmt;

use http::{HeaderValue, Method, StatusCode};
use millstream_base::{Deadline, Error, Kind, Origin as Fault, Result, Seen};
use millstream_transport::Conn;
use millstream_transport::tls::TlsClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::exchange::count_interim;
use super::session::Http1Session;
use super::wire::Http1;
use crate::codec::{Parse, Progress, ResponseHead, encode, parse_response};

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Scheme, host and port: what decides where a request goes, and who may see its credentials.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
    host_field: HeaderValue,
    key: Box<str>,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }
}

impl Eq for Origin {}

impl Origin {
    pub(crate) fn new(scheme: Scheme, host: String, port: u16) -> Result<Self> {
        let text = authority(&host, port, scheme.port());
        let key = format!("{}://{text}", scheme.name()).into();
        let host_field = HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .map_err(|_| Error::invalid("URL with a bad host"))?;
        Ok(Self { scheme, host, port, host_field, key })
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The origin as text, which names it among others.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// `host:port`, the port always there: what CONNECT asks for.
    pub(crate) fn authority(&self) -> String {
        authority(&self.host, self.port, 0)
    }

    /// The value of the Host field.
    pub(crate) fn host_field(&self) -> &HeaderValue {
        &self.host_field
    }
}

/// `host[:port]`, with brackets around a v6 address, without the scheme's own port.
fn authority(host: &str, port: u16, own_port: u16) -> String {
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    if port == own_port { format!("{open}{host}{close}") } else { format!("{open}{host}{close}:{port}") }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

/// A tunnel through a proxy (CONNECT), and TLS within it. The extra part of a target.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// `host:port` to be connected to.
    pub(crate) authority: String,
    /// Credentials for the proxy.
    pub(crate) authorization: Option<HeaderValue>,
    /// TLS with the origin, and its name.
    pub(crate) tls: Option<(TlsClient, String)>,
}

/// A proxy's answer to CONNECT at most.
const ANSWER_BYTES: usize = 16 * 1024;

impl Tunnel {
    /// Asks the proxy to connect, then speaks TLS with the origin.
    pub(crate) async fn open(
        &self,
        mut conn: Conn,
        protocol: &Http1,
        deadline: Deadline,
    ) -> Result<Http1Session> {
        self.ask(&mut conn, protocol).await.map_err(|error| error.with_target(self.name()))?;
        let conn = match &self.tls {
            Some((tls, name)) => conn.start_tls(tls, name, deadline).await,
            None => Ok(conn),
        };
        Ok(Http1Session { conn: conn.map_err(|error| error.with_target(self.name()))? })
    }

    fn name(&self) -> String {
        format!("{} through a proxy", self.authority)
    }

    async fn ask(&self, conn: &mut Conn, protocol: &Http1) -> Result<()> {
        let mut out = Vec::new();
        encode::encode_request_line(&mut out, &Method::CONNECT, &self.authority)?;
        encode::encode_raw_field(&mut out, "Host", self.authority.as_bytes())?;
        if let Some(value) = &self.authorization {
            encode::encode_field(&mut out, &http::header::PROXY_AUTHORIZATION, value);
        }
        out.extend_from_slice(b"\r\n");
        conn.write_all(&out).await?;
        conn.flush().await?;
        read_answer(conn, protocol).await
    }
}

async fn read_answer(conn: &mut Conn, protocol: &Http1) -> Result<()> {
    let (mut input, mut head, mut progress) = (Vec::new(), ResponseHead::new(), Progress::default());
    let mut interims = 0;
    loop {
        // A proxy sends nothing into a tunnel before we speak: what follows its head in the same read is none of ours.
        if conn.read_buf(&mut input).await? == 0 {
            return Err(refused("the proxy closed without an answer"));
        }
        while let Some(used) = parse_answer(&input, protocol, &mut head, &mut progress)? {
            if !head.is_interim() {
                return check_answer(head.status, used == input.len());
            }
            // The request itself has not set out: only the proxy has heard of it.
            count_interim(&mut interims).map_err(|error| error.with_seen(Seen::No))?;
            input.drain(..used);
        }
        if input.len() > ANSWER_BYTES {
            return Err(refused("the proxy's answer is too long"));
        }
    }
}

/// The length of a head, once it is whole.
fn parse_answer(
    input: &[u8],
    protocol: &Http1,
    head: &mut ResponseHead,
    progress: &mut Progress,
) -> Result<Option<usize>> {
    match parse_response(input, &protocol.head, &Method::CONNECT, head, progress) {
        Ok(Parse::Complete(used)) => Ok(Some(used)),
        Ok(Parse::Partial) => Ok(None),
        Err(reject) => Err(refused(&format!("the proxy's answer is malformed: {}", reject.reason))),
    }
}

fn check_answer(status: StatusCode, is_all: bool) -> Result<()> {
    if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        let message = "the proxy wants other credentials (407)";
        return Err(Error::new(Kind::Policy, Fault::Caller, message).with_seen(Seen::No));
    }
    if !status.is_success() {
        return Err(refused(&format!("the proxy answered CONNECT with {status}")));
    }
    if is_all { Ok(()) } else { Err(refused("the proxy sent data before the tunnel was used")) }
}

fn refused(why: &str) -> Error {
    Error::new(Kind::Connect, Fault::Peer, why.to_owned()).with_seen(Seen::No)
}
