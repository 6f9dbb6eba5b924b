//! What `connect` takes when a tenth of the local ports is in use, and when nine tenths are: ours, and a plain one.
//!
//! ```sh
//! cargo run --release -p millstream-transport --example connect_time   # as root: it makes network namespaces
//! ```
//!
//! 10,000 local ports towards one destination. The time is that of the calling thread until the SYN is sent: a socket, its
//! options, `connect`. 2,000 samples at each filling; each frees its port again.

use std::error::Error;
use std::future::Future;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use millstream_base::Deadline;
use millstream_peers::netns::{Namespace, SERVER};
use millstream_peers::raise_open_files;
use millstream_transport::{Addr, Cause, Conn, DialOptions, LifeTable, Opener, dial};
use tokio::runtime::Runtime;

const PORTS: usize = 10_000;
const SAMPLES: usize = 2_000;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A client of this benchmark.
trait Client {
    type Conn;
    /// A connection, and how long it took until its SYN was sent.
    fn connect(&self, at: SocketAddr) -> Outcome<(Self::Conn, Duration)>;
    /// Closes it, behind the server.
    fn close(&self, conn: Self::Conn) -> Outcome<()>;
}

/// This crate's.
struct Ours {
    runtime: Runtime,
    table: LifeTable,
}

impl Client for Ours {
    type Conn = Conn;

    fn connect(&self, at: SocketAddr) -> Outcome<(Conn, Duration)> {
        self.runtime.block_on(async {
            let (target, options) = ([Addr::Tcp(at)], DialOptions::default());
            let deadline = Deadline::after(Instant::now(), Duration::from_secs(10));
            let mut dialling = pin!(dial(&target, &options, deadline, &self.table, Opener::Direct));
            let began = Instant::now();
            let first = dialling.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let took = began.elapsed();
            let conn = match first {
                Poll::Ready(dialled) => dialled?,
                Poll::Pending => dialling.await?,
            };
            Ok((conn, took))
        })
    }

    fn close(&self, mut conn: Conn) -> Outcome<()> {
        self.runtime.block_on(std::future::poll_fn(|cx| conn.poll_peer(cx).map(drop)));
        conn.close(Cause::IdleTimeoutPeer);
        Ok(())
    }
}

/// The standard library's.
struct Plain;

impl Client for Plain {
    type Conn = TcpStream;

    fn connect(&self, at: SocketAddr) -> Outcome<(TcpStream, Duration)> {
        let began = Instant::now();
        let stream = TcpStream::connect(at)?;
        Ok((stream, began.elapsed()))
    }

    fn close(&self, mut stream: TcpStream) -> Outcome<()> {
        let _end = stream.read(&mut [0])?;
        Ok(())
    }
}

/// Fills to `percent`, then samples: the sorted times.
fn sample<C: Client>(
    client: &C,
    listener: &TcpListener,
    open: &mut Vec<(C::Conn, TcpStream)>,
    percent: usize,
) -> Outcome<Vec<Duration>> {
    let at = listener.local_addr()?;
    while open.len() < PORTS * percent / 100 {
        open.push((client.connect(at)?.0, listener.accept()?.0));
    }
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let (conn, took) = client.connect(at)?;
        drop(listener.accept()?); // first: the port is free at once
        client.close(conn)?;
        times.push(took);
    }
    times.sort_unstable();
    Ok(times)
}

fn measure<C: Client>(name: &str, client: &C) -> Outcome<()> {
    let listener = TcpListener::bind((SERVER, 8080))?;
    let mut open = Vec::new();
    let low = sample(client, &listener, &mut open, 10)?;
    let high = sample(client, &listener, &mut open, 90)?;
    let at = |times: &[Duration], percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e6;
    let [low, high] = [low, high].map(|times| (at(&times, 50), at(&times, 99)));
    let ratio = high.1 / low.1;
    println!(
        "{name:<6} at 10 %: {:7.1} {:8.1} us   at 90 %: {:7.1} {:8.1} us   p99 x {ratio:.2}",
        low.0, low.1, high.0, high.1
    );
    Ok(())
}

fn in_namespace(is_ours: bool) -> Outcome<()> {
    let ran = Namespace::run(|namespace| -> Outcome<()> {
        namespace.set("net.ipv4.ip_local_port_range", "40000 49999");
        if is_ours {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            measure("ours", &Ours { runtime, table: LifeTable::default() })
        } else {
            measure("plain", &Plain)
        }
    });
    ran.map_err(|skip| skip.to_string())?
}

fn main() -> Outcome<()> {
    raise_open_files();
    println!("{:<6}          {:>8} {:>8}", "", "p50", "p99");
    for _ in 0..3 {
        in_namespace(true)?;
        in_namespace(false)?;
    }
    Ok(())
}
