//! Who has all the ports towards one destination, and when the next comes free.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

use millstream_sockets::{Diag, Entry, Holders, Query, Result, State, TimerKind};

use crate::LocalPorts;

/// The ports from one source address to one destination, as the kernel sees them: how many are held, in which state and by
/// whom.
///
/// Its text is one line for an error, as "no local port is free towards 10.9.0.2:8080: 100 of 100 are held (45 open,
/// 55 in TIME_WAIT), the next is free in 12.3 s; held by api (pid 4711): 45".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shortage {
    /// Where to.
    pub destination: SocketAddr,
    /// The source with the most ports in use towards it; none when there are no sockets, or when several sources were asked for.
    pub source: Option<IpAddr>,
    /// How many ports there are to choose from; with several sources, those of all.
    pub budget: u32,
    /// Ports in use, in whatever state; also those outside the range.
    pub held: u32,
    /// Established, or half-way there.
    pub open: u32,
    /// In TIME_WAIT: free in at most 60 s.
    pub time_wait: u32,
    /// In FIN_WAIT, CLOSE_WAIT and the like: whoever holds them, or the peer, has not closed yet.
    pub closing: u32,
    /// Until the kernel ends the first of those that nobody holds any more.
    pub next_free: Option<Duration>,
    /// Who holds those that are no TIME_WAIT: process, its id, how many; the most first.
    pub holders: Vec<(String, u32, u32)>,
}

impl Shortage {
    /// Looks at all sockets towards `destination` in the network namespace of this thread; the kernel walks over its whole
    /// table of sockets for it, which takes milliseconds on a large host: nothing for a thread that others wait for. Of sockets from
    /// several addresses those from `sources` count; with none given, those from the address that has most. Who holds them is
    /// not looked up.
    ///
    /// # Errors
    /// When the kernel gives no list.
    pub fn look(destination: SocketAddr, sources: &[IpAddr]) -> Result<Self> {
        Ok(Self::of(destination, sources, &towards(destination)?).0)
    }

    /// The same, with those who hold them: a walk over the processes that this one may look into.
    ///
    /// # Errors
    /// When the kernel gives no list.
    pub fn look_closely(destination: SocketAddr, sources: &[IpAddr]) -> Result<Self> {
        let entries = towards(destination)?;
        let (mut shortage, counted) = Self::of(destination, sources, &entries);
        let inodes: Vec<_> = counted.iter().map(|entry| entry.inode()).filter(|inode| *inode != 0).collect();
        let holders = Holders::find(inodes.iter().copied());
        let mut counts = HashMap::<(String, u32), u32>::new();
        for process in inodes.iter().filter_map(|inode| holders.of(*inode)) {
            *counts.entry((process.name.clone(), process.pid)).or_default() += 1;
        }
        shortage.holders = counts.into_iter().map(|((name, pid), count)| (name, pid, count)).collect();
        shortage.holders.sort_unstable_by(|a, b| b.2.cmp(&a.2).then_with(|| a.cmp(b)));
        Ok(shortage)
    }

    /// The same where there are so many ports beside those that the kernel chooses from: a private range
    /// ([`Ports::private_count`](crate::Ports::private_count)), once for each source.
    #[must_use]
    pub fn with_private(mut self, ports: u32) -> Self {
        self.budget = self.budget.saturating_add(ports);
        self
    }

    /// How many are left, as far as sockets towards this destination say. Ports that others took by `bind`, without a
    /// destination, are not in it.
    pub fn free(&self) -> u32 {
        self.budget.saturating_sub(self.held)
    }

    /// With the sockets that count.
    fn of<'a>(destination: SocketAddr, sources: &[IpAddr], entries: &'a [Entry]) -> (Self, Vec<&'a Entry>) {
        let mut by_source = HashMap::<IpAddr, Vec<&Entry>>::new();
        for entry in entries {
            by_source.entry(entry.local().ip()).or_default().push(entry);
        }
        let (source, held) = match sources {
            [] => {
                let fullest = by_source.into_iter().max_by_key(|(source, held)| (held.len(), *source));
                fullest.map_or((None, vec![]), |(source, held)| (Some(source), held))
            }
            [one] => (Some(*one), by_source.remove(one).unwrap_or_default()),
            all => (None, all.iter().filter_map(|source| by_source.remove(source)).flatten().collect()),
        };
        let count = |is: &dyn Fn(State) -> bool| held.iter().filter(|entry| is(entry.state())).count() as u32;
        let is_open = |state| matches!(state, State::Established | State::SynSent);
        let timers = held.iter().filter_map(|entry| entry.timer());
        let rests = timers.filter(|timer| timer.kind == TimerKind::TimeWait).map(|timer| timer.expires);
        let (open, time_wait) = (count(&is_open), count(&|state| state == State::TimeWait));
        let all = held.len() as u32;
        let shortage = Self {
            destination,
            source,
            budget: LocalPorts::read().count().saturating_mul(sources.len().max(1) as u32),
            held: all,
            open,
            time_wait,
            closing: all - open - time_wait,
            next_free: rests.min(),
            holders: Vec::new(),
        };
        (shortage, held)
    }
}

fn towards(destination: SocketAddr) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    Diag::open()?.dump(&Query::all().remote(destination), |record| {
        entries.push(record.to_entry());
        ControlFlow::Continue(())
    })?;
    Ok(entries)
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { destination, budget, held, open, time_wait, closing, .. } = self;
        write!(f, "no local port is free towards {destination}")?;
        if let Some(source) = self.source {
            write!(f, " from {source}")?;
        }
        write!(
            f,
            ": {held} of {budget} are held ({open} open, {time_wait} in TIME_WAIT, {closing} closing)"
        )?;
        if let Some(rest) = self.next_free {
            write!(f, ", the next is free in {:.1} s", rest.as_secs_f64())?;
        }
        if held < budget {
            write!(f, "; others may have taken ports by bind, for all destinations")?;
        }
        for (at, (name, pid, count)) in self.holders.iter().take(HOLDERS_SHOWN).enumerate() {
            let begin = if at == 0 { "; held by" } else { "," };
            write!(f, "{begin} {name} (pid {pid}): {count}")?;
        }
        Ok(())
    }
}

/// Holders that an error lists: one line must stay readable.
const HOLDERS_SHOWN: usize = 3;
