//! The end of a TIME_WAIT, backlogs, who closes first, and what a dump costs (P9, P16, P17, P18).

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use millstream_peers::netns::{CLIENT, Namespace};
use millstream_peers::{eventually, or_skip};
use millstream_sockets::{Diag, Query, State, Sysctls};

use crate::dial::{bind, plain, reusing};
use crate::shared::{at, closed, dump, in_state, pair};

/// P9.
#[test]
fn destroyed_time_wait_frees_its_port_at_once() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        for _ in 0..100 {
            closed(&listener);
        }
        eventually("100 in TIME_WAIT", || in_state(State::TimeWait).len() == 100);
        let one = in_state(State::TimeWait)[37];
        assert!(Diag::open().unwrap().destroy(&one).unwrap());
        assert_eq!(in_state(State::TimeWait).len(), 99);
        let (client, _server) = pair(&listener);
        assert_eq!(client.local_addr().unwrap(), one.local());
    }));
}

/// P9: why who asks for one connection looks at the state of what is found.
#[test]
fn lookup_of_a_connection_that_is_gone_finds_the_listener() {
    or_skip!(Namespace::run(|_| {
        let listener = TcpListener::bind(at()).unwrap();
        let nobody = SocketAddr::from((CLIENT, 40_000));
        let mut diag = Diag::open().unwrap();
        let found = diag.find(at(), nobody).unwrap().unwrap();
        assert_eq!((found.state(), found.local(), found.remote().port()), (State::Listen, at(), 0));
        drop(listener);
        assert!(diag.find(at(), nobody).unwrap().is_none());
    }));
}

/// P16.
#[test]
fn backlog_is_what_listen_was_told_up_to_somaxconn() {
    or_skip!(Namespace::run(|namespace| {
        let backlog = |address| Diag::open().unwrap().listener(address).unwrap().unwrap().send_queue();
        let _std = TcpListener::bind(at()).unwrap();
        assert_eq!(backlog(at()), 128);
        let somaxconn = Sysctls::read().somaxconn.unwrap();
        assert_eq!(somaxconn, 4096);
        let own = reusing();
        let address = SocketAddr::from((at().ip(), 8081));
        own.bind(&address.into()).unwrap();
        for (wanted, given) in [(4096, 4096), (65_535, 4096), (-1, 4096), (5, 5)] {
            // A listener may change its mind.
            own.listen(wanted).unwrap();
            assert_eq!(backlog(address), given, "{wanted}");
        }
        namespace.set("net.core.somaxconn", "1");
        own.listen(65_535).unwrap();
        assert_eq!(backlog(address), 1);
    }));
}

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";

/// Answers one request on each of `count` connections and closes.
fn serve(listener: &TcpListener, count: usize) {
    for _ in 0..count {
        let (mut conn, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut part = [0; 256];
            let size = conn.read(&mut part).unwrap();
            request.extend_from_slice(&part[..size]);
        }
        conn.write_all(REPLY).unwrap();
    }
}

/// Has `close` end 50 connections whose reply it has read; how many TIME_WAIT are on the client's side, and on the server's.
fn sides(namespace: &Namespace, close: impl Fn(TcpStream)) -> (usize, usize) {
    namespace.keep_time_wait();
    let listener = TcpListener::bind(at()).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, 50));
        // A port of its own each: a port that comes again takes over the server's TIME_WAIT.
        for port in (40_000..).take(50) {
            let socket = bind(plain(), port).unwrap();
            socket.connect(&at().into()).unwrap();
            let mut conn = TcpStream::from(socket);
            conn.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut reply = [0; REPLY.len()];
            conn.read_exact(&mut reply).unwrap();
            close(conn);
        }
    });
    let open = [
        State::Established,
        State::FinWait1,
        State::FinWait2,
        State::Closing,
        State::CloseWait,
        State::LastAck,
    ];
    eventually("all are closed", || dump(&Query::all().states(open)).is_empty());
    let waiting = in_state(State::TimeWait);
    let at_server = waiting.iter().filter(|one| one.local() == at()).count();
    (waiting.len() - at_server, at_server)
}

/// P17.
#[test]
fn client_that_waits_for_the_fin_leaves_time_wait_to_the_server() {
    or_skip!(Namespace::run(|namespace| {
        let (client, server) = sides(namespace, |mut conn| assert_eq!(conn.read(&mut [0]).unwrap(), 0));
        assert_eq!((client, server), (0, 50));
    }));
}

/// P17.
#[test]
fn client_that_closes_at_once_races_the_server() {
    or_skip!(Namespace::run(|namespace| {
        let (client, server) = sides(namespace, drop);
        println!("P17: of 50, {client} TIME_WAIT at the client, {server} at the server");
        // Whoever wins; both, when the FINs cross.
        assert!((50..=100).contains(&(client + server)), "{client} and {server}");
    }));
}

/// P18: the bound is that of a machine that does much else.
#[test]
fn dump_of_thousands_in_time_wait_takes_milliseconds() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        namespace.set("net.ipv4.ip_local_port_range", "20000 39999");
        let listeners = [8080, 8081].map(|port| TcpListener::bind((at().ip(), port)).unwrap());
        for n in 0..10_000 {
            closed(&listeners[n % 2]);
        }
        let query = Query::all().states([State::TimeWait]).remote_port(8081);
        eventually("5,000 in TIME_WAIT", || dump(&query).len() == 5_000);
        let timed = |what: &str, work: &mut dyn FnMut() -> usize| {
            let mut spans = [Duration::ZERO; 5].map(|_| {
                let began = Instant::now();
                let count = work();
                (began.elapsed(), count)
            });
            spans.sort_unstable();
            println!("P18: {what}: {} sockets in {:?}, the median of five", spans[2].1, spans[2].0);
            assert!(spans[0].0 < Duration::from_secs(5), "{spans:?}");
        };
        timed("one destination of two", &mut || dump(&query).len());
        timed("all", &mut || dump(&Query::all()).len());
        timed("none of them", &mut || dump(&Query::all().states([State::CloseWait])).len());
        let ends: BTreeSet<_> = dump(&query).iter().map(|one| (one.local(), one.remote())).collect();
        let mut diag = Diag::open().unwrap();
        timed("5,000 lookups", &mut || {
            ends.iter().filter(|(local, remote)| diag.find(*local, *remote).unwrap().is_some()).count()
        });
    }));
}
