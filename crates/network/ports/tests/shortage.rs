//! A shortage is described as it is: each state counted, the holder named, the next free port foretold.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use millstream_peers::netns::{CLIENT, Namespace, SERVER};
use millstream_peers::{eventually, or_skip};
use millstream_ports::Shortage;
use socket2::{Domain, Socket, Type};

fn at() -> SocketAddr {
    (SERVER, 8080).into()
}

fn connect() -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(&SocketAddr::from((CLIENT, 0)).into())?;
    socket.connect(&at().into())?;
    Ok(socket.into())
}

#[test]
fn states_holders_and_the_next_free_port_are_told() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let none = Shortage::look(at(), &[]).unwrap();
        assert_eq!((none.source, none.budget, none.held, none.free()), (None, 100, 0, 100));
        let pairs: Vec<_> = (0..100).map(|_| (connect().unwrap(), listener.accept().unwrap().0)).collect();
        let error = connect().expect_err("a hundred are in use");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
        let mut pairs = pairs.into_iter();
        pairs.by_ref().take(30).for_each(|(client, server)| {
            drop(client); // first
            drop(server);
        });
        let kept: Vec<_> = pairs.by_ref().take(20).map(|(client, server)| (drop(client), server)).collect();
        let open: Vec<_> = pairs.collect();
        eventually("TIME_WAIT", || Shortage::look(at(), &[]).unwrap().time_wait == 30);
        let seen = Shortage::look_closely(at(), &[]).unwrap();
        assert_eq!((seen.source, seen.held, seen.free()), (Some(CLIENT), 100, 0));
        assert_eq!((seen.open, seen.time_wait, seen.closing), (50, 30, 20), "{seen}");
        let rest = seen.next_free.unwrap();
        assert!(rest > Duration::from_secs(50) && rest <= Duration::from_secs(61), "{rest:?}");
        assert_eq!((seen.holders.len(), seen.holders[0].1, seen.holders[0].2), (1, std::process::id(), 50));
        let text = seen.to_string();
        let start = "no local port is free towards 10.9.0.2:8080 from 10.9.0.1: 100 of 100 are held (50 open, \
                     30 in TIME_WAIT, 20 closing), the next is free in ";
        assert!(
            text.starts_with(start) && text.ends_with(&format!("(pid {}): 50", std::process::id())),
            "{text}"
        );
        let other = Shortage::look((SERVER, 8081).into(), &[]).unwrap();
        assert_eq!(other.free(), 100, "each destination has its own");
        drop((kept, open));
    }));
}
