//! The host's own resolver, on a blocking thread.

use std::net::{IpAddr, ToSocketAddrs};
use std::pin::Pin;
use std::time::Duration;

use millstream_base::{Error, Kind, Origin, Phase, Result, Seen};
use millstream_runtime::Worker;
use millstream_upstream::{Resolve, Resolved};

/// Resolves with `getaddrinfo` (hosts file, nsswitch, DNS) on the engine's blocking pool.
#[derive(Debug)]
pub struct SystemResolver {
    worker: Worker,
}

/// `getaddrinfo` does not tell how long its answer holds. Half a minute is what most cloud load balancers publish.
const SYSTEM_TTL: Duration = Duration::from_secs(30);

impl SystemResolver {
    /// On the blocking pool of this worker's engine.
    pub fn new(worker: Worker) -> Self {
        Self { worker }
    }
}

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Pin<Box<dyn Future<Output = Result<Resolved>> + Send + 'a>> {
        Box::pin(async move {
            let stopped = || Error::new(Kind::Cancelled, Origin::Local, "the engine has stopped");
            let engine = self.worker.engine().ok_or_else(stopped)?;
            let name = host.to_owned();
            let found = engine.blocking(move || (name.as_str(), 0u16).to_socket_addrs()).await?;
            let addresses: Vec<IpAddr> = match found {
                Ok(addresses) => addresses.map(|address| address.ip()).collect(),
                Err(error) => return Err(not_resolved(host).with_source(error)),
            };
            if addresses.is_empty() {
                return Err(not_resolved(host));
            }
            Ok(Resolved::new(addresses, SYSTEM_TTL))
        })
    }
}

fn not_resolved(host: &str) -> Error {
    Error::new(Kind::Resolve, Origin::Network, "name not resolved")
        .with_phase(Phase::Resolve)
        .with_seen(Seen::No)
        .with_target(host)
}
