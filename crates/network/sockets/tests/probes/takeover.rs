//! A port that its program chose itself, taken over from TIME_WAIT and from an orphan; and whom that port is lost to
//! (P4, P5, P6, P14).

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use millstream_peers::netns::{CLIENT, Namespace};
use millstream_peers::{eventually, or_skip};
use millstream_sockets::{Counters, Diag, State, TimerKind};

use crate::dial::{
    bind, bind_address, connect, find, from_port, only_port, plain, ranging, reusing, to_time_wait,
};
use crate::shared::{at, in_state};

const PORT: u16 = 40_000;

/// P4: `tcp_tw_reuse` is 0, and no time passes.
#[test]
fn explicit_bind_takes_over_time_wait_at_once() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let old = to_time_wait(from_port(PORT, &listener).unwrap());
        let before = Counters::read().unwrap();
        let (client, _server) = from_port(PORT, &listener).unwrap();
        let grown = Counters::read().unwrap().since(&before);
        assert_eq!(grown.get("TcpExt", "TWRecycled"), 1);
        assert_eq!(grown.get("TcpExt", "TCPSynRetrans"), 0);
        let new = find((client.local_addr().unwrap(), at())).unwrap();
        assert_eq!((new.local(), new.state()), (old.local(), State::Established));
        assert_ne!(new.cookie(), old.cookie());
        assert!(in_state(State::TimeWait).is_empty());
    }));
}

/// P4: 300 times in a row, with one port and `tcp_tw_reuse=0`.
#[test]
fn one_port_is_taken_over_again_and_again() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let before = Counters::read().unwrap();
        for _ in 0..300 {
            to_time_wait(from_port(PORT, &listener).unwrap());
        }
        let grown = Counters::read().unwrap().since(&before);
        assert_eq!(grown.get("TcpExt", "TWRecycled"), 299);
        println!("P4: 299 takeovers, {} SYNs sent twice", grown.get("TcpExt", "TCPSynRetrans"));
    }));
}

/// P4: whom a fresh explicit bind takes the port from.
#[test]
fn port_bound_afresh_is_lost_to_automatic_connects_and_so_is_its_time_wait() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        only_port(namespace, PORT);
        let listener = TcpListener::bind(at()).unwrap();
        let other = TcpListener::bind((at().ip(), 8081)).unwrap();
        // Another destination; from the same address, and from another one.
        let is_free = || {
            let same = connect(bind_address(plain()), &other).is_ok();
            assert_eq!(TcpStream::connect(other.local_addr().unwrap()).is_ok(), same);
            same
        };
        let mine = from_port(PORT, &listener).unwrap();
        assert!(!is_free(), "an open connection");
        to_time_wait(mine);
        assert!(!is_free(), "its TIME_WAIT");
        // A range of the socket's own changes nothing.
        let error = connect(ranging(PORT, PORT), &other).expect_err("the same search");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        // Other programs that bind it themselves can, as long as all have SO_REUSEADDR.
        let (client, server) = from_port(PORT, &other).unwrap();
        // Closed by its server first, it leaves nothing behind here.
        to_time_wait((server, client));
        assert!(!is_free(), "the first one's TIME_WAIT is still there");
        let first = find(((CLIENT, PORT).into(), at())).unwrap();
        assert!(Diag::open().unwrap().destroy(&first).unwrap());
        eventually("the port is free with the last that bound it", is_free);
    }));
}

/// P4: the mark on the port does not depend on who left the TIME_WAIT (`inet_csk_update_fastreuse`).
#[test]
fn port_taken_over_from_an_automatic_time_wait_is_lost_until_its_last_binder_is_gone() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        only_port(namespace, PORT);
        let listener = TcpListener::bind(at()).unwrap();
        let others = [8081, 8082].map(|port| TcpListener::bind((at().ip(), port)).unwrap());
        let is_free = || connect(bind_address(plain()), &others[1]).is_ok();
        let _open = connect(bind_address(reusing()), &others[0]).unwrap();
        to_time_wait(connect(bind_address(reusing()), &listener).unwrap());
        let before = Counters::read().unwrap();
        let mine = from_port(PORT, &listener).unwrap();
        assert_eq!(Counters::read().unwrap().since(&before).get("TcpExt", "TWRecycled"), 1);
        assert!(!is_free(), "an open connection");
        let waiting = to_time_wait(mine);
        assert!(!is_free(), "its TIME_WAIT");
        assert!(Diag::open().unwrap().destroy(&waiting).unwrap());
        // Only the automatic one is left: Linux 6.18 takes the mark off again, older ones when the last socket is gone.
        eventually("the port is free again", is_free);
    }));
}

/// P5.
#[test]
fn time_wait_without_timestamps_is_not_taken_over() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        namespace.set("net.ipv4.tcp_timestamps", "0");
        let listener = TcpListener::bind(at()).unwrap();
        to_time_wait(from_port(PORT, &listener).unwrap());
        let socket = bind(reusing(), PORT).expect("only connect knows the destination");
        let error = connect(socket, &listener).expect_err("nothing tells the old segments from the new");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    }));
}

/// P6.
#[test]
fn bind_needs_so_reuseaddr_on_both_sockets() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let is_taken = |error: std::io::Error| error.kind() == ErrorKind::AddrInUse;
        // The old one lacks it; open, then in TIME_WAIT.
        let old = connect(bind(plain(), PORT).unwrap(), &listener).unwrap();
        assert!(is_taken(bind(reusing(), PORT).unwrap_err()));
        to_time_wait(old);
        assert!(is_taken(bind(reusing(), PORT).unwrap_err()));
        // The new one lacks it.
        to_time_wait(from_port(PORT + 1, &listener).unwrap());
        assert!(is_taken(bind(plain(), PORT + 1).unwrap_err()));
        // A program that lets the kernel choose mostly lacks it: its port is lost to us for as long.
        only_port(namespace, PORT + 2);
        let foreign = connect(bind_address(plain()), &listener).unwrap();
        assert!(is_taken(bind(reusing(), PORT + 2).unwrap_err()));
        to_time_wait(foreign);
        assert!(is_taken(bind(reusing(), PORT + 2).unwrap_err()));
    }));
}

/// P4, and why a port may be taken over only when its peer has closed too.
#[test]
fn explicit_bind_takes_over_an_orphan_and_resets_its_peer() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let (client, mut old_server) = from_port(PORT, &listener).unwrap();
        let ends = (client.local_addr().unwrap(), at());
        drop(client);
        assert_eq!(old_server.read(&mut [0]).unwrap(), 0);
        eventually("an orphan", || find(ends).is_some_and(|one| one.state() == State::FinWait2));
        let orphan = find(ends).unwrap();
        assert_eq!((orphan.inode(), orphan.timer().unwrap().kind), (0, TimerKind::TimeWait));

        let before = Counters::read().unwrap();
        let began = Instant::now();
        let (client, _server) = from_port(PORT, &listener).expect("the kernel allows it");
        let took = began.elapsed();
        let grown = Counters::read().unwrap().since(&before);
        println!("P4: connected over an orphan in {took:?}");
        assert_eq!(grown.get("TcpExt", "TWRecycled"), 1);
        // The first SYN met the old connection, which asked what that was (RFC 5961 §4); our reset ended it, and the second SYN
        // went out a few milliseconds later.
        assert!(grown.get("TcpExt", "TCPSYNChallenge") > 0 && grown.get("TcpExt", "TCPSynRetrans") > 0);
        assert_ne!(find(ends).unwrap().cookie(), orphan.cookie());
        let error = old_server.write(b"what it still had to say").expect_err("it was reset");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(client.local_addr().unwrap().port(), PORT);
    }));
}

/// P14.
#[test]
fn server_in_time_wait_accepts_the_same_port_at_once() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        for (timestamps, port) in [("1", PORT), ("0", PORT + 1)] {
            namespace.set("net.ipv4.tcp_timestamps", timestamps);
            let (client, server) = from_port(port, &listener).unwrap();
            // The server's end closes first: with the roles changed it is the same.
            let old = to_time_wait((server, client));
            assert_eq!(old.local(), at());
            let before = Counters::read().unwrap();
            let began = Instant::now();
            let (client, _server) = from_port(port, &listener).unwrap();
            println!("P14: dialled again in {:?}, timestamps {timestamps}", began.elapsed());
            let grown = Counters::read().unwrap().since(&before);
            assert_eq!((grown.get("TcpExt", "TCPSynRetrans"), grown.get("TcpExt", "TWRecycled")), (0, 0));
            let new = find((at(), client.local_addr().unwrap())).unwrap();
            assert_eq!(new.state(), State::Established);
            assert_ne!(new.cookie(), old.cookie());
        }
    }));
}
