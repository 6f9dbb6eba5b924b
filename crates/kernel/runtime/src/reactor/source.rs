//! What is known of one watched socket, on its worker's thread.

use std::task::{Context, Waker};

use rustix::event::epoll::{EventData, EventFlags};
use slab::Slab;

use super::home::Here;
use super::watch::Interest;

/// All watched sockets of a worker.
#[derive(Default)]
pub(super) struct Sources {
    list: Slab<Source>,
    generation: u32,
}

/// Names a source; a name is not used again soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) key: u32,
    pub(super) generation: u32,
}

struct Source {
    generation: u32,
    ready: u8,
    reader: Whom,
    writer: Whom,
}

/// Whom an event wakes.
#[derive(Default)]
pub(super) enum Whom {
    #[default]
    Nobody,
    /// A task of this worker, by its key. It may have ended: then nobody, or whoever has the key now, is woken for nothing.
    Task(usize),
    /// Anybody else.
    Other(Waker),
}

/// Bits of [`Source::ready`].
pub(super) const READABLE: u8 = 1;
pub(super) const WRITABLE: u8 = 2;
/// The peer's end was seen: there is no second edge for it, so it stays readable.
const READ_CLOSED: u8 = 4;
/// The same for writing.
const WRITE_CLOSED: u8 = 8;

impl Token {
    pub(super) fn of(data: EventData) -> Self {
        let data = data.u64();
        #[allow(clippy::cast_possible_truncation)] // the two halves of what `data` put together
        Self { key: data as u32, generation: (data >> 32) as u32 }
    }

    pub(super) fn data(self) -> EventData {
        EventData::new_u64(u64::from(self.generation) << 32 | u64::from(self.key))
    }
}

impl Sources {
    pub(super) const fn new() -> Self {
        Self { list: Slab::new(), generation: 0 }
    }

    /// A new source, not ready for anything yet; `None` beyond four billion.
    pub(super) fn add(&mut self) -> Option<Token> {
        self.generation = self.generation.wrapping_add(1);
        let (ready, generation) = (0, self.generation);
        let entry = self.list.vacant_entry();
        let key = u32::try_from(entry.key()).ok()?;
        entry.insert(Source { generation, ready, reader: Whom::Nobody, writer: Whom::Nobody });
        Some(Token { key, generation })
    }

    #[inline]
    fn get(&mut self, token: Token) -> Option<&mut Source> {
        self.list.get_mut(token.key as usize).filter(|source| source.generation == token.generation)
    }

    /// Forgets a source. What it gives back may run user code when dropped: drop it outside the borrow.
    #[must_use]
    pub(super) fn remove(&mut self, token: Token) -> Option<(Whom, Whom)> {
        self.get(token)?;
        let source = self.list.remove(token.key as usize);
        Some((source.reader, source.writer))
    }

    /// Is it ready? If not, `cx` is woken when it is. Gives back whom it would have woken so far, to be dropped outside.
    #[inline]
    pub(super) fn poll(
        &mut self,
        token: Token,
        interest: Interest,
        here: &Here,
        cx: &Context<'_>,
    ) -> Result<(), Whom> {
        let Some(source) = self.get(token) else { return Err(Whom::Nobody) };
        if source.ready & interest.bits() != 0 {
            return Ok(());
        }
        let whom = match interest {
            Interest::Read => &mut source.reader,
            Interest::Write => &mut source.writer,
        };
        let (flag, key) = here.current.get();
        if cx.waker().data().addr() == flag {
            if matches!(whom, Whom::Task(known) if *known == key) {
                return Err(Whom::Nobody);
            }
            return Err(std::mem::replace(whom, Whom::Task(key)));
        }
        if matches!(whom, Whom::Other(known) if known.will_wake(cx.waker())) {
            return Err(Whom::Nobody);
        }
        Err(std::mem::replace(whom, Whom::Other(cx.waker().clone())))
    }

    #[inline]
    pub(super) fn is_ready(&mut self, token: Token, interest: Interest) -> bool {
        self.get(token).is_some_and(|source| source.ready & interest.bits() != 0)
    }

    /// The socket had no more: ready again at the next edge.
    #[inline]
    pub(super) fn clear(&mut self, token: Token, interest: Interest) {
        let Some(source) = self.get(token) else { return };
        match interest {
            Interest::Read if source.ready & READ_CLOSED == 0 => source.ready &= !READABLE,
            Interest::Write if source.ready & WRITE_CLOSED == 0 => source.ready &= !WRITABLE,
            _ => {}
        }
    }

    /// Takes an event in: gives the tasks to queue, and other wakers to call outside the borrow.
    #[inline]
    pub(super) fn on_event(&mut self, token: Token, flags: EventFlags) -> (Whom, Whom) {
        let Some(source) = self.get(token) else { return (Whom::Nobody, Whom::Nobody) };
        let news = ready_bits(flags);
        source.ready |= news;
        let reader = if news & READABLE != 0 { source.reader.take() } else { Whom::Nobody };
        let writer = if news & WRITABLE != 0 { source.writer.take() } else { Whom::Nobody };
        (reader, writer)
    }
}

impl Whom {
    /// A waker is called once; a task stays noted, because it costs nothing to keep.
    #[inline]
    fn take(&mut self) -> Self {
        match self {
            Self::Task(key) => Self::Task(*key),
            other => std::mem::take(other),
        }
    }
}

#[inline]
fn ready_bits(flags: EventFlags) -> u8 {
    let mut bits = 0;
    if flags.contains(EventFlags::IN) {
        bits |= READABLE;
    }
    if flags.contains(EventFlags::OUT) {
        bits |= WRITABLE;
    }
    if flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
        bits |= READABLE | READ_CLOSED;
    }
    if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
        bits |= WRITABLE | WRITE_CLOSED;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_survives_the_kernel() {
        let token = Token { key: 7, generation: u32::MAX };
        assert_eq!(Token::of(token.data()), token);
    }

    #[test]
    fn end_of_the_peer_stays_readable() {
        let mut sources = Sources::new();
        let token = sources.add().expect("room");
        sources.on_event(token, EventFlags::IN);
        sources.clear(token, Interest::Read);
        assert!(!sources.is_ready(token, Interest::Read));
        sources.on_event(token, EventFlags::IN | EventFlags::RDHUP);
        sources.clear(token, Interest::Read);
        assert!(sources.is_ready(token, Interest::Read));
        assert!(!sources.is_ready(token, Interest::Write));
    }

    #[test]
    fn name_of_a_source_that_is_gone_means_nobody() {
        let mut sources = Sources::new();
        let old = sources.add().expect("room");
        assert!(sources.remove(old).is_some());
        let new = sources.add().expect("room");
        assert_eq!((old.key, new.key), (0, 0));
        sources.on_event(old, EventFlags::IN);
        assert!(!sources.is_ready(new, Interest::Read));
        assert!(sources.remove(old).is_none());
    }
}
