//! The trait between whoever knows addresses and whoever needs them.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::Result;

/// Knows the addresses of names: the system's resolver, a DNS client, a table in a test.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, which is a name or the text of an address.
    ///
    /// Dropping the future gives the answer up.
    fn resolve<'a>(&'a self, host: &'a str) -> Pin<Box<dyn Future<Output = Result<Resolved>> + Send + 'a>>;
}

/// Addresses, and how long they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    addresses: Arc<[IpAddr]>,
    ttl: Duration,
}

impl Resolved {
    /// These addresses, for so long.
    pub fn new(addresses: impl Into<Arc<[IpAddr]>>, ttl: Duration) -> Self {
        Self { addresses: addresses.into(), ttl }
    }

    /// The addresses, in the order of preference; at least one.
    pub fn addresses(&self) -> &Arc<[IpAddr]> {
        &self.addresses
    }

    /// How long they hold.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
}
