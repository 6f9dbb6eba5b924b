//! Dial, listen, read, write: TCP, Unix, TLS, and the life record of each connection.
//!
//! A [`Conn`] is one connection, whatever carries it. [`dial()`] makes one, an [`Acceptor`] hands out what becomes one.
//! Each is listed in a [`LifeTable`] from its opening to its end, and ends with a [`Cause`].

mod addr;
mod cause;
mod conn;
mod dial;
mod eyeballs;
mod life;
mod listen;
mod stream;
mod table;
pub mod tls;

pub use addr::{Addr, ListenAddr};
pub use cause::{Cause, ClosedBy, ConnState, Opener, Side};
pub use conn::Conn;
pub use dial::{DialOptions, connect, dial};
pub use life::{Life, LifeSnapshot, Opening};
pub use listen::{AcceptError, Accepted, Acceptor, ListenOptions, Listener};
pub use stream::{Io, PeerEvent, Stream};
pub use table::{Counts, LifeTable};
