//! Looking at the host: dumps, counters, settings and processes become an [`Observation`].

mod close_wait;
mod descriptors;
mod dump;
mod gather;
mod owners;
mod read;
mod socket;

use std::collections::HashSet;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use millstream_base::Error;

use crate::engine::EngineFacts;
use crate::observation::{Observation, Sample};
pub use close_wait::closed_by_peers;
use millstream_sockets::Diag;
use owners::Owners;
use socket::{Ports, Socket, State};

/// Looks at the network namespace of the thread that made it, again and again.
///
/// It remembers which process held which connection, so that TIME_WAIT, which has no process, can be told whose it was.
///
/// # Limits
///
/// It keeps the last [`Observer::SAMPLES_MAX`] samples, and one entry for each socket of the last dump.
pub struct Observer {
    diag: Diag,
    started: Instant,
    samples: VecDeque<Sample>,
    /// Cookies of CLOSE_WAIT and FIN_WAIT_2 in each sample kept.
    resting: VecDeque<HashSet<u64>>,
    owners: Owners,
    endpoint: Option<SocketAddr>,
    /// How many processes could not be looked into.
    hidden: usize,
    blind: Vec<String>,
    pids: Vec<(u32, String)>,
}

impl Observer {
    /// How many samples are kept.
    pub const SAMPLES_MAX: usize = 120;

    /// Opens the way to the kernel.
    ///
    /// # Errors
    ///
    /// The kernel has no sock_diag, or does not let us.
    pub fn new() -> Result<Self, Error> {
        Ok(Self {
            diag: Diag::open().map_err(dump::failed)?,
            started: Instant::now(),
            samples: VecDeque::new(),
            resting: VecDeque::new(),
            owners: Owners::default(),
            endpoint: None,
            hidden: 0,
            blind: Vec::new(),
            pids: Vec::new(),
        })
    }

    /// Looks only at connections from or to this address; what listens is seen always.
    #[must_use]
    pub fn endpoint(mut self, endpoint: SocketAddr) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Takes a sample: one dump, three small files, and a walk over the processes if sockets appeared that nobody is known to
    /// hold.
    ///
    /// # Errors
    ///
    /// The kernel gave no dump. What else is missing is said in [`Observation::unseen`].
    pub fn sample(&mut self) -> Result<(), Error> {
        self.blind.clear();
        let sockets = dump::all(&mut self.diag)?;
        self.learn_owners(&sockets);
        let resting: HashSet<_> =
            sockets.iter().filter(|one| is_resting(one)).map(|one| one.cookie).collect();
        let range = read::port_range().unwrap_or_else(|| {
            self.blind.push("the range of local ports could not be read".to_owned());
            0..=u16::MAX
        });
        let ports = Ports::of(&sockets, range, read::reuse_delay_ms());
        if self.samples.len() == Self::SAMPLES_MAX {
            self.samples.pop_front();
            self.resting.pop_front();
        }
        self.resting.push_back(resting);
        let kept = self.resting.front().expect("one was pushed just now");
        let wanted: Vec<Socket> =
            sockets.iter().filter(|one| is_wanted(one, self.endpoint)).copied().collect();
        let mut sample = gather::sample(&wanted, &ports, &self.owners, kept);
        sample.at_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match read::counters() {
            Ok((counters, gauges)) => (sample.counters, sample.gauges) = (counters, gauges),
            Err(error) => self.blind.push(format!("counters: {error}")),
        }
        self.samples.push_back(sample);
        Ok(())
    }

    /// What was seen so far.
    pub fn observation(&self) -> Observation {
        let (sysctls, ports) = read::sysctls();
        let mut unseen = self.blind.clone();
        if self.hidden > 0 {
            unseen.push(format!(
                "{} processes may not be looked into without root: their sockets have no name",
                self.hidden
            ));
        }
        let mut samples: Vec<_> = self.samples.iter().cloned().collect();
        if let Some(first) = samples.first().map(|first| first.at_ms) {
            samples.iter_mut().for_each(|sample| sample.at_ms -= first);
        }
        let descriptors = self.pids.iter().filter_map(|(pid, name)| descriptors::read(*pid, name)).collect();
        // A clock before 1970 is not set: then it is not known when this was.
        let made_at = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
        let only = self.endpoint.map(|endpoint| endpoint.to_string());
        Observation { samples, sysctls, ports, descriptors, unseen, engine: None, made_at, only }
    }

    fn learn_owners(&mut self, sockets: &[Socket]) {
        let missing = self.owners.missing(sockets);
        let found = if missing.is_empty() {
            Vec::new()
        } else {
            let (found, hidden) = read::holders(&missing);
            self.hidden = hidden;
            found
        };
        self.owners.learn(found, sockets);
        self.pids = self.owners.processes();
    }
}

impl Observation {
    /// Adds what an engine knows.
    #[must_use]
    pub fn with_engine(mut self, facts: EngineFacts) -> Self {
        self.engine = Some(facts);
        self
    }
}

fn is_resting(one: &Socket) -> bool {
    matches!(one.state, State::CloseWait | State::FinWait2)
}

fn is_wanted(one: &Socket, endpoint: Option<SocketAddr>) -> bool {
    let Some(endpoint) = endpoint else { return true };
    one.state == State::Listen
        || socket::is_same(one.local, endpoint)
        || socket::is_same(one.remote, endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Side;

    #[test]
    fn sides_follow_what_listens() {
        let at = |last: u8, port: u16| SocketAddr::from(([10, 9, 0, last], port));
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let sockets = [
            Socket::plain(State::Listen, at(2, 80), any),
            Socket::plain(State::TimeWait, at(1, 40_000), at(2, 80)),
            Socket::plain(State::Established, at(2, 80), at(1, 40_001)),
        ];
        let ports = Ports::of(&sockets, 40_000..=40_099, 1000);
        assert_eq!(ports.side(&sockets[1]), Side::Connecting);
        assert_eq!(ports.side(&sockets[2]), Side::Listening);
        let sample = gather::sample(&sockets, &ports, &Owners::default(), &HashSet::new());
        let seen: Vec<_> = sample.endpoints.iter().map(|one| (one.name(), one.held, one.unknown)).collect();
        assert_eq!(
            seen,
            [("10.9.0.1 -> 10.9.0.2:80".to_owned(), 1, 1), ("10.9.0.2:80 <- *".to_owned(), 0, 1)]
        );
    }

    #[test]
    fn rested_are_time_wait_older_than_the_delay_on_ports_of_the_kernel() {
        let at = |last: u8, port: u16| SocketAddr::from(([10, 9, 0, last], port));
        let waits = |port: u16, rest_ms: u64| {
            let mut one = Socket::plain(State::TimeWait, at(1, port), at(2, 80));
            one.rest_ms = rest_ms;
            one
        };
        // The last is a port that the kernel would not choose.
        let sockets = [
            Socket::plain(State::Listen, at(2, 80), SocketAddr::from(([0, 0, 0, 0], 0))),
            Socket::plain(State::Established, at(1, 40_000), at(2, 80)),
            waits(40_001, 60_004),
            waits(40_002, 59_001),
            waits(40_003, 59_000),
            waits(40_004, 0),
            waits(50_000, 0),
        ];
        for (delay_ms, rested) in [(1000, 2), (999, 3), (1, 3), (59_000, 1), (60_000, 1), (u64::MAX, 0)] {
            let ports = Ports::of(&sockets, 40_000..=40_099, delay_ms);
            let sample = gather::sample(&sockets, &ports, &Owners::default(), &HashSet::new());
            let one = &sample.endpoints[0];
            assert_eq!((one.held, one.states.time_wait, one.rested), (5, 5, Some(rested)), "{delay_ms} ms");
        }
    }
}
