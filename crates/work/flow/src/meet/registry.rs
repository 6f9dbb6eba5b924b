//! What has a name, by name. A name is known while somebody holds what it names.
//!
//! Rules:
//! 1. Each map is behind a lock of its own; under it the lock of one tally or slot may be taken, never the other way round.
//! 2. No user code runs under a lock: messages are cloned, wakers called, and what was taken out is dropped outside.
//! 3. An entry of [`Rows`] is in its map until its [`Place`] is dropped, or it has what it waits for, whichever comes first.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::task::Waker;

use millstream_base::{Error, Kind, Origin, Result};

use super::counter::Tally;
use super::guard::Gate;
use super::mailbox::Slot;
use super::sync::{Mutex, lock, wake};
use super::unsent::Unsent;

/// What has a name.
pub(crate) struct Registry {
    counters: Mutex<Rows<Arc<Tally>>>,
    mailboxes: Mutex<Rows<AnySlot>>,
    conditionals: Mutex<Rows<AnySlot>>,
    guards: Mutex<HashMap<Arc<str>, Weak<Gate>>>,
}

/// Several of each name, oldest first.
struct Rows<V> {
    /// Never used again: a place that is given up late finds nothing.
    next: u64,
    by_name: HashMap<Arc<str>, BTreeMap<u64, V>>,
}

/// The slot of a mailbox for messages of any type.
struct AnySlot {
    slot: Arc<dyn Any + Send + Sync>,
    message: TypeId,
    message_name: &'static str,
}

/// In which map a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    Counters,
    Mailboxes,
    Conditionals,
}

/// Gives up its entry when it is dropped.
pub(crate) struct Place {
    registry: Arc<Registry>,
    shelf: Shelf,
    name: Arc<str>,
    id: u64,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            counters: Mutex::new(Rows::new()),
            mailboxes: Mutex::new(Rows::new()),
            conditionals: Mutex::new(Rows::new()),
            guards: Mutex::new(HashMap::new()),
        }
    }

    /// How many names are known.
    pub(crate) fn len(&self) -> usize {
        let mut count = lock(&self.counters).by_name.len();
        count += lock(&self.mailboxes).by_name.len();
        count += lock(&self.conditionals).by_name.len();
        count + lock(&self.guards).len()
    }

    pub(crate) fn add_counter(self: &Arc<Self>, name: &str, tally: Arc<Tally>) -> Place {
        let (name, id) = lock(&self.counters).add(name, tally);
        Place { registry: self.clone(), shelf: Shelf::Counters, name, id }
    }

    /// Counts the oldest of this name, with the surplus the next, and so on; gives what none needed.
    pub(crate) fn count(&self, name: &str, mut count: u64) -> u64 {
        let mut wakers = Vec::new();
        let mut reached = Vec::new();
        {
            let mut counters = lock(&self.counters);
            while let Some(tally) = counters.oldest(name).filter(|_| count > 0) {
                count = tally.take(count, &mut wakers);
                if tally.is_reached() {
                    reached.extend(counters.take_oldest(name));
                }
            }
        }
        wake(wakers);
        count
    }

    /// Adds a mailbox, unless those of this name are for messages of another type.
    pub(crate) fn add_slot<T: Send + 'static>(
        self: &Arc<Self>,
        shelf: Shelf,
        name: &str,
        slot: Arc<Slot<T>>,
    ) -> Result<Place> {
        let mut slots = lock(self.slots(shelf));
        slots.oldest(name).map_or(Ok(()), |oldest| oldest.check::<T>(name))?;
        let message_name = std::any::type_name::<T>();
        let (name, id) = slots.add(name, AnySlot { slot, message: TypeId::of::<T>(), message_name });
        Ok(Place { registry: self.clone(), shelf, name, id })
    }

    /// Puts the message into the oldest mailboxes of this name, at most so many; gives how many got it.
    pub(crate) fn send<T: Clone + Send + 'static>(
        &self,
        shelf: Shelf,
        name: &str,
        most: usize,
        message: T,
    ) -> Result<usize, Unsent<T>> {
        let waiting = {
            let slots = lock(self.slots(shelf));
            match slots.oldest(name).map(|oldest| oldest.check::<T>(name)) {
                Some(Err(error)) => return Err(Unsent::new(message, error)),
                Some(Ok(())) => slots.by_name.get(name).map_or(0, BTreeMap::len).min(most),
                None => 0,
            }
        };
        if waiting == 0 {
            return Err(Unsent::new(message, nobody(name)));
        }
        // Whoever waited and has not left since is among the oldest, and has a copy; clones that are too many are dropped.
        let mut copies = vec![message; waiting];
        let (mut wakers, mut emptied) = (Vec::new(), Vec::new());
        self.deliver(shelf, name, &mut copies, &mut wakers, &mut emptied);
        wake(wakers);
        let count = waiting - copies.len();
        match copies.pop() {
            Some(message) if count == 0 => Err(Unsent::new(message, nobody(name))),
            _ => Ok(count),
        }
    }

    fn deliver<T: Send + 'static>(
        &self,
        shelf: Shelf,
        name: &str,
        copies: &mut Vec<T>,
        wakers: &mut Vec<Waker>,
        emptied: &mut Vec<AnySlot>,
    ) {
        let mut slots = lock(self.slots(shelf));
        while let Some(copy) = copies.pop() {
            let oldest = slots.oldest(name).filter(|oldest| oldest.message == TypeId::of::<T>());
            let Some(slot) = oldest.and_then(|oldest| oldest.slot.downcast_ref::<Slot<T>>()) else {
                copies.push(copy);
                return;
            };
            match slot.put(copy) {
                Ok(waker) => wakers.extend(waker),
                Err(_) => unreachable!("a mailbox is in the registry while it is empty and open"),
            }
            emptied.extend(slots.take_oldest(name));
        }
    }

    /// The gate of this name, made when nobody holds it.
    pub(crate) fn gate(self: &Arc<Self>, name: &str) -> Arc<Gate> {
        let mut guards = lock(&self.guards);
        if let Some(gate) = guards.get(name).and_then(Weak::upgrade) {
            return gate;
        }
        let key: Arc<str> = name.into();
        let gate = Arc::new(Gate::new(Some((self.clone(), key.clone()))));
        guards.insert(key, Arc::downgrade(&gate));
        gate
    }

    /// Forgets a gate that nobody holds any more; one that was made under its name meanwhile stays.
    pub(crate) fn forget_gate(&self, name: &str) {
        let mut guards = lock(&self.guards);
        if guards.get(name).is_some_and(|gate| gate.strong_count() == 0) {
            guards.remove(name);
        }
    }

    fn slots(&self, shelf: Shelf) -> &Mutex<Rows<AnySlot>> {
        match shelf {
            Shelf::Mailboxes => &self.mailboxes,
            Shelf::Conditionals => &self.conditionals,
            Shelf::Counters => unreachable!("counters have no messages"),
        }
    }
}

impl<V> Rows<V> {
    fn new() -> Self {
        Self { next: 0, by_name: HashMap::new() }
    }

    fn add(&mut self, name: &str, value: V) -> (Arc<str>, u64) {
        let key = self.by_name.get_key_value(name).map_or_else(|| name.into(), |(key, _)| key.clone());
        let id = self.next;
        self.next += 1;
        self.by_name.entry(key.clone()).or_default().insert(id, value);
        (key, id)
    }

    fn oldest(&self, name: &str) -> Option<&V> {
        self.by_name.get(name)?.values().next()
    }

    fn take_oldest(&mut self, name: &str) -> Option<V> {
        let row = self.by_name.get_mut(name)?;
        let oldest = row.pop_first();
        if row.is_empty() {
            self.by_name.remove(name);
        }
        oldest.map(|(_, value)| value)
    }

    fn remove(&mut self, name: &str, id: u64) -> Option<V> {
        let row = self.by_name.get_mut(name)?;
        let removed = row.remove(&id);
        if row.is_empty() {
            self.by_name.remove(name);
        }
        removed
    }
}

impl AnySlot {
    fn check<T: 'static>(&self, name: &str) -> Result<()> {
        if self.message == TypeId::of::<T>() {
            return Ok(());
        }
        let (theirs, ours) = (self.message_name, std::any::type_name::<T>());
        Err(Error::invalid(format!("the name {name:?} is for messages of {theirs}, not of {ours}")))
    }
}

impl Place {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (registry, name, id) = (&self.registry, &*self.name, self.id);
        match self.shelf {
            Shelf::Counters => {
                let removed = lock(&registry.counters).remove(name, id);
                drop(removed);
            }
            shelf => {
                let removed = lock(registry.slots(shelf)).remove(name, id);
                drop(removed);
            }
        }
    }
}

#[cold]
fn nobody(name: &str) -> Error {
    Error::new(Kind::Cancelled, Origin::Caller, format!("nobody waits for the name {name:?}"))
}
