//! Dial, listen, read, write: TCP, Unix, TLS, and the life record of each connection.
//!
//! A [`Conn`] is one connection, whatever carries it. [`dial()`] makes one, an [`Acceptor`] hands out what becomes one.
//! Each is listed in a [`LifeTable`] from its opening to its end, and ends with a [`Cause`].
//!
//! ```
//! use millstream_base::Deadline;
//! use millstream_transport::{Cause, Conn, DialOptions, LifeTable, ListenOptions, Listener, Opener, dial};
//! use std::time::{Duration, Instant};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let table = LifeTable::default();
//! let mut acceptor = Listener::bind(&"127.0.0.1:0".parse()?, &ListenOptions::default())?.register()?;
//! let target = [acceptor.local_addr().clone()];
//! let deadline = Deadline::after(Instant::now(), Duration::from_secs(10));
//! let mut client = dial(&target, &DialOptions::default(), deadline, &table, Opener::Direct).await?;
//! let mut server = Conn::accept(acceptor.accept().await?, &table)?;
//!
//! client.write_all(b"ping").await?;
//! let mut bytes = [0; 4];
//! server.read_exact(&mut bytes).await?;
//! assert_eq!(&bytes, b"ping");
//!
//! server.close(Cause::Shutdown);
//! assert_eq!(table.counts().ended_by_cause(Cause::Shutdown), 1);
//! assert_eq!(table.open_count(), 1);
//! # Ok(())
//! # }
//! ```

mod accept;
mod addr;
mod any_parity;
mod cause;
mod conn;
mod dial;
mod eyeballs;
mod ledger;
mod life;
mod listen;
mod owners;
mod socket;
mod stream;
mod table;
mod tcp;
pub mod tls;

pub use accept::{AcceptError, Accepted, Acceptor};
pub use addr::{Addr, ListenAddr};
pub use cause::{Cause, ClosedBy, ConnState, Opener, Side};
pub use conn::Conn;
pub use dial::{DialOptions, dial};
pub use ledger::{Account, AccountSnapshot, EndRecord, OTHERS, RECORDS_MAX, TARGETS_MAX};
pub use life::{Life, LifeSnapshot, Opening};
pub use listen::{ListenOptions, Listener};
pub use socket::Socket;
pub use stream::{Io, PeerEvent, Stream};
pub use table::{Counts, LifeTable};
