//! A server of any protocol: listen, accept, spread over the workers, limit, keep alive, drain.
//!
//! A protocol implements [`Protocol`]: one future a connection. All the rest is here: TLS, the connection limit, the
//! idle limit, the records, and the drain.

mod acceptor;
mod lives;
mod newcomer;
mod options;
mod protocol;
mod refusals;
mod running;
mod seats;
mod server;
mod session;
mod simple;
mod stats;

pub use lives::lives;
pub use millstream_runtime::{
    Engine, Label, Shutdown, Stage, Timer, Worker, fresh_now, note, now, spawn_local, turn_now,
};
pub use millstream_transport as transport;
pub use options::{
    DEFAULT_HANDSHAKE_TIMEOUT, DEFAULT_IDLE_TIMEOUT, DEFAULT_MAX_CONNECTIONS, MakeContext, ServerOptions,
};
pub use protocol::{Context, Protocol};
pub use refusals::listen_refused;
pub use running::Running;
pub use server::Server;
pub use session::Session;
pub use simple::Simple;
