//! A server that runs, and how it ends.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use millstream_base::Result;
use millstream_runtime::{Engine, spawn_local};
use millstream_transport::Addr;
use tokio::sync::watch;

use crate::server::Shared;

/// A server that runs. Dropping it does not stop the server: the engine's end does.
#[derive(Clone)]
pub struct Running {
    shared: Arc<Shared>,
    address: Addr,
    stop: watch::Sender<bool>,
    done: watch::Receiver<bool>,
}

impl Running {
    /// Where it listens.
    pub fn local_addr(&self) -> &Addr {
        &self.address
    }

    /// How many connections are open now.
    pub fn open_connections(&self) -> usize {
        self.shared.stats.open()
    }

    /// Stops accepting, lets what is under way end for at most `patience`, and gives whether all of it did.
    ///
    /// What outlives that stays until the engine stops. Dropping the future does not take the stop back.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.stop.send_replace(true);
        tokio::time::timeout(patience, self.stopped()).await.is_ok()
    }

    /// Ends when the last connection has ended after a stop or a drain of the engine.
    pub async fn stopped(&self) {
        let mut done = self.done.clone();
        // An error means that the engine is gone, and with it the server.
        let _ = done.wait_for(|done| *done).await;
    }
}

/// Starts the task that drains the server when its time has come.
pub(crate) fn supervise(engine: &Engine, shared: Arc<Shared>, address: Addr) -> Result<Running> {
    let (stop, mut stopping) = watch::channel(false);
    let (finish, done) = watch::channel(false);
    let (draining, busy) = (engine.draining(), engine.busy());
    let server = shared.clone();
    engine.workers()[0].run(move || {
        spawn_local(async move {
            // When all handles are gone, only the engine can end it.
            let mut asked = pin!(async move { stopping.wait_for(|stop| *stop).await.is_ok() });
            let mut draining = pin!(draining);
            let mut has_handle = true;
            poll_fn(|cx| {
                if has_handle && let Poll::Ready(is_asked) = asked.as_mut().poll(cx) {
                    if is_asked {
                        return Poll::Ready(());
                    }
                    has_handle = false;
                }
                draining.as_mut().poll(cx)
            })
            .await;
            server.drain();
            loop {
                let changed = server.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                if server.is_over() {
                    break;
                }
                changed.await;
            }
            finish.send_replace(true);
            drop(busy);
        });
    })?;
    Ok(Running { shared, address, stop, done })
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running({}, {} connections)", self.address, self.open_connections())
    }
}
