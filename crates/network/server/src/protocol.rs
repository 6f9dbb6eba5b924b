//! What a protocol must do to be served.

use std::any::Any;
use std::sync::Arc;

use crate::Session;

/// The server side of a protocol: what to do with one accepted connection.
///
/// One value serves all workers; the future of each connection stays on its worker and need not be `Send`.
pub trait Protocol: Send + Sync + 'static {
    /// One connection, from the first byte to the last. Keep it small: it lives as long as the connection.
    type Serve: Future<Output = ()> + 'static;

    /// Serves a connection until it ends. The protocol closes it with a cause; a session that is just dropped is booked
    /// as dropped. It is dropped in the middle when the server is stopped for good.
    fn serve(self: &Arc<Self>, session: Session) -> Self::Serve;

    /// The protocol's name in metrics and logs.
    fn name(&self) -> &'static str;
}

/// A value that lives as long as a connection, made when it opens.
pub type Context = Arc<dyn Any + Send + Sync>;
