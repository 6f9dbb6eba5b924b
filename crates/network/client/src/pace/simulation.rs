//! A million events on a clock that is only a number, over the real pool and the real rule, beside an oracle.
//!
//! The oracle sees the future: a caller that finds no connection idle dials only if none comes back, and is not taken by
//! an earlier one, before its dial would be done. The rule may open 5 % more than it.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use millstream_pool::{EvictCause, Grant, Lent, Permit, Pool, PoolOptions, Pooled};

use super::{Pace, TICK, Waiting, micros};

/// A connection that its server closes after so many requests.
struct Fake {
    left: u32,
}

impl Pooled for Fake {
    fn is_usable(&mut self) -> bool {
        true
    }
}

enum Patience {
    Rule(Waiting<'static>),
    Until(u64),
}

/// What the world is like.
#[derive(Clone, Copy)]
struct World {
    name: &'static str,
    /// Callers that come in a second; `burst` of them at once.
    rate: f64,
    burst: u32,
    /// What a request takes in the mean, in µs, and whether that varies as an exponential does, or not at all.
    service_us: f64,
    is_even: bool,
    dial_us: u64,
    /// Requests that a connection lives for.
    uses: u32,
    /// How long one may lie idle, in ms.
    idle_ms: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Rule,
    Oracle,
    /// Nobody waits: what the rule has to improve on.
    Eager,
}

enum Event {
    Arrive,
    Return(Lent<Fake>, u64),
    Dialled(Permit<Fake>, u64),
    /// A caller that waits looks again: it came then, and waits by the rule, or until then.
    Tick(Permit<Fake>, u64, Patience),
}

#[derive(Default, Debug)]
struct Outcome {
    events: u64,
    served: u64,
    dials: u64,
    /// The longest that a caller waited for its connection, and all together, in µs.
    longest_us: u64,
    waited_us: u64,
}

struct Simulation {
    world: World,
    who: Who,
    start: Instant,
    now_us: u64,
    seed: u64,
    number: u64,
    /// By when, and by their number.
    queue: BTreeMap<(u64, u64), Event>,
    pool: Pool<&'static str, Fake>,
    pace: &'static Pace,
    /// Of lent connections that will come back, when; soonest first. What is claimed is taken out.
    returns: VecDeque<u64>,
    outcome: Outcome,
}

impl Simulation {
    fn new(world: World, who: Who) -> Self {
        let options = PoolOptions::default()
            .shards(1)
            .max_open(100_000)
            .idle_timeout(Duration::from_millis(world.idle_ms))
            .lifetime(Duration::MAX);
        Self {
            world,
            who,
            start: Instant::now(),
            now_us: 0,
            seed: 1,
            number: 0,
            queue: BTreeMap::new(),
            pool: Pool::new(options),
            pace: Box::leak(Box::default()),
            returns: VecDeque::new(),
            outcome: Outcome::default(),
        }
    }

    fn run(mut self, callers: u64) -> Outcome {
        let mut came = 0;
        self.at(0, Event::Arrive);
        while let Some(((now_us, _), event)) = self.queue.pop_first() {
            self.now_us = now_us;
            self.outcome.events += 1;
            match event {
                Event::Arrive => {
                    drop(self.pool.sweep(self.now()));
                    (0..self.world.burst).for_each(|_| self.arrive());
                    came += u64::from(self.world.burst);
                    if came < callers {
                        let gap = self.exponential(1e6 * f64::from(self.world.burst) / self.world.rate);
                        self.at(gap, Event::Arrive);
                    }
                }
                Event::Return(lent, began) => self.give_back(lent, began),
                Event::Dialled(permit, came) => {
                    let lent = permit.fill(Fake { left: self.world.uses }, self.now());
                    self.serve(lent, came);
                }
                Event::Tick(permit, came, patience) => match permit.or_idle(0, self.now()) {
                    Ok(lent) => self.serve(lent, came),
                    Err(permit) if self.goes_on(came, &patience) => {
                        self.at(tick_us(), Event::Tick(permit, came, patience));
                    }
                    Err(permit) => self.dial(permit, came),
                },
            }
        }
        self.outcome
    }

    fn arrive(&mut self) {
        let came = self.now_us;
        let bucket = self.pool.bucket(&"far:80");
        let mut checkout = pin!(bucket.checkout(0, self.now()));
        match checkout.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Grant::Session(lent))) => self.serve(lent, came),
            Poll::Ready(Ok(Grant::Dial(permit))) => match self.patience(&permit) {
                Some(patience) => self.at(tick_us(), Event::Tick(permit, came, patience)),
                None => self.dial(permit, came),
            },
            other => panic!("the limit is never reached: {other:?}"),
        }
    }

    fn patience(&mut self, permit: &Permit<Fake>) -> Option<Patience> {
        match self.who {
            Who::Eager => None,
            Who::Rule => self.pace.wait(permit.bucket().stats().lent).map(Patience::Rule),
            Who::Oracle => {
                let soonest = *self.returns.front()?;
                let is_worth_it = soonest < self.now_us + self.world.dial_us;
                is_worth_it.then(|| self.returns.pop_front());
                is_worth_it.then_some(Patience::Until(soonest + tick_us()))
            }
        }
    }

    fn goes_on(&self, came: u64, patience: &Patience) -> bool {
        match patience {
            Patience::Until(until) => self.now_us < *until,
            Patience::Rule(waiting) => waiting.goes_on(Duration::from_micros(self.now_us - came)),
        }
    }

    fn dial(&mut self, permit: Permit<Fake>, came: u64) {
        self.outcome.dials += 1;
        self.pace.dialled_in(Duration::from_micros(self.world.dial_us));
        self.at(self.world.dial_us, Event::Dialled(permit, came));
    }

    fn serve(&mut self, mut lent: Lent<Fake>, came: u64) {
        let waited = self.now_us - came;
        self.outcome.served += 1;
        self.outcome.waited_us += waited;
        self.outcome.longest_us = self.outcome.longest_us.max(waited);
        lent.left -= 1;
        let mean = self.world.service_us;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and small")]
        let span = if self.world.is_even { mean as u64 } else { self.exponential(mean) };
        if lent.left > 0 {
            let at = self.now_us + span;
            let place = self.returns.partition_point(|other| *other <= at);
            self.returns.insert(place, at);
        }
        self.at(span, Event::Return(lent, self.now_us));
    }

    fn give_back(&mut self, lent: Lent<Fake>, began: u64) {
        if self.returns.front().is_some_and(|soonest| *soonest <= self.now_us) {
            self.returns.pop_front();
        }
        if Pace::wants_use(lent.uses()) {
            self.pace.used_for(Duration::from_micros(self.now_us - began));
        }
        if lent.left == 0 {
            return lent.close(EvictCause::Closed);
        }
        lent.give_back(0, self.now());
    }

    fn at(&mut self, in_us: u64, event: Event) {
        self.number += 1;
        self.queue.insert((self.now_us + in_us, self.number), event);
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.now_us)
    }

    /// A span, in µs, with this mean.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn exponential(&mut self, mean: f64) -> u64 {
        // Marsaglia's xorshift64.
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let share = (self.seed >> 11) as f64 / (1u64 << 53) as f64;
        (-mean * (1.0 - share).ln()) as u64
    }
}

fn tick_us() -> u64 {
    micros(TICK)
}

/// In each world.
const CALLERS: u64 = 150_000;

const WORLDS: [World; 6] = [
    world("far", 2000.0, 1, 5_000.0, 20_000, 100, 100),
    world("very far", 2000.0, 1, 50_000.0, 100_000, 100, 500),
    World { is_even: true, ..world("even", 1000.0, 1, 10_000.0, 30_000, 50, 200) },
    world("bursts", 4000.0, 80, 5_000.0, 20_000, 1_000, 100),
    world("rare bursts", 800.0, 80, 5_000.0, 20_000, 1_000, 100),
    world("near", 4000.0, 1, 2_000.0, 3_000, 20, 20),
];

const fn world(
    name: &'static str,
    rate: f64,
    burst: u32,
    service_us: f64,
    dial_us: u64,
    uses: u32,
    idle_ms: u64,
) -> World {
    World { name, rate, burst, service_us, is_even: false, dial_us, uses, idle_ms }
}

#[test]
fn rule_opens_hardly_more_than_who_sees_the_future() {
    let mut events = 0;
    for world in WORLDS {
        let [rule, oracle, eager] =
            [Who::Rule, Who::Oracle, Who::Eager].map(|who| Simulation::new(world, who).run(CALLERS));
        println!("{}: {rule:?}\n  oracle {oracle:?}\n  eager {eager:?}", world.name);
        for outcome in [&rule, &oracle, &eager] {
            assert!(outcome.served >= CALLERS, "{}: all are served", world.name);
        }
        assert!(rule.dials * 100 <= oracle.dials * 105, "{}: {} dials", world.name, rule.dials);
        assert!(rule.dials < eager.dials, "{}: waiting is of use", world.name);
        let longest = 2 * world.dial_us + tick_us();
        assert!(rule.longest_us <= longest, "{}: {} us", world.name, rule.longest_us);
        events += rule.events;
    }
    assert!(events >= 1_000_000, "{events}");
}
