//! Addresses that an engine wanted to listen on and could not, since somebody has them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use millstream_base::{Error, Result};
use millstream_runtime::Engine;
use millstream_transport::ListenAddr;

/// Addresses that were refused, and not listened on since.
#[derive(Debug, Default)]
struct Refusals(Mutex<BTreeSet<String>>);

/// The addresses that servers of this engine could not listen on because they are in use (EADDRINUSE), and that none of them has
/// listened on since; in order.
pub fn listen_refused(engine: &Engine) -> Vec<String> {
    let refusals = engine.shared(|_| Refusals::default());
    let refused = refusals.0.lock().unwrap_or_else(PoisonError::into_inner);
    refused.iter().cloned().collect()
}

/// Remembers how listening went.
pub(crate) fn note<T>(engine: &Engine, address: &ListenAddr, outcome: &Result<T>) {
    let refusals = engine.shared(|_| Refusals::default());
    let mut refused = refusals.0.lock().unwrap_or_else(PoisonError::into_inner);
    match outcome {
        Ok(_) => drop(refused.remove(&address.to_string())),
        Err(error) if is_in_use(error) => drop(refused.insert(address.to_string())),
        Err(_) => {}
    }
}

fn is_in_use(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let io = cause.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::AddrInUse) {
            return true;
        }
        source = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Server, ServerOptions};

    #[test]
    fn address_in_use_is_remembered_until_it_is_listened_on() {
        let engine = Engine::builder().workers(1).build().expect("a thread can be started");
        let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = other.local_addr().expect("it listens").to_string();
        let bind = || Server::bind(&engine, &address.parse().expect("an address"), ServerOptions::default());
        assert!(bind().is_err() && bind().is_err());
        assert_eq!(listen_refused(&engine).join(" "), address);
        let nowhere = "192.0.2.1:80".parse().expect("an address");
        assert!(Server::bind(&engine, &nowhere, ServerOptions::default()).is_err());
        assert_eq!(listen_refused(&engine).len(), 1, "that one nobody has");
        drop(other);
        let _server = bind().expect("it is free");
        assert!(listen_refused(&engine).is_empty());
    }
}
