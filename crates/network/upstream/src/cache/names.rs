//! What is known of names. Plain data: the cache keeps it under its lock.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind, Origin, Phase, Result, Seen};

use crate::Resolved;

/// An outcome that many can be told.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Addresses(Arc<[IpAddr]>),
    Failure(Failure),
}

/// An error, without what can't be copied.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: Kind,
    origin: Origin,
    text: Arc<str>,
}

/// What is known of a name at a moment.
pub(super) enum Found {
    /// This, for so long.
    Fresh(Answer, Duration),
    /// This, of old. The second value says whether it is time to ask again.
    Stale(Arc<[IpAddr]>, bool),
    Missing,
}

/// What is known of names, at most so many: the one whose time ends first makes room.
pub(super) struct Names {
    most: usize,
    known: HashMap<Arc<str>, Known>,
    /// The same names, by when they are of no more use; the number tells equal moments apart.
    by_end: BTreeMap<(Instant, u64), Arc<str>>,
    last_number: u64,
    evicted: u64,
}

struct Known {
    answer: Answer,
    fresh_until: Instant,
    /// Before that nobody asks again.
    ask_from: Instant,
    /// Its key in `by_end`.
    end: (Instant, u64),
}

impl Names {
    pub(super) fn new(most: usize) -> Self {
        Self { most, known: HashMap::new(), by_end: BTreeMap::new(), last_number: 0, evicted: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// How many had to make room so far.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(super) fn find(&self, host: &str, now: Instant) -> Found {
        let Some(known) = self.known.get(host) else { return Found::Missing };
        if now < known.fresh_until {
            return Found::Fresh(known.answer.clone(), known.fresh_until - now);
        }
        match &known.answer {
            Answer::Addresses(addresses) if now < known.end.0 => {
                Found::Stale(Arc::clone(addresses), now >= known.ask_from)
            }
            _ => Found::Missing,
        }
    }

    /// Remembers an answer, in place of what was known.
    pub(super) fn put(&mut self, host: &Arc<str>, answer: Answer, fresh_until: Instant, end: Instant) {
        self.remove(host);
        if self.known.len() >= self.most
            && let Some((_, first)) = self.by_end.pop_first()
        {
            self.known.remove(&first);
            self.evicted += 1;
        }
        self.last_number += 1;
        let end = (end, self.last_number);
        self.by_end.insert(end, Arc::clone(host));
        self.known.insert(Arc::clone(host), Known { answer, fresh_until, ask_from: fresh_until, end });
    }

    /// Remembers a failure until then; addresses that may still be given out stay, and are not asked for before.
    pub(super) fn put_failure(&mut self, host: &Arc<str>, failure: Answer, now: Instant, until: Instant) {
        if let Some(known) = self.known.get_mut(host)
            && matches!(known.answer, Answer::Addresses(_))
            && now < known.end.0
        {
            known.ask_from = until;
            return;
        }
        self.put(host, failure, until, until);
    }

    pub(super) fn remove(&mut self, host: &str) {
        if let Some(known) = self.known.remove(host) {
            self.by_end.remove(&known.end);
        }
    }
}

impl Answer {
    /// What a resolver said: no address at all is a failure, and there are bounds to what is kept.
    pub(super) fn of(outcome: &Result<Resolved>) -> Self {
        match outcome {
            Ok(resolved) if resolved.addresses().is_empty() => Self::Failure(Failure {
                kind: Kind::Resolve,
                origin: Origin::Network,
                text: "the name has no addresses".into(),
            }),
            Ok(resolved) if resolved.addresses().len() > ADDRESSES => {
                Self::Addresses(resolved.addresses()[..ADDRESSES].into())
            }
            Ok(resolved) => Self::Addresses(Arc::clone(resolved.addresses())),
            Err(error) => Self::Failure(Failure::of(error)),
        }
    }

    /// The answer as a caller gets it.
    pub(super) fn result(&self, host: &str, ttl: Duration) -> Result<Resolved> {
        match self {
            Self::Addresses(addresses) => Ok(Resolved::new(Arc::clone(addresses), ttl)),
            Self::Failure(failure) => Err(failure.error(host)),
        }
    }
}

impl Failure {
    /// Of a resolver that panicked.
    pub(super) fn panicked() -> Self {
        Self { kind: Kind::Panic, origin: Origin::Local, text: "the resolver panicked".into() }
    }

    fn of(error: &Error) -> Self {
        let mut text = error.message().to_owned();
        if let Some(source) = error.source() {
            let colon = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{colon}{source}");
        }
        Self { kind: error.kind(), origin: error.origin(), text: text.into() }
    }

    /// Would the next one to ask be told the same? Not if only this question was given up.
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self.kind, Kind::Cancelled | Kind::Panic)
    }

    fn error(&self, host: &str) -> Error {
        Error::new(self.kind, self.origin, self.text.to_string())
            .with_phase(Phase::Resolve)
            .with_seen(Seen::No)
            .with_target(host)
    }
}

/// Addresses kept of one name: a guess; names with more than a few dozen are load balancers that give any of theirs.
const ADDRESSES: usize = 64;
