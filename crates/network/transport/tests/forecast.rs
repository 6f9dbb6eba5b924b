//! A steady overload of a hundred ports: ten seconds before the last is gone, the moment is known to a second.
#![allow(missing_docs, clippy::unwrap_used)]

mod shared;

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use millstream_base::{Error, Kind};
use millstream_peers::netns::{CLIENT, Namespace, SERVER};
use millstream_peers::or_skip;
use millstream_ports::Level;
use millstream_transport::{Addr, Cause, DialOptions, LifeTable, Opener, dial};
use shared::soon;
use tokio::time::{MissedTickBehavior, interval};

/// A connection that its client closes first: its port is lost for a minute.
async fn short(table: &LifeTable, listener: &TcpListener, at: SocketAddr) -> Result<(), Error> {
    let options = DialOptions::default().with_local_addr(CLIENT);
    let conn = dial(&[Addr::Tcp(at)], &options, soon(), table, Opener::Direct).await?;
    let (mut server, _) = listener.accept().unwrap();
    conn.close(Cause::IdleTimeoutLocal);
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    Ok(())
}

/// The load is what this test is about: eight connections a second, which takes twelve and a half. A tick that comes late is
/// made up for, as by clients that don't wait for one another.
#[test]
fn end_of_the_ports_is_known_ten_seconds_ahead() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let at = (SERVER, 8080).into();
        let listener = TcpListener::bind(at).unwrap();
        let table = LifeTable::default();
        table.ports().set_takeover(None);
        let budget = || table.ports().snapshots(Instant::now()).pop().unwrap();
        let load = async {
            let mut ticks = interval(Duration::from_millis(125));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            // Each is a moment, and what was foretold at it.
            let mut told: Vec<(Instant, Instant)> = Vec::new();
            loop {
                ticks.tick().await;
                if let Err(error) = short(&table, &listener, at).await {
                    return (error, told);
                }
                let now = Instant::now();
                told.extend(budget().exhausted_in.map(|span| (now, now + span)));
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (error, told) = runtime.block_on(load);
        let ended = Instant::now();
        assert_eq!((error.kind(), budget().level), (Kind::PortsExhausted, Level::Critical), "{error}");
        let ahead = |moment: &Instant| ended.duration_since(*moment);
        let (at, foretold) =
            told.iter().rfind(|(at, _)| ahead(at) >= Duration::from_secs(10)).expect("told in time");
        let off = ended.max(*foretold).duration_since(ended.min(*foretold));
        assert!(off < Duration::from_secs(1), "{:?} ahead it was off by {off:?}", ahead(at));
        eprintln!("{:?} ahead the forecast was off by {off:?}", ahead(at));
    }));
}
