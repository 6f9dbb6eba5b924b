//! The local ports that connections are made from: how many there are, how many one destination may have, and who has them when
//! none is left.
//!
//! A connection is named by four numbers; from one address to one destination only our port differs. So a host has as many
//! connections to a destination at a time, those in TIME_WAIT among them, as its range of local ports has.

//!
//! | question | answered by |
//! | --- | --- |
//! | how many are left, and when will none be | [`Budget`] |
//! | where does the next connection get its port from | [`Ports::choose`], [`Ports::rank`] |
//! | which ports are nobody else's | [`Ports::set_private_range`] |
//! | who has them all | [`Shortage`] |
//! | how many may one destination have | [`LocalPorts::share`] |

mod book;
mod budget;
mod foreign;
mod held;
mod local_ports;
mod port_bits;
mod private_range;
mod rate;
mod ring;
mod shortage;
mod source;
mod takeover;
mod waiting;

pub use book::{DEFAULT_MIN_AGE, Ports};
pub use budget::{Budget, BudgetSnapshot, Left, Level};
pub use held::{Choice, Held};
pub use local_ports::{LocalPorts, SHARE_PERCENT};
pub use shortage::Shortage;
