//! An open-loop load: requests begin when the clock says, whether or not the server keeps up. Of 100 requests 98 are
//! quick, one is `/slow`, one is `/compute`. Latency counts from when a request should have begun, so that a server
//! that stalls is charged for all that it kept waiting. With `--rate 0` it asks as fast as it is answered.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use millstream_bench_peers::Args;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::time::Timespec;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Error> {
    let args = Args::from_process();
    // Wake when asked, not up to 50 µs later.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let address: SocketAddr = args.value("connect", String::new()).parse()?;
    let mut load = Load::connect(address, args.value("connections", 64))?;
    let seconds = Duration::from_secs_f64(args.value("seconds", 5.0));
    let rate = args.value("rate", 0.0);
    load.run(rate, Duration::from_secs(1))?;
    load.latencies.clear();
    let (done, took) = load.run(rate, seconds)?;
    load.report(done, took);
    Ok(())
}

/// What is asked, by the number of the request: two of every hundred are not quick, apart from each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Quick,
    Slow,
    Compute,
}

impl Kind {
    fn of(number: u64) -> Self {
        match number % 100 {
            33 => Self::Slow,
            66 => Self::Compute,
            _ => Self::Quick,
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Quick => "/",
            Self::Slow => "/slow",
            Self::Compute => "/compute",
        }
    }
}

struct Load {
    epoll: OwnedFd,
    conns: Vec<Conn>,
    free: VecDeque<usize>,
    requests: [Vec<u8>; 3],
    /// Of quick requests, in nanoseconds.
    latencies: Vec<u64>,
}

struct Conn {
    socket: TcpStream,
    answer: Vec<u8>,
    kind: Kind,
    intended: Instant,
}

impl Load {
    fn connect(address: SocketAddr, connections: usize) -> Result<Self, Error> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut conns = Vec::new();
        for index in 0..connections {
            let socket = TcpStream::connect(address)?;
            socket.set_nodelay(true)?;
            socket.set_nonblocking(true)?;
            debug_assert!(socket.as_raw_fd() >= 0);
            epoll::add(&epoll, &socket, EventData::new_u64(index as u64), EventFlags::IN | EventFlags::ET)?;
            conns.push(Conn { socket, answer: Vec::new(), kind: Kind::Quick, intended: Instant::now() });
        }
        let request =
            |kind: Kind| format!("GET {} HTTP/1.1\r\nHost: {address}\r\n\r\n", kind.path()).into_bytes();
        let requests = [Kind::Quick, Kind::Slow, Kind::Compute].map(request);
        Ok(Self { epoll, free: (0..conns.len()).collect(), conns, requests, latencies: Vec::new() })
    }

    /// Asks for `span`, waits for all answers; gives how many came and how long it took.
    fn run(&mut self, rate: f64, span: Duration) -> Result<(u64, Duration), Error> {
        let start = Instant::now();
        let end = start + span;
        let gap = |number: u64| Duration::from_secs_f64(if rate > 0.0 { number as f64 / rate } else { 0.0 });
        let (mut begun, mut answered) = (0, 0);
        loop {
            let now = Instant::now();
            let mut next = start + gap(begun);
            while now < end && next <= now && !self.free.is_empty() {
                let intended = if rate > 0.0 { next } else { now };
                self.begin(Kind::of(begun), intended)?;
                begun += 1;
                next = start + gap(begun);
            }
            if now >= end && answered == begun {
                return Ok((answered, start.elapsed()));
            }
            // With no connection free only an answer can help; else the next request is due.
            let until = if self.free.is_empty() || now >= end { end + STUCK } else { next };
            answered += self.wait(until.saturating_duration_since(Instant::now()))?;
            if Instant::now() > end + STUCK {
                return Err("answers are missing".into());
            }
        }
    }

    fn begin(&mut self, kind: Kind, intended: Instant) -> Result<(), Error> {
        let index = self.free.pop_front().ok_or("a free connection")?;
        let conn = &mut self.conns[index];
        (conn.kind, conn.intended) = (kind, intended);
        conn.answer.clear();
        conn.socket.write_all(&self.requests[kind as usize])?;
        Ok(())
    }

    /// Reads what has come, for at most this long; gives how many answers became whole.
    fn wait(&mut self, most: Duration) -> Result<u64, Error> {
        let timeout =
            Timespec { tv_sec: most.as_secs().try_into()?, tv_nsec: i64::from(most.subsec_nanos()) };
        let mut events = Vec::with_capacity(256);
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout))?;
        let mut whole = 0;
        for event in &events {
            let index = usize::try_from(event.data.u64())?;
            let conn = &mut self.conns[index];
            if !conn.read()? {
                continue;
            }
            whole += 1;
            if conn.kind == Kind::Quick {
                self.latencies.push(u64::try_from(conn.intended.elapsed().as_nanos())?);
            }
            self.free.push_back(index);
        }
        Ok(whole)
    }

    fn report(&mut self, done: u64, took: Duration) {
        self.latencies.sort_unstable();
        let count = self.latencies.len();
        let at = |share: f64| {
            let index = ((count as f64 * share) as usize).min(count.saturating_sub(1));
            self.latencies.get(index).copied().unwrap_or(0) as f64 / 1000.0
        };
        println!(
            "{{\"requests\":{done},\"per_second\":{:.0},\"p50_us\":{:.1},\"p99_us\":{:.1},\"p999_us\":{:.1}}}",
            done as f64 / took.as_secs_f64(),
            at(0.5),
            at(0.99),
            at(0.999),
        );
    }
}

impl Conn {
    /// True if the answer is whole: its body is 64 bytes.
    fn read(&mut self) -> Result<bool, Error> {
        let mut buf = [0; 4096];
        match self.socket.read(&mut buf) {
            Ok(0) => return Err("the server closed".into()),
            Ok(size) => self.answer.extend_from_slice(&buf[..size]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        if !self.answer.starts_with(b"HTTP/1.1 200") {
            return Err("an answer that is not 200".into());
        }
        let head = self.answer.windows(4).position(|four| four == b"\r\n\r\n");
        Ok(head.is_some_and(|head| self.answer.len() >= head + 4 + 64))
    }
}

/// After so long without the last answers the run has failed.
const STUCK: Duration = Duration::from_secs(10);
