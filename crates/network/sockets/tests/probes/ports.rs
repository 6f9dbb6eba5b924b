//! Which local port a connection gets, and what a bind costs the others (P10, P11, P12).

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};

use millstream_peers::netns::{Namespace, PORTS};
use millstream_peers::{eventually, or_skip};
use millstream_sockets::{Counters, State};

use crate::dial::{Pair, bind, bind_address, connect, plain, ranging, to_time_wait};
use crate::shared::{at, in_state, pair};

fn ports(pairs: &[Pair]) -> Vec<u16> {
    pairs.iter().map(|(client, _)| client.local_addr().unwrap().port()).collect()
}

fn even(ports: &[u16]) -> usize {
    ports.iter().filter(|port| port.is_multiple_of(2)).count()
}

/// P10.
#[test]
fn search_takes_every_port_of_the_lowest_ones_parity_first() {
    or_skip!(Namespace::run(|_| {
        let listener = TcpListener::bind(at()).unwrap();
        let pairs: Vec<_> = (0..60).map(|_| connect(bind_address(plain()), &listener).unwrap()).collect();
        let ports = ports(&pairs);
        assert_eq!((even(&ports[..50]), even(&ports[50..])), (50, 0));
    }));
}

/// P10.
#[test]
fn search_in_a_range_of_the_sockets_own_knows_no_parity() {
    or_skip!(Namespace::run(|_| {
        let listener = TcpListener::bind(at()).unwrap();
        let dial = || connect(bind_address(ranging(1, 65_535)), &listener);
        let pairs: Vec<_> = (0..60).map(|_| dial().unwrap()).collect();
        let ports = ports(&pairs);
        println!("P10: {} of the first 50 are even", even(&ports[..50]));
        assert!(even(&ports[..50]) < 50);
        assert!(ports.iter().all(|port| (PORTS.0..=PORTS.1).contains(port)));
        // All hundred can be had.
        let _rest: Vec<_> = (0..40).map(|_| dial().unwrap()).collect();
        let error = dial().expect_err("there are a hundred");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    }));
}

/// P10: a way to name the port and yet leave it to the others. It is the automatic search, so it heeds `tcp_tw_reuse`.
#[test]
fn range_of_one_port_names_it_without_taking_it_from_the_others() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let other = TcpListener::bind((at().ip(), 8081)).unwrap();
        let port = 40_007;
        let mine = connect(ranging(port, port), &listener).unwrap();
        assert_eq!(mine.0.local_addr().unwrap().port(), port);
        let (theirs, _server) = connect(ranging(port, port), &other).unwrap();
        assert_eq!(theirs.local_addr().unwrap().port(), port);
        to_time_wait(mine);
        let error = connect(ranging(port, port), &listener).expect_err("tcp_tw_reuse is 0");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        namespace.set("net.ipv4.tcp_tw_reuse", "1");
        namespace.set("net.ipv4.tcp_tw_reuse_delay", "1");
        let before = Counters::read().unwrap();
        eventually("it is a millisecond old", || connect(ranging(port, port), &listener).is_ok());
        assert_eq!(Counters::read().unwrap().since(&before).get("TcpExt", "TWRecycled"), 1);
    }));
}

/// P11.
#[test]
fn reserved_ports_are_left_to_those_who_name_them() {
    or_skip!(Namespace::run(|namespace| {
        namespace.set("net.ipv4.ip_local_reserved_ports", "40050-40099");
        let listener = TcpListener::bind(at()).unwrap();
        let pairs: Vec<_> = (0..50).map(|_| pair(&listener)).collect();
        assert!(ports(&pairs).iter().all(|port| *port < 40_050));
        for error in [
            TcpStream::connect(at()).expect_err("fifty are left"),
            connect(ranging(1, 65_535), &listener).expect_err("a range of one's own leaves them out too"),
        ] {
            assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        }
        let (client, _server) = connect(bind(plain(), 40_050).unwrap(), &listener).unwrap();
        assert_eq!(client.local_addr().unwrap().port(), 40_050);
    }));
}

/// P12.
#[test]
fn bind_that_chooses_a_port_takes_it_from_every_destination() {
    or_skip!(Namespace::run(|_| {
        let listener = TcpListener::bind(at()).unwrap();
        let bound: Vec<_> = (0..100).map(|_| bind(plain(), 0).unwrap()).collect();
        let listed: BTreeSet<_> =
            in_state(State::BoundInactive).iter().map(|one| one.local().port()).collect();
        assert!(listed.into_iter().eq(PORTS.0..=PORTS.1));
        let error = TcpStream::connect(at()).expect_err("no connection is open, no port is left");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        let error = connect(bind_address(plain()), &listener).expect_err("nor with an address");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        drop(bound);

        // Left to connect, a hundred connections to one destination leave the hundred ports to another.
        let other = TcpListener::bind((at().ip(), 8081)).unwrap();
        let dial = |to| (0..100).map(|_| connect(bind_address(plain()), to).unwrap()).collect::<Vec<_>>();
        let (_first, _second) = (dial(&listener), dial(&other));
    }));
}
