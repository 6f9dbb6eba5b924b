//! Any sequence of steps does to the pool what it does to a model without locks, shards of memory or futures.

mod session;
mod steps;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use millstream_pool::{EvictCause, Grant, Lent, Permit, PoolOptions};
use proptest::prelude::*;
use session::{Manual, Room, Session};
use steps::{LIFETIME_MS, SHARDS, Step, step};

/// What is known of a session in the model, by its number.
#[derive(Clone, Copy)]
struct Known {
    is_usable: bool,
    generation: u64,
    expires_ms: u64,
    until_ms: u64,
    /// When it must go although it is needed.
    latest_ms: u64,
    /// Was seen in the last tenth of its lifetime, and is still there.
    is_ending: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Offer {
    Session(usize),
    Place,
}

/// The pool as it should be: sessions and waiters are numbers, everything happens at once.
#[derive(Default)]
struct Model {
    now_ms: u64,
    max_open: usize,
    max_idle: Option<usize>,
    places: usize,
    needed: usize,
    generation: u64,
    known: BTreeMap<usize, Known>,
    stock: [Vec<usize>; SHARDS],
    queue: VecDeque<usize>,
    granted: BTreeMap<usize, Offer>,
    ended: Vec<(usize, EvictCause)>,
}

impl Model {
    fn idle(&self) -> usize {
        self.stock.iter().map(Vec::len).sum()
    }

    fn end(&mut self, session: usize, cause: EvictCause) {
        self.ended.push((session, cause));
        self.forget(session);
        self.free_place();
    }

    fn forget(&mut self, session: usize) {
        self.known(session).is_ending = false;
    }

    fn known(&mut self, session: usize) -> &mut Known {
        self.known.get_mut(&session).expect("known")
    }

    /// Those in the last tenth of their lifetime go first, and do not count beside others.
    fn is_needed(&self, is_ending: bool) -> bool {
        let ending = self.known.values().filter(|known| known.is_ending && !is_ending).count();
        self.needed > 0 && self.places <= self.needed + ending
    }

    fn is_kept(&self, known: Known) -> bool {
        known.latest_ms > self.now_ms && self.is_needed(known.is_ending)
    }

    fn free_place(&mut self) {
        if self.places <= self.max_open && self.grant(Offer::Place) {
            return;
        }
        self.places -= 1;
    }

    fn grant(&mut self, offer: Offer) -> bool {
        let Some(waiter) = self.queue.pop_front() else { return false };
        self.granted.insert(waiter, offer);
        true
    }

    fn unfit(&self, session: usize, looks_at_time: bool) -> Option<EvictCause> {
        let known = self.known[&session];
        if known.generation != self.generation {
            Some(EvictCause::Drain)
        } else if looks_at_time && known.expires_ms <= self.now_ms {
            Some(EvictCause::Lifetime)
        } else if looks_at_time && known.until_ms <= self.now_ms && !self.is_kept(known) {
            Some(EvictCause::IdleTimeout)
        } else {
            (!known.is_usable).then_some(EvictCause::StaleOnCheckout)
        }
    }

    fn take(&mut self, shard: usize) -> Option<usize> {
        for turn in 0..SHARDS {
            while let Some(session) = self.stock[(shard + turn) % SHARDS].pop() {
                match self.unfit(session, true) {
                    None => return Some(session),
                    Some(cause) => self.end(session, cause),
                }
            }
        }
        None
    }

    /// What a new caller gets at once; a waiter otherwise.
    fn checkout(&mut self, waiter: usize, shard: usize) -> Option<Offer> {
        if self.queue.is_empty() {
            if let Some(session) = self.take(shard) {
                return Some(Offer::Session(session));
            }
            if self.places < self.max_open {
                self.places += 1;
                return Some(Offer::Place);
            }
        }
        self.queue.push_back(waiter);
        None
    }

    fn poll(&mut self, waiter: usize, shard: usize) -> Option<Offer> {
        match self.granted.remove(&waiter)? {
            Offer::Place => Some(self.settle(shard)),
            Offer::Session(session) => match self.unfit(session, false) {
                None => Some(Offer::Session(session)),
                Some(cause) => {
                    self.ended.push((session, cause));
                    self.forget(session);
                    Some(self.settle(shard))
                }
            },
        }
    }

    fn settle(&mut self, shard: usize) -> Offer {
        match self.take(shard) {
            None => Offer::Place,
            Some(session) => {
                self.free_place();
                Offer::Session(session)
            }
        }
    }

    fn leave(&mut self, waiter: usize, shard: usize) {
        self.queue.retain(|other| *other != waiter);
        match self.granted.remove(&waiter) {
            Some(Offer::Place) => self.free_place(),
            Some(Offer::Session(session)) => self.pass_on(session, shard),
            None => {}
        }
    }

    fn give_back(&mut self, session: usize, shard: usize, keep_ms: u64) {
        let now_ms = self.now_ms;
        let known = self.known(session);
        known.until_ms = (now_ms + keep_ms.min(IDLE_MS)).min(known.expires_ms);
        known.latest_ms = (now_ms + keep_ms).min(known.expires_ms);
        known.is_ending |= known.expires_ms - LIFETIME_MS / 10 <= now_ms;
        let known = *known;
        if known.generation != self.generation {
            self.end(session, EvictCause::Drain);
        } else if known.expires_ms <= now_ms {
            self.end(session, EvictCause::Lifetime);
        } else if self.places > self.max_open {
            self.end(session, EvictCause::Capacity);
        } else {
            self.pass_on(session, shard);
        }
    }

    fn pass_on(&mut self, session: usize, shard: usize) {
        if self.grant(Offer::Session(session)) {
            return;
        }
        if self.max_idle.is_some_and(|most| self.idle() >= most) {
            return self.end(session, EvictCause::Capacity);
        }
        self.stock[shard].push(session);
    }

    fn take_from_stock(&mut self, is_wanted: impl Fn(usize, Known) -> bool) -> Vec<usize> {
        let mut taken = Vec::new();
        for stock in &mut self.stock {
            let known = &self.known;
            taken.extend(stock.extract_if(.., |session| is_wanted(*session, known[session])));
        }
        taken
    }

    fn sweep(&mut self) {
        let now_ms = self.now_ms;
        for session in self.stock.concat() {
            let known = self.known(session);
            known.is_ending |= known.expires_ms - LIFETIME_MS / 10 <= now_ms;
        }
        let keeps = self.needed > 0;
        for session in
            self.take_from_stock(|_, known| known.until_ms <= now_ms && !(keeps && now_ms < known.latest_ms))
        {
            let is_old = self.known[&session].expires_ms <= now_ms;
            self.end(session, if is_old { EvictCause::Lifetime } else { EvictCause::IdleTimeout });
        }
        self.sweep_surplus();
    }

    /// Of those past their idle timeout, one after the other.
    fn sweep_surplus(&mut self) {
        loop {
            let late = self.stock.iter().flatten().filter(|one| self.known[one].until_ms <= self.now_ms);
            let next = late.min_by_key(|one| (!self.known[one].is_ending, self.known[one].until_ms, **one));
            let Some(next) = next.copied().filter(|next| !self.is_needed(self.known[next].is_ending)) else {
                break;
            };
            self.take_from_stock(|session, _| session == next);
            self.end(next, EvictCause::IdleTimeout);
        }
    }

    fn close_all(&mut self) {
        self.generation += 1;
        for session in self.take_from_stock(|_, _| true) {
            self.end(session, EvictCause::Drain);
        }
    }

    fn set_max_open(&mut self, max_open: usize) {
        self.max_open = max_open;
        while self.places > max_open {
            let Some(stock) = self.stock.iter_mut().find(|stock| !stock.is_empty()) else { break };
            let oldest = stock.remove(0);
            self.end(oldest, EvictCause::Capacity);
        }
        while self.places < max_open && !self.queue.is_empty() {
            self.places += 1;
            self.grant(Offer::Place);
        }
    }
}

/// The pool and the model, with what callers hold of the pool.
struct Pair {
    room: Room,
    model: Model,
    start: Instant,
    lent: Vec<Lent<Session>>,
    permits: Vec<Permit<Session>>,
    /// With the waiter's number in the model and its shard.
    waiters: Vec<(usize, usize, Manual)>,
    waiters_ever: usize,
}

impl Pair {
    fn new(max_open: usize, max_idle: Option<usize>, needed: usize) -> Self {
        let options = PoolOptions::default().shards(SHARDS).max_open(max_open).lifetime_jitter(0.0);
        let options = options.idle_timeout(ms(IDLE_MS)).lifetime(ms(LIFETIME_MS));
        let options = max_idle.iter().fold(options, |options, most| options.max_idle(*most));
        let room = Room::new(options);
        let start = room.now;
        room.bucket.set_needed(needed);
        let model = Model { max_open, max_idle, needed, ..Model::default() };
        Self { room, model, start, lent: vec![], permits: vec![], waiters: vec![], waiters_ever: 0 }
    }

    fn now(&self) -> Instant {
        self.start + ms(self.model.now_ms)
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Checkout { shard } => self.checkout(shard),
            Step::TryCheckout { shard } => self.try_checkout(shard),
            Step::PollWaiter { which } => self.poll_waiter(which),
            Step::DropWaiter { which } => {
                if let Some((waiter, shard, future)) = pick(&mut self.waiters, which) {
                    drop(future);
                    self.model.leave(waiter, shard);
                }
            }
            Step::Fill { which } => self.fill(which),
            Step::DropPermit { which } => {
                if pick(&mut self.permits, which).is_some() {
                    self.model.free_place();
                }
            }
            Step::GiveBack { which, shard, keep_ms } => {
                if let Some(lent) = pick(&mut self.lent, which) {
                    self.model.give_back(number(&lent), shard, keep_ms);
                    lent.give_back_until(shard, self.now(), ms(keep_ms));
                }
            }
            Step::Close { which } => self.end_lent(which, EvictCause::Closed),
            Step::DropLent { which } => self.end_lent(which, EvictCause::Dropped),
            Step::Detach { which } => {
                if let Some(lent) = pick(&mut self.lent, which) {
                    self.model.forget(number(&lent));
                    self.permits.push(lent.detach().1);
                }
            }
            Step::Spoil { which } => self.spoil(which),
            Step::TakeIdle { which } => self.take_idle(which),
            Step::Pass { ms } => self.model.now_ms += ms,
            Step::Sweep => {
                self.model.sweep();
                drop(self.room.pool.sweep(self.now()));
            }
            Step::CloseAll => {
                self.model.close_all();
                drop(self.room.pool.close_all());
            }
            Step::SetMaxOpen { max_open } => {
                self.model.set_max_open(max_open);
                self.room.bucket.set_max_open(max_open);
            }
            Step::SetNeeded { needed } => {
                self.model.needed = needed;
                self.room.bucket.set_needed(needed);
            }
        }
    }

    fn checkout(&mut self, shard: usize) {
        let waiter = self.waiters_ever;
        self.waiters_ever += 1;
        let mut future = Manual::new(self.room.bucket.checkout(shard, self.now()));
        let real = future.poll();
        let expected = self.model.checkout(waiter, shard);
        assert_eq!(real.as_ref().map(offer), expected);
        match real {
            Some(grant) => self.hold(grant),
            None => self.waiters.push((waiter, shard, future)),
        }
    }

    fn try_checkout(&mut self, shard: usize) {
        let real = self.room.bucket.try_checkout(shard, self.now());
        let expected = if self.model.queue.is_empty() { self.model.take(shard) } else { None };
        assert_eq!(real.as_ref().map(number), expected);
        self.lent.extend(real);
    }

    fn poll_waiter(&mut self, which: usize) {
        let Some((waiter, shard, mut future)) = pick(&mut self.waiters, which) else { return };
        assert_eq!(future.was_woken(), self.model.granted.contains_key(&waiter));
        // A checkout looks at the time it was begun with; the model has one clock.
        if future.was_woken() && self.model.idle() > 0 {
            drop(future);
            return self.model.leave(waiter, shard);
        }
        let real = future.poll();
        assert_eq!(real.as_ref().map(offer), self.model.poll(waiter, shard));
        match real {
            Some(grant) => self.hold(grant),
            None => self.waiters.push((waiter, shard, future)),
        }
    }

    fn fill(&mut self, which: usize) {
        let Some(permit) = pick(&mut self.permits, which) else { return };
        let number = self.room.world.opened();
        let known = Known {
            is_usable: true,
            generation: self.model.generation,
            expires_ms: self.model.now_ms + LIFETIME_MS,
            until_ms: 0,
            latest_ms: 0,
            is_ending: false,
        };
        self.model.known.insert(number, known);
        let lent = permit.fill(self.room.world.open(number.to_string()), self.now());
        self.lent.push(lent);
    }

    fn end_lent(&mut self, which: usize, cause: EvictCause) {
        let Some(lent) = pick(&mut self.lent, which) else { return };
        self.model.end(number(&lent), cause);
        match cause {
            EvictCause::Dropped => drop(lent),
            cause => lent.close(cause),
        }
    }

    fn spoil(&mut self, which: usize) {
        if self.lent.is_empty() {
            return;
        }
        let at = which % self.lent.len();
        self.lent[at].is_usable = false;
        self.model.known(number(&self.lent[at])).is_usable = false;
    }

    /// Lends a session to learn its id, gives it back, and takes it by that.
    fn take_idle(&mut self, which: usize) {
        let Some(lent) = pick(&mut self.lent, which) else { return };
        let (id, number) = (lent.id(), number(&lent));
        self.model.give_back(number, 0, LIFETIME_MS);
        lent.give_back(0, self.now());
        let found = self.model.take_from_stock(|session, _| session == number);
        let real = self.room.bucket.take_idle(id);
        assert_eq!(real.is_some(), !found.is_empty());
        if real.is_some() {
            self.model.end(number, EvictCause::PeerClosed);
        }
    }

    fn hold(&mut self, grant: Grant<Session>) {
        match grant {
            Grant::Session(lent) => self.lent.push(lent),
            Grant::Dial(permit) => self.permits.push(permit),
        }
    }

    fn assert_alike(&mut self) {
        let (stats, model) = (self.room.bucket.stats(), &mut self.model);
        assert_eq!((stats.idle, stats.waiting), (model.idle(), model.queue.len()));
        assert_eq!(stats.open + stats.reserved, model.places);
        assert_eq!(stats.open, self.room.world.live());
        // Several that end in one step have no order.
        let expected: BTreeMap<_, _> =
            model.ended.drain(..).map(|(session, cause)| (session.to_string(), cause)).collect();
        assert_eq!(self.room.world.ended().into_iter().collect::<BTreeMap<_, _>>(), expected);
        // Nobody waits while there is something to have.
        assert!(model.queue.is_empty() || (model.idle() == 0 && model.places >= model.max_open));
    }
}

fn offer(grant: &Grant<Session>) -> Offer {
    match grant {
        Grant::Session(lent) => Offer::Session(number(lent)),
        Grant::Dial(_) => Offer::Place,
    }
}

fn number(lent: &Lent<Session>) -> usize {
    lent.name.parse().expect("sessions are named by their numbers")
}

fn pick<T>(from: &mut Vec<T>, which: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(which % from.len()))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_sequence_of_steps_does_what_the_model_does(
        max_open in 1..5usize,
        max_idle in prop::option::of(0..4usize),
        needed in 0..4usize,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut pair = Pair::new(max_open, max_idle, needed);
        for step in &steps {
            pair.run(step);
            pair.assert_alike();
        }
        // When all have gone home, nothing is left over.
        pair.waiters.clear();
        pair.permits.clear();
        pair.lent.clear();
        let stats = pair.room.bucket.stats();
        prop_assert_eq!((stats.lent, stats.reserved, stats.waiting), (0, 0, 0));
        prop_assert_eq!(stats.dialled, stats.open as u64 + stats.evicted_total());
    }
}

const IDLE_MS: u64 = 100;
