//! Says when a worker stays in one poll for too long: what runs, where it was spawned, for how long.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind, Origin, Result};

use crate::Engine;
use crate::beat::Label;
use crate::engine::Health;
use crate::lifecycle::Stage;
use crate::worker::Worker;

/// A poll longer than this is reported: at 50 ms a person notices, and 1,000 connections wait.
const BLOCKED: Duration = Duration::from_millis(50);
/// How often the workers are looked at: a block is reported at most this late. 50 looks a second cost less than 0.1 %
/// of a core.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the watchdog knows of one worker.
struct Watch {
    worker: Worker,
    turn: u64,
    since: Instant,
    reported: Option<Label>,
}

pub(crate) fn start(engine: &Engine, name: &str) -> Result<()> {
    let watches: Vec<_> = engine
        .workers()
        .iter()
        .map(|worker| Watch { worker: worker.clone(), turn: 0, since: Instant::now(), reported: None })
        .collect();
    let lifecycle = engine.0.lifecycle.clone();
    let health = engine.health();
    let spawned =
        thread::Builder::new().name(format!("{name}-watch")).stack_size(128 * 1024).spawn(move || {
            let mut watches = watches;
            while lifecycle.stage() != Stage::Stopped {
                thread::sleep(LOOK_EVERY);
                watches.iter_mut().for_each(|watch| watch.look(Instant::now(), &health));
            }
        });
    spawned
        .map(drop) // It ends by itself within one look after the stop.
        .map_err(|error| Error::new(Kind::Io, Origin::Local, "can't start the watchdog").with_source(error))
}

impl Watch {
    fn look(&mut self, now: Instant, health: &Arc<Health>) {
        let (turn, label) = self.worker.0.beat.read();
        if turn != self.turn {
            if let Some(label) = self.reported.take() {
                let (worker, ms) = (self.worker.index(), self.blocked_ms(now));
                tracing::warn!(worker, ms, what = %label.text(), "worker runs again");
            }
            (self.turn, self.since) = (turn, now);
            return;
        }
        let is_running = turn % 2 == 1;
        if !is_running || now - self.since < BLOCKED {
            return;
        }
        let ms = self.blocked_ms(now);
        let longer = ms - health.longest_block_ms.value();
        if longer > 0 {
            health.longest_block_ms.add(longer);
        }
        if self.reported.is_none() {
            self.reported = Some(label);
            health.count_block();
            let worker = self.worker.index();
            tracing::warn!(worker, ms, what = %label.text(), "worker blocked: its connections wait");
        }
    }

    fn blocked_ms(&self, now: Instant) -> i64 {
        i64::try_from((now - self.since).as_millis()).unwrap_or(i64::MAX)
    }
}
