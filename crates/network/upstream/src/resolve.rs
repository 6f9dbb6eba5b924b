//! The trait between whoever knows addresses and whoever needs them.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::Result;

/// What [`Resolve::resolve`] gives.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = Result<Resolved>> + Send + 'a>>;

/// Knows the addresses of names: the system's resolver, a DNS client, a table in a test.
///
/// ```
/// use millstream_upstream::{Resolve, Resolved, Resolving};
/// use std::net::IpAddr;
/// use std::time::Duration;
///
/// struct Table;
/// impl Resolve for Table {
///     fn resolve<'a>(&'a self, _host: &'a str) -> Resolving<'a> {
///         let here = [IpAddr::from([127, 0, 0, 1])];
///         Box::pin(async move { Ok(Resolved::new(here, Duration::from_secs(60))) })
///     }
/// }
/// let _resolver: std::sync::Arc<dyn Resolve> = std::sync::Arc::new(Table);
/// ```
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, which is a name or the text of an address.
    ///
    /// Dropping the future gives the answer up.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

impl<R: Resolve + ?Sized> Resolve for Arc<R> {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        (**self).resolve(host)
    }
}

impl<R: Resolve + ?Sized> Resolve for Box<R> {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        (**self).resolve(host)
    }
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

    /// How long they hold; zero when that is over and they are all there is.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }
}
