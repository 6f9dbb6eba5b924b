//! Calls that block, on threads of their own.

use millstream_base::{Error, Kind, Origin, Result};

use crate::Engine;
use crate::worker::stopped;

impl Engine {
    /// Runs `work` on the blocking pool (at most 512 threads, shared by the engine, idle ones end after 10 s) and gives
    /// its output. Callable from any thread; the future can be awaited on any runtime.
    ///
    /// Dropping the future does not stop work that has begun; its output is dropped.
    ///
    /// # Errors
    /// [`Kind::Panic`] when `work` panics, [`Kind::Cancelled`] when the engine has stopped.
    pub fn blocking<T, F>(&self, work: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let handle = self.workers()[0].0.handle.get().cloned();
        let task = handle.map(|handle| handle.spawn_blocking(work));
        async move {
            task.ok_or_else(stopped)?.await.map_err(|error| {
                if error.is_panic() {
                    Error::new(Kind::Panic, Origin::Caller, "a blocking call panicked")
                } else {
                    stopped()
                }
            })
        }
    }
}
