//! The signals that ask the program to end.

use millstream::{Error, Kind, Origin, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, from the moment this is made: they no longer end the process by themselves.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// On a tokio runtime with signals.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// The number of the next one. Dropping the future loses none.
    pub(crate) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => SIGINT,
            _ = self.terminate.recv() => SIGTERM,
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind)
        .map_err(|error| Error::new(Kind::Io, Origin::Local, "can't listen for signals").with_source(error))
}

/// Numbers of POSIX.
const SIGINT: u8 = 2;
const SIGTERM: u8 = 15;
