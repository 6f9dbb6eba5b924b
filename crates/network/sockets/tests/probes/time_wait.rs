//! TIME_WAIT itself: what it takes away, how long, and when there is none (P1, P2, P3, P15).

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use millstream_peers::netns::{Namespace, PORTS};
use millstream_peers::{eventually, or_skip};
use millstream_sockets::{Counters, State};

use crate::dial::time_wait_of;
use crate::shared::{at, closed, in_state, pair};

/// P1.
#[test]
fn port_in_time_wait_is_lost_for_one_destination_only() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let other = TcpListener::bind((at().ip(), 8081)).unwrap();
        for _ in PORTS.0..=PORTS.1 {
            closed(&listener);
        }
        eventually("100 in TIME_WAIT", || in_state(State::TimeWait).len() == 100);
        let error = TcpStream::connect(at()).expect_err("every port is in TIME_WAIT");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        let (client, _server) = pair(&other);
        assert!((PORTS.0..=PORTS.1).contains(&client.local_addr().unwrap().port()));
    }));
}

/// P2.
#[test]
fn time_wait_lasts_60_s_whatever_tcp_fin_timeout_says() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        namespace.set("net.ipv4.tcp_fin_timeout", "1");
        let listener = TcpListener::bind(at()).unwrap();
        let (client, mut server) = pair(&listener);
        let ends = (client.local_addr().unwrap(), at());
        drop(client);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        // It begins with the server's FIN.
        let closing = Instant::now();
        drop(server);
        let rest = time_wait_of(ends).timer().unwrap().expires;
        let gone = closing.elapsed();
        println!("P2: {rest:?} are left of TIME_WAIT {gone:?} after the last close");
        // The kernel counts in ticks, of 10 ms at most.
        let (whole, ticks) = (Duration::from_secs(60), Duration::from_millis(20));
        assert!(rest <= whole + ticks && rest + gone + ticks >= whole, "{rest:?} after {gone:?}");
    }));
}

/// P3.
#[test]
fn loopback_takes_over_time_wait_that_is_older_than_the_delay() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        namespace.set("net.ipv4.tcp_tw_reuse", "2");
        namespace.set("net.ipv4.tcp_tw_reuse_delay", "60000");
        let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).unwrap();
        let remote = TcpListener::bind(at()).unwrap();
        for _ in PORTS.0..=PORTS.1 {
            closed(&loopback);
            closed(&remote);
        }
        eventually("200 in TIME_WAIT", || in_state(State::TimeWait).len() == 200);
        let error = TcpStream::connect(loopback.local_addr().unwrap()).expect_err("all are too young");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);

        namespace.set("net.ipv4.tcp_tw_reuse_delay", "1");
        let before = Counters::read().unwrap();
        let mut conn = None;
        eventually("one of them is a millisecond old", || {
            conn = TcpStream::connect(loopback.local_addr().unwrap()).ok();
            conn.is_some()
        });
        assert_eq!(Counters::read().unwrap().since(&before).get("TcpExt", "TWRecycled"), 1);
        // 10.9.0.x is a network like any other, though it is on `lo`.
        let error = TcpStream::connect(at()).expect_err("2 is for loopback");
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        namespace.set("net.ipv4.tcp_tw_reuse", "1");
        TcpStream::connect(at()).unwrap();
    }));
}

/// P15.
#[test]
fn close_beyond_the_limit_has_no_time_wait_and_is_counted() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        namespace.set("net.ipv4.tcp_max_tw_buckets", "10");
        let listener = TcpListener::bind(at()).unwrap();
        let before = Counters::read().unwrap();
        for _ in 0..20 {
            closed(&listener);
        }
        let overflows = || Counters::read().unwrap().since(&before).get("TcpExt", "TCPTimeWaitOverflow");
        eventually("ten overflows", || overflows() >= 10);
        eventually("ten in TIME_WAIT", || in_state(State::TimeWait).len() == 10);
        assert_eq!(overflows(), 10);
    }));
}

/// P15: who closes towards peers that hold their FIN is at the limit without any TIME_WAIT.
#[test]
fn orphans_count_towards_the_limit_of_time_wait() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        namespace.set("net.ipv4.tcp_max_tw_buckets", "10");
        let listener = TcpListener::bind(at()).unwrap();
        let before = Counters::read().unwrap();
        let (clients, _servers): (Vec<_>, Vec<_>) = (0..12).map(|_| pair(&listener)).unzip();
        drop(clients);
        let overflows = || Counters::read().unwrap().since(&before).get("TcpExt", "TCPTimeWaitOverflow");
        eventually("two overflows", || overflows() >= 2);
        eventually("ten orphans", || in_state(State::FinWait2).len() == 10);
        assert_eq!((overflows(), in_state(State::TimeWait).len()), (2, 0));
    }));
}
