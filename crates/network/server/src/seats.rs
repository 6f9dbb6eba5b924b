//! The connections a worker holds, so that others can close the idle ones and wake all of them at a drain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_runtime::Alarm;
use millstream_transport::{ConnState, Life};
use slab::Slab;

/// The seats of one worker. The lock is held to enter and leave, and while somebody looks for idle ones.
#[derive(Default)]
pub(crate) struct Seats(Mutex<Slab<Seat>>);

struct Seat {
    life: Arc<Life>,
    alarm: Alarm,
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, Slab<Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat; gives its number.
    pub(crate) fn enter(&self, life: Arc<Life>, alarm: Alarm) -> usize {
        self.lock().insert(Seat { life, alarm })
    }

    /// Leaves it.
    pub(crate) fn leave(&self, number: usize) {
        let seat = self.lock().try_remove(number);
        drop(seat);
    }

    /// Wakes everybody: they look whether the server drains.
    pub(crate) fn wake_all(&self) {
        let alarms: Vec<_> = self.lock().iter().map(|(_, seat)| seat.alarm.clone()).collect();
        alarms.iter().for_each(Alarm::wake);
    }

    /// The idle ones with the moment they became so.
    fn idle(&self) -> Vec<(std::time::Instant, Alarm)> {
        let seats = self.lock();
        let idle = seats.iter().filter(|(_, seat)| seat.life.state() == ConnState::Idle);
        idle.map(|(_, seat)| (seat.life.changed(), seat.alarm.clone())).collect()
    }
}

/// Rings the `count` connections that have been idle longest, wherever they sit.
///
/// One may become busy at this very moment: then it serves its request and arms its timer anew, which takes the ring
/// back. That is harmless; the caller evicts again when there is still no room.
pub(crate) fn evict_idle(all: &[Seats], count: usize) {
    let mut idle: Vec<_> = all.iter().flat_map(Seats::idle).collect();
    let count = count.min(idle.len());
    if count == 0 {
        return;
    }
    idle.select_nth_unstable_by_key(count - 1, |(since, _)| *since);
    idle[..count].iter().for_each(|(_, alarm)| alarm.ring());
}
