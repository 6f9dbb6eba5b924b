//! What is learnt of a target's servers: after how long they close a connection that lies idle.
//!
//! A server that does not announce its patience shows it: each FIN on an idle connection is a sample of it. Two samples
//! that agree are a timer; one alone, or many at one moment, may be a restart. What is learnt holds for a while and is forgotten then, since who
//! leaves early never sees that a server has become more patient.
//!
//! Rules:
//! 1. `keep_us` is what callers read, without a lock; it is derived from `learnt`, under whose lock it is written.
//! 2. Both are written when a watch fires or the client sweeps, never by a call.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::pace::Pace;
use crate::per_target::PerTarget;

/// How long a connection may lie idle when its server closes it after `patience`: less the time that a request needs to
/// get there, since the keep-alive race is lost by whoever uses the last moment.
pub fn idle_span(patience: Duration) -> Duration {
    if patience <= SHORT {
        return patience / 2;
    }
    let margin = (patience / 20).clamp(LEAST_MARGIN, MOST_MARGIN);
    patience.saturating_sub(margin)
}

/// Below this a request may well take as long as the margin would be.
const SHORT: Duration = Duration::from_secs(1);
/// A round trip to anywhere near, and a busy worker.
const LEAST_MARGIN: Duration = Duration::from_millis(50);
const MOST_MARGIN: Duration = Duration::from_secs(1);

/// What is learnt of one target.
#[derive(Debug)]
pub(crate) struct Habits {
    keep_us: AtomicU64,
    learnt: Mutex<Learnt>,
    /// What its dials and uses take.
    pub(crate) pace: Pace,
}

#[derive(Debug, Default)]
struct Learnt {
    /// The last sample, and when it came.
    last: Option<(Duration, Instant)>,
    until: Option<Instant>,
}

/// A connection that ends sooner was closed for another reason than a timer.
const LEAST_PATIENCE: Duration = Duration::from_millis(10);
/// Two samples agree when they differ by no more than this, or by a twentieth.
const TOLERANCE: Duration = Duration::from_millis(20);
/// How long an estimate holds. A guess: short enough to follow a change of settings within a coffee break.
const HOLDS: Duration = Duration::from_secs(10 * 60);
/// Nothing is known.
const FOR_EVER: u64 = u64::MAX;

impl Default for Habits {
    fn default() -> Self {
        Self { keep_us: AtomicU64::new(FOR_EVER), learnt: Mutex::default(), pace: Pace::default() }
    }
}

impl Habits {
    /// How long a connection may lie idle, as far as is known.
    #[inline]
    pub(crate) fn keep(&self) -> Duration {
        match self.keep_us.load(Relaxed) {
            FOR_EVER => Duration::MAX,
            micros => Duration::from_micros(micros),
        }
    }

    /// A server closed a connection that had lain idle for so long.
    pub(crate) fn on_closed(&self, age: Duration, now: Instant) {
        if age < LEAST_PATIENCE {
            return;
        }
        let mut learnt = self.lock();
        match learnt.last {
            Some((_, at)) if now.saturating_duration_since(at) < age / 4 => {}
            Some((before, _)) if before.abs_diff(age) <= TOLERANCE.max(age / 20) => {
                (learnt.last, learnt.until) = (Some((age, now)), now.checked_add(HOLDS));
                let keep = idle_span(before.min(age));
                self.keep_us.store(u64::try_from(keep.as_micros()).unwrap_or(FOR_EVER), Relaxed);
            }
            _ => learnt.last = Some((age, now)),
        }
    }

    /// Forgets what has held for long enough.
    fn forget(&self, now: Instant) {
        let mut learnt = self.lock();
        if learnt.until.is_some_and(|until| until <= now) {
            *learnt = Learnt::default();
            self.keep_us.store(FOR_EVER, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The habits of all targets that connections were made to.
pub(crate) type AllHabits = PerTarget<Habits>;

impl AllHabits {
    /// To be called now and then.
    pub(crate) fn forget(&self, now: Instant) {
        self.each(|habits| habits.forget(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn margin_grows_with_patience_and_halves_what_is_short() {
        for (patience, expected) in
            [(0, 0), (1, 0), (100, 50), (1_000, 500), (1_001, 950), (5_000, 4_750), (60_000, 59_000)]
        {
            assert_eq!(idle_span(ms(patience)).as_millis(), expected, "{patience} ms");
        }
    }

    #[test]
    fn two_samples_that_agree_are_a_timer() {
        for (ages, expected) in [
            (vec![], None),
            (vec![5_000], None),
            (vec![5_000, 5_100], Some(4_750)),
            (vec![5_100, 5_000], Some(4_750)),
            (vec![5_000, 9_000], None),
            (vec![5_000, 9_000, 9_010], Some(8_550)),
            (vec![50, 60], Some(25)),
            (vec![3, 3, 3], None),
            (vec![5_000, 3, 5_000], Some(4_750)),
            (vec![60_000, 60_000, 2_000, 2_000], Some(1_900)),
        ] {
            let (habits, mut now) = (Habits::default(), Instant::now());
            for age in &ages {
                now += ms(*age);
                habits.on_closed(ms(*age), now);
            }
            assert_eq!(habits.keep(), expected.map_or(Duration::MAX, ms), "{ages:?}");
        }
    }

    #[test]
    fn many_ends_at_one_moment_are_one_sample() {
        let (habits, now) = (Habits::default(), Instant::now());
        (0..64).for_each(|number| habits.on_closed(ms(3_000 + number), now + ms(number)));
        assert_eq!(habits.keep(), Duration::MAX, "a restart");
        habits.on_closed(ms(3_000), now + ms(3_000));
        assert_eq!(habits.keep(), ms(2_850));
    }

    #[test]
    fn what_was_learnt_is_forgotten_in_time() {
        let (all, now) = (AllHabits::default(), Instant::now());
        let habits = all.of(&Target::host("a", 80));
        habits.on_closed(ms(5_000), now - ms(5_000));
        habits.on_closed(ms(5_000), now);
        all.forget(now + HOLDS - ms(1));
        assert_eq!(habits.keep(), ms(4_750));
        all.forget(now + HOLDS);
        assert_eq!(habits.keep(), Duration::MAX);
        habits.on_closed(ms(5_000), now + HOLDS);
        assert_eq!(habits.keep(), Duration::MAX, "one sample is none");
    }

    #[test]
    fn targets_have_habits_of_their_own() {
        let (all, now) = (AllHabits::default(), Instant::now());
        let (a, b) = (all.of(&Target::host("a", 80)), all.of(&Target::host("b", 80)));
        a.on_closed(ms(5_000), now);
        a.on_closed(ms(5_000), now + ms(5_000));
        assert_eq!((all.of(&Target::host("a", 80)).keep(), b.keep()), (ms(4_750), Duration::MAX));
    }
}
