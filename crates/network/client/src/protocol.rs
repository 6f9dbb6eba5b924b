//! What a protocol must do to have a client.

use millstream_base::{Deadline, Error, Result};
use millstream_transport::Conn;

use crate::{Lease, Target};

/// The client side of a protocol.
///
/// One exchange borrows one session: it goes into [`Protocol::call`] as a [`Lease`] and comes back through
/// [`Lease::release`], at once or when the reply's stream ends.
pub trait Protocol: Send + Sync + Sized + 'static {
    /// What is kept between calls: the connection and its state.
    type Session: Session;
    /// What goes out.
    type Request: Send;
    /// What comes back.
    type Reply: Send;

    /// The protocol's name in metrics.
    fn name(&self) -> &'static str;

    /// Makes a session of a fresh connection: greeting, login. Dropping the future closes the connection.
    ///
    /// # Errors
    /// When the peer does not let us in. The connection is closed.
    fn open(
        &self,
        conn: Conn,
        target: &Target,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Self::Session>> + Send;

    /// Sends a request and gives its reply. Dropping the future drops the lease, which closes the connection: its state
    /// is unknown.
    ///
    /// # Errors
    /// What went wrong, and the request itself where it could be sent again.
    fn call(
        &self,
        lease: Lease<Self>,
        request: Self::Request,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Self::Reply, Failed<Self::Request>>> + Send;

    /// May the peer do this twice without harm?
    fn is_idempotent(&self, request: &Self::Request) -> bool;
}

/// What is kept between calls.
pub trait Session: Send + 'static {
    /// Its connection, to be watched while nobody uses it.
    fn conn(&self) -> &Conn;

    /// Its connection, to be watched while nobody uses it.
    fn conn_mut(&mut self) -> &mut Conn;
}

/// A call that failed.
#[derive(Debug)]
pub struct Failed<Request> {
    /// What went wrong. Its [`Error::seen`] says whether the peer may have acted on the request.
    pub error: Error,
    /// The request, where it is still whole.
    pub request: Option<Request>,
}

impl<Request> Failed<Request> {
    /// A failure that can't be tried again.
    pub fn new(error: impl Into<Error>) -> Self {
        Self { error: error.into(), request: None }
    }

    /// A failure that gives the request back.
    pub fn with_request(error: impl Into<Error>, request: Request) -> Self {
        Self { error: error.into(), request: Some(request) }
    }
}
