//! Short connections that we close first, one after the other, for longer than TIME_WAIT lasts: with ports taken over, and without.
//!
//! ```sh
//! cargo run --release -p millstream-transport --example short_connections -- 90   # seconds; as root
//! ```
//!
//! A network namespace with Linux's default range of 28,232 local ports and `tcp_tw_reuse=0`. Without taking over, 470 connections a
//! second can go on for ever; with it 14,116, half of the ports each second; with a private range as many as that has beside them.
//! Who finds no port waits 10 ms.

use std::error::Error;
use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use millstream_base::{Deadline, Kind};
use millstream_peers::netns::{CLIENT, Namespace, SERVER};
use millstream_ports::DEFAULT_MIN_AGE;
use millstream_transport::{Addr, Cause, DialOptions, LifeTable, Opener, dial};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

async fn run(seconds: u64, table: &LifeTable) -> Outcome<()> {
    let listener = TcpListener::bind((SERVER, 8080))?;
    let target = [Addr::Tcp(listener.local_addr()?)];
    let options = DialOptions::default().with_local_addr(CLIENT);
    let (began, mut count, mut without_port) = (Instant::now(), 0_u64, 0_u64);
    while began.elapsed() < Duration::from_secs(seconds) {
        let deadline = Deadline::after(Instant::now(), Duration::from_secs(10));
        match dial(&target, &options, deadline, table, Opener::Direct).await {
            Ok(conn) => {
                let (mut server, _) = listener.accept()?;
                conn.close(Cause::IdleTimeoutLocal);
                let _end = server.read(&mut [0])?;
                count += 1;
            }
            Err(error) if error.kind() == Kind::PortsExhausted => {
                without_port += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let budget = table.ports().snapshots(Instant::now()).pop().ok_or("no connection was made")?;
    println!(
        "  {count} connections, {rate:.0} a second, {} on ports taken over; {without_port} found none",
        budget.taken_over
    );
    Ok(())
}

fn main() -> Outcome<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(90), |text| text.parse())?;
    for (mode, min_age, private) in [
        ("with a private range of 28,232 ports", Some(DEFAULT_MIN_AGE), Some(4000..=32_231)),
        ("taking over after a second", Some(DEFAULT_MIN_AGE), None),
        ("not taking over", None, None),
    ] {
        println!("{mode}");
        let ran = Namespace::run(|namespace| -> Outcome<()> {
            namespace.set("net.ipv4.ip_local_port_range", "32768 60999");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let table = LifeTable::default();
            table.ports().set_takeover(min_age);
            table.ports().set_private_range(private)?;
            runtime.block_on(run(seconds, &table))
        });
        ran.map_err(|skip| skip.to_string())??;
    }
    Ok(())
}
