//! The local ports of dialled connections: all of them are found, of both parities alike.
#![allow(missing_docs, clippy::unwrap_used)]

mod shared;

use std::net::{IpAddr, TcpListener};

use millstream_base::Kind;
use millstream_peers::netns::{CLIENT, Namespace, PORTS, SERVER};
use millstream_peers::or_skip;
use millstream_transport::{Addr, Conn, DialOptions, LifeTable, Opener, dial};
use shared::soon;

/// So many connections, and their ports in the order they were found; the error that ended it.
async fn fill(options: &DialOptions) -> (Vec<Conn>, Vec<u16>, Kind) {
    let listener = TcpListener::bind((SERVER, 8080)).unwrap();
    let target = [Addr::Tcp(listener.local_addr().unwrap())];
    let table = LifeTable::default();
    let (mut conns, mut ports) = (vec![], vec![]);
    loop {
        match dial(&target, options, soon(), &table, Opener::Direct).await {
            Ok(conn) => {
                ports.push(conn.local_addr().as_tcp().unwrap().port());
                conns.push(conn);
                listener.accept().unwrap();
            }
            Err(error) => return (conns, ports, error.kind()),
        }
    }
}

fn check(local: Option<IpAddr>) {
    or_skip!(Namespace::run(|namespace| {
        namespace.set("net.ipv4.ip_local_reserved_ports", "40050-40059");
        let mut options = DialOptions::default();
        options.local_addrs = local.into_iter().collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (conns, mut ports, kind) = runtime.block_on(fill(&options));
        assert_eq!((kind, conns.len()), (Kind::PortsExhausted, 90));
        // By parity all of the first 45 would be even or all odd; by chance, two times in 2^45.
        let odd = ports[..45].iter().filter(|port| *port % 2 == 1).count();
        assert!((1..45).contains(&odd), "{ports:?}");
        ports.sort_unstable();
        let all: Vec<u16> = (PORTS.0..=PORTS.1).filter(|port| !(40_050..=40_059).contains(port)).collect();
        assert_eq!(ports, all, "none is left, and none of the reserved was taken");
    }));
}

#[test]
fn ports_of_both_parities_are_used_from_the_first_on() {
    check(None);
}

#[test]
fn ports_of_a_chosen_source_too() {
    check(Some(CLIENT));
}
