//! Who is due at which tick: a hierarchical wheel. No clock, no lock.
//!
//! Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7. A level has 64 slots; a slot of level 0
//! is a tick, a slot of a level above is all slots of the one below. A tick stands in the level of the highest group of six
//! bits in which it differs from the present tick. So everything in a level is due before everything in the levels above,
//! and the next slot is the first that is occupied.
//!
//! Those to be woken themselves stand in the slots, one behind the other: a slot that comes up is read from one end to the other,
//! and nothing is followed from entry to entry. Only cancelling needs to find one; for that `places` says where each is.
//!
//! Rules:
//! 1. Every tick in the wheel is later than `elapsed`.
//! 2. `places[item.key]` says where the item is.
//! 3. `occupied` has the bit of exactly the slots that are not empty.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use slab::Slab;

use crate::reactor;

/// Who is to be woken, by tick.
pub(super) struct Slots {
    lists: Box<[Vec<Item>]>,
    /// A bit for each slot of a level.
    occupied: [u64; LEVELS],
    places: Slab<Place>,
    /// All ticks up to this one have come.
    elapsed: u64,
}

/// Who is to be woken.
#[derive(Debug)]
pub(super) enum Who {
    /// A task of the worker's own: its key says it all.
    Task(usize),
    /// Anybody.
    Other(Waker),
}

struct Item {
    who: Who,
    tick: u64,
    key: usize,
}

struct Place {
    list: usize,
    index: usize,
}

impl Who {
    /// Who polls. On the thread of the wheel's worker alone may it be a task.
    #[inline]
    pub(super) fn of(cx: &Context<'_>, is_here: bool) -> Self {
        match reactor::current_task(cx).filter(|_| is_here) {
            Some(key) => Self::Task(key),
            None => Self::Other(cx.waker().clone()),
        }
    }

    /// Is it who polls?
    #[inline]
    pub(super) fn is(&self, cx: &Context<'_>, is_here: bool) -> bool {
        match self {
            Self::Task(key) => is_here && reactor::current_task(cx) == Some(*key),
            Self::Other(waker) => waker.will_wake(cx.waker()),
        }
    }
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            lists: (0..LEVELS * SLOTS).map(|_| Vec::new()).collect(),
            occupied: [0; LEVELS],
            places: Slab::new(),
            elapsed: 0,
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The last tick that has come.
    pub(super) fn elapsed(&self) -> u64 {
        self.elapsed
    }

    /// Adds somebody for a tick that has not come yet. The key is good until the tick has come.
    pub(super) fn insert(&mut self, tick: u64, who: Who) -> usize {
        debug_assert!(tick > self.elapsed, "rule 1");
        let entry = self.places.vacant_entry();
        let key = entry.key();
        let (level, slot) = position(self.elapsed, tick);
        let (list, index) = push(&mut self.lists, &mut self.occupied, level, slot, Item { who, tick, key });
        entry.insert(Place { list, index });
        key
    }

    /// Who an entry is for whose tick has not come.
    pub(super) fn who_mut(&mut self, key: usize) -> &mut Who {
        let Place { list, index } = self.places[key];
        &mut self.lists[list][index].who
    }

    /// Takes out an entry whose tick has not come.
    pub(super) fn remove(&mut self, key: usize) -> Who {
        let Place { list, index } = self.places.remove(key);
        let items = &mut self.lists[list];
        let removed = items.swap_remove(index);
        if let Some(moved) = items.get(index) {
            self.places[moved.key].index = index; // rule 2
        }
        if items.is_empty() {
            self.occupied[list / SLOTS] &= !(1 << (list % SLOTS)); // rule 3
        }
        removed.who
    }

    /// The tick at which there is something to do next: what is due, or a slot to be spread over the level below.
    pub(super) fn next_tick(&self) -> Option<u64> {
        let level = self.occupied.iter().position(|slots| *slots != 0)?;
        let slot = u64::from(self.occupied[level].trailing_zeros());
        let bits = level_bits(level);
        let above = self.elapsed.checked_shr(bits + SLOT_BITS).unwrap_or(0);
        Some((above << SLOT_BITS | slot) << bits)
    }

    /// Has all ticks up to `until` come; gives who is due in the order of their ticks.
    pub(super) fn advance(&mut self, until: u64, due: &mut VecDeque<Who>) {
        while let Some(next) = self.next_tick().filter(|next| *next <= until) {
            let (level, slot) = position(self.elapsed, next);
            self.elapsed = next;
            self.occupied[level] &= !(1 << slot);
            let mut items = std::mem::take(&mut self.lists[level * SLOTS + slot]);
            let count = items.len();
            for item in items.drain(..) {
                if item.tick == next {
                    self.places.remove(item.key);
                    due.push_back(item.who);
                } else {
                    self.spread(item);
                }
            }
            items.shrink_to(count * KEPT);
            self.lists[level * SLOTS + slot] = items;
        }
        self.elapsed = self.elapsed.max(until);
        if self.places.is_empty() && self.places.capacity() > 0 {
            self.places = Slab::new();
            self.lists.iter_mut().for_each(|items| *items = Vec::new());
        }
    }

    fn spread(&mut self, item: Item) {
        let key = item.key;
        let (level, slot) = position(self.elapsed, item.tick);
        let (list, index) = push(&mut self.lists, &mut self.occupied, level, slot, item);
        self.places[key] = Place { list, index };
    }

    /// Takes out everything.
    pub(super) fn clear(&mut self, due: &mut VecDeque<Who>) {
        due.extend(self.lists.iter_mut().flat_map(std::mem::take).map(|item| item.who));
        self.occupied = [0; LEVELS];
        self.places = Slab::new();
    }
}

/// Puts an item at the end of a slot's list; gives the list and the place in it.
fn push(
    lists: &mut [Vec<Item>],
    occupied: &mut [u64; LEVELS],
    level: usize,
    slot: usize,
    item: Item,
) -> (usize, usize) {
    let list = level * SLOTS + slot;
    let index = lists[list].len();
    lists[list].push(item);
    occupied[level] |= 1 << slot;
    (list, index)
}

/// The level and the slot of a tick that comes after `elapsed`.
fn position(elapsed: u64, tick: u64) -> (usize, usize) {
    let differs = (elapsed ^ tick) | 1;
    let level = (differs.ilog2() / SLOT_BITS) as usize;
    #[allow(clippy::cast_possible_truncation)] // below SLOTS
    let slot = (tick >> level_bits(level)) as usize % SLOTS;
    (level, slot)
}

/// How many bits of a tick the levels below this one tell.
#[allow(clippy::cast_possible_truncation)] // below LEVELS
fn level_bits(level: usize) -> u32 {
    level as u32 * SLOT_BITS
}

/// A level's slots have a bit each in one word.
const SLOTS: usize = 64;
const SLOT_BITS: u32 = SLOTS.ilog2();
/// Enough for every tick: 11 times 6 bits are more than 64. What is due within 64 ms is put down once, within 4 s at most
/// twice, within 4 minutes three times.
const LEVELS: usize = 11;
/// A list keeps the memory for so many times what was in it, for the next round: what it took to grow it is most of what a
/// timer costs. All is given back when the last timer has gone.
const KEPT: usize = 4;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(usize),
        Advance(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // Spans of every size: each level is met, and the borders between them.
        let span = || (0..40_u32, any::<u64>()).prop_map(|(bits, dice)| 1 + dice % (1 << bits));
        let step = prop_oneof![
            4 => span().prop_map(Step::Insert),
            1 => any::<usize>().prop_map(Step::Remove),
            2 => span().prop_map(Step::Advance),
        ];
        proptest::collection::vec(step, 1..120)
    }

    fn number(who: Who) -> usize {
        match who {
            Who::Task(number) => number,
            Who::Other(_) => unreachable!("there are only tasks"),
        }
    }

    proptest! {
        #[test]
        fn all_are_due_at_their_tick_as_in_a_sorted_map(steps in steps()) {
            let (mut slots, mut due) = (Slots::new(), VecDeque::new());
            let mut model = BTreeMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(span) => {
                        let tick = slots.elapsed() + span;
                        let key = slots.insert(tick, Who::Task(number));
                        model.insert((tick, number), key);
                    }
                    Step::Remove(dice) => {
                        let Some((at, key)) = model.iter().nth(dice % model.len().max(1)) else { continue };
                        let (at, key) = (*at, *key);
                        model.remove(&at);
                        prop_assert_eq!(self::number(slots.remove(key)), at.1);
                    }
                    Step::Advance(span) => {
                        let until = slots.elapsed() + span;
                        slots.advance(until, &mut due);
                        let later = model.split_off(&(until + 1, 0));
                        let mut found: Vec<_> = due.drain(..).map(self::number).collect();
                        let mut expected: Vec<_> = std::mem::replace(&mut model, later).into_keys().collect();
                        // In the order of ticks; within a tick in any.
                        let ticks: BTreeMap<_, _> = expected.iter().map(|(tick, number)| (*number, *tick)).collect();
                        prop_assert!(found.is_sorted_by_key(|number| ticks.get(number)));
                        found.sort_unstable();
                        expected.sort_unstable_by_key(|(_, number)| *number);
                        prop_assert_eq!(found, expected.into_iter().map(|(_, number)| number).collect::<Vec<_>>());
                    }
                }
                prop_assert_eq!(slots.len(), model.len());
                let first = model.keys().next().map(|(tick, _)| *tick);
                prop_assert_eq!(slots.next_tick().is_some(), first.is_some());
                prop_assert!(slots.next_tick() <= first);
            }
        }
    }

    #[test]
    fn million_timers_come_and_leave_no_memory() {
        let (mut slots, mut due) = (Slots::new(), VecDeque::new());
        for number in 0..1_000_000_usize {
            slots.insert(1 + (number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 60_000, Who::Task(number));
        }
        let mut seen = vec![false; 1_000_000];
        while let Some(next) = slots.next_tick() {
            slots.advance(next, &mut due);
            due.drain(..).map(number).for_each(|number| assert!(!std::mem::replace(&mut seen[number], true)));
        }
        assert!(seen.into_iter().all(|is_seen| is_seen));
        assert_eq!(slots.len(), 0);
        assert_eq!(slots.lists.iter().map(Vec::capacity).sum::<usize>(), 0);
    }

    #[test]
    fn last_tick_there_is_can_be_waited_for() {
        let (mut slots, mut due) = (Slots::new(), VecDeque::new());
        slots.insert(u64::MAX - 1, Who::Task(1));
        slots.advance(u64::MAX - 2, &mut due);
        assert!(due.is_empty());
        slots.advance(u64::MAX - 1, &mut due);
        assert_eq!(due.len(), 1);
    }
}
