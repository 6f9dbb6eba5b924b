//! Running, draining, stopped: who must know, and what a drain waits for.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

/// Where an engine is in its life. It only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// New work is welcome.
    Running,
    /// No new work; what is under way may end until this moment.
    Draining(Instant),
    /// Everything is dropped.
    Stopped,
}

#[derive(Clone)]
pub(crate) struct Lifecycle {
    stage: Arc<watch::Sender<Stage>>,
    busy: Arc<watch::Sender<usize>>,
}

/// Held by whatever a drain must wait for. Dropping it lets the drain go on.
pub struct Busy(Arc<watch::Sender<usize>>);

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self { stage: Arc::new(watch::Sender::new(Stage::Running)), busy: Arc::new(watch::Sender::new(0)) }
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Moves forward; a stage that is behind the present one changes nothing.
    pub(crate) fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let forward = match (*stage, to) {
                (Stage::Running, Stage::Draining(_) | Stage::Stopped)
                | (Stage::Draining(_), Stage::Stopped) => true,
                (Stage::Draining(old), Stage::Draining(new)) => new < old,
                _ => false,
            };
            if forward {
                *stage = to;
            }
            forward
        });
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Stage> {
        self.stage.subscribe()
    }

    /// Ends when the engine stops.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + use<> {
        let mut stage = self.stage.subscribe();
        async move {
            // An error means that the engine itself is gone, which is a stop as well.
            let _ = stage.wait_for(|stage| *stage == Stage::Stopped).await;
        }
    }

    pub(crate) fn busy(&self) -> Busy {
        self.busy.send_modify(|count| *count += 1);
        Busy(self.busy.clone())
    }

    /// Ends when nothing is busy.
    pub(crate) fn quiet(&self) -> impl Future<Output = ()> + use<> {
        let mut busy = self.busy.subscribe();
        async move {
            let _ = busy.wait_for(|count| *count == 0).await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
