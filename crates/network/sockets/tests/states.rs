//! Every state, made with real sockets in a namespace of its own, and seen; filters, exact questions and ends.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::time::Duration;

use millstream_peers::netns::{CLIENT, Namespace, SERVER};
use millstream_peers::{eventually, or_skip};
use millstream_sockets::{Counters, Destroyed, Diag, Entry, Holders, Query, State, Sysctls, TimerKind};
use socket2::{Domain, Socket, Type};

#[path = "probes/shared.rs"]
mod shared;

use shared::{at, closed, dump, in_state, pair};

#[test]
fn connection_is_seen_open_half_closed_and_waiting() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let (mut client, mut server) = pair(&listener);
        client.write_all(b"hello").unwrap();
        let open = in_state(State::Established);
        assert_eq!(open.len(), 2);
        let ours = open.iter().find(|entry| entry.remote() == at()).unwrap();
        let theirs = open.iter().find(|entry| entry.local() == at()).unwrap();
        assert_eq!((ours.local(), theirs.receive_queue()), (client.local_addr().unwrap(), 5));
        assert!(ours.inode() != 0 && ours.info().unwrap().has_timestamps());
        let holder = Holders::find([ours.inode()]);
        assert_eq!(holder.of(ours.inode()).unwrap().pid, std::process::id());

        let mut byte = [0; 5];
        server.read_exact(&mut byte).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut byte).unwrap(), 0);
        let close_wait = in_state(State::CloseWait);
        assert_eq!((close_wait.len(), close_wait[0].local()), (1, at()));
        // The peer's kernel may put its ACK off.
        eventually("the FIN is acknowledged", || in_state(State::FinWait2).len() == 1);
        let [fin_wait] = in_state(State::FinWait2)[..] else { panic!("one end waits for the other's FIN") };
        assert!(fin_wait.inode() != 0, "its program has it open");

        let local = client.local_addr().unwrap();
        drop(client);
        eventually("the orphan's timer", || in_state(State::FinWait2).iter().any(|one| one.inode() == 0));
        let [orphan] = in_state(State::FinWait2)[..] else { panic!("the orphan goes on waiting") };
        assert_eq!((orphan.inode(), orphan.cookie()), (0, ours.cookie()));
        assert_eq!(orphan.timer().unwrap().kind, TimerKind::TimeWait);

        drop(server);
        eventually("TIME_WAIT", || in_state(State::TimeWait).len() == 1);
        let waiting = in_state(State::TimeWait)[0];
        assert_eq!((waiting.local(), waiting.remote(), waiting.inode()), (local, at(), 0));
        assert_eq!(waiting.cookie(), ours.cookie(), "the cookie outlives the socket");
        let rest = waiting.timer().unwrap().expires;
        // 60 s, rounded up by the timer wheel; this test takes no ten of them.
        assert!((Duration::from_secs(50)..Duration::from_secs(63)).contains(&rest), "{rest:?}");
    }));
}

#[test]
fn listener_tells_its_queue_and_what_overflows_is_counted() {
    or_skip!(Namespace::run(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&at().into()).unwrap();
        socket.listen(2).unwrap();
        let before = Counters::read().unwrap();
        let mut waiting = Vec::new();
        // One more than the backlog is let in (`sk_acceptq_is_full`); the next ones' SYNs are dropped.
        for _ in 0..3 {
            waiting.push(TcpStream::connect(at()).unwrap());
        }
        let late = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        late.set_nonblocking(true).unwrap();
        late.connect(&at().into()).expect_err("it waits");
        let queue = || Diag::open().unwrap().listener(at()).unwrap().unwrap();
        assert_eq!((queue().receive_queue(), queue().send_queue()), (3, 2));
        assert_eq!(in_state(State::SynSent).len(), 1);
        let grown = || Counters::read().unwrap().since(&before);
        eventually("the drop is counted", || grown().get("TcpExt", "ListenOverflows") > 0);
        assert_eq!(grown().get("Tcp", "ActiveOpens"), 4);
    }));
}

#[test]
fn bound_port_without_a_connection_is_listed() {
    or_skip!(Namespace::run(|_| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((CLIENT, 0)).into()).unwrap();
        let local = socket.local_addr().unwrap().as_socket().unwrap();
        let bound = in_state(State::BoundInactive);
        assert_eq!(bound.iter().map(Entry::local).collect::<Vec<_>>(), [local]);
    }));
}

#[test]
fn filters_of_the_kernel_take_what_the_whole_dump_has() {
    or_skip!(Namespace::run(|_| {
        let listeners = [8080, 8081, 8082].map(|port| TcpListener::bind((SERVER, port)).unwrap());
        let pairs: Vec<_> = (0..30).map(|n| pair(&listeners[n % 3])).collect();
        let all = dump(&Query::all());
        assert_eq!(all.len(), 3 + 2 * pairs.len());
        let some = pairs[7].0.local_addr().unwrap();
        type Wanted = Box<dyn Fn(&Entry) -> bool>;
        let queries: [(Query, Wanted); 7] = [
            (Query::all().remote_port(8081), Box::new(|one| one.remote().port() == 8081)),
            (Query::all().local_port(8081), Box::new(|one| one.local().port() == 8081)),
            (Query::all().remote(at()), Box::new(|one| one.remote() == at())),
            (Query::all().local_ip(SERVER), Box::new(|one| one.local().ip() == SERVER)),
            (Query::all().remote_ip(SERVER), Box::new(|one| one.remote().ip() == SERVER)),
            (
                Query::all().local_ports(40_000..=40_020).states([State::Established]),
                Box::new(|one| (40_000..=40_020).contains(&one.local().port())),
            ),
            (
                Query::all().local_port(some.port()).remote_ip(SERVER),
                Box::new(move |one| one.local() == some),
            ),
        ];
        for (query, wanted) in queries {
            let by_hand: Vec<_> = all.iter().filter(|one| wanted(one)).map(Entry::cookie).collect();
            let mut filtered: Vec<_> = dump(&query).iter().map(Entry::cookie).collect();
            let mut expected = by_hand;
            filtered.sort_unstable();
            expected.sort_unstable();
            assert_eq!(filtered, expected, "{query:?}");
            assert!(!expected.is_empty(), "{query:?}");
        }
        let mut seen = 0;
        let each = |_: &millstream_sockets::Record<'_>| {
            seen += 1;
            ControlFlow::Break(())
        };
        Diag::open().unwrap().dump(&Query::all(), each).unwrap();
        assert_eq!(seen, 1);
    }));
}

#[test]
fn one_socket_is_found_and_ended_and_its_port_is_free() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        namespace.set("net.ipv4.ip_local_port_range", "40000 40000");
        let listener = TcpListener::bind(at()).unwrap();
        let (local, remote) = closed(&listener);
        let mut diag = Diag::open().unwrap();
        eventually("TIME_WAIT", || {
            diag.find(local, remote).unwrap().is_some_and(|one| one.state() == State::TimeWait)
        });
        let entry = diag.find(local, remote).unwrap().unwrap();
        let error = TcpStream::connect(at()).expect_err("the only port is in TIME_WAIT");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
        assert!(diag.destroy(&entry).unwrap());
        assert!(!diag.destroy(&entry).unwrap(), "it is gone");
        assert!(diag.find(local, remote).unwrap().is_none());
        // Another connection between the same addresses is not the one that was meant.
        let (_client, _server) = pair(&listener);
        assert!(!diag.destroy(&entry).unwrap_or(false));
        let now = diag.find(local, remote).unwrap().unwrap();
        assert_eq!(now.state(), State::Established);
    }));
}

#[test]
fn ends_of_connections_are_told_as_they_come() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let mut feed = Destroyed::subscribe().unwrap();
        assert!(feed.take().unwrap().is_empty());
        let (local, remote) = closed(&listener);
        let mut ended = Vec::new();
        eventually("both ends", || {
            ended.extend(feed.take().unwrap());
            let has = |from, to| ended.iter().any(|one: &Entry| (one.local(), one.remote()) == (from, to));
            has(local, remote) && has(remote, local)
        });
        assert!(ended.iter().all(|one| one.info().is_some()));
    }));
}

#[test]
fn settings_are_those_of_the_namespace() {
    or_skip!(Namespace::run(|namespace| {
        namespace.set("net.ipv4.ip_local_reserved_ports", "40050-40099");
        namespace.set("net.ipv4.tcp_fin_timeout", "7");
        let sysctls = Sysctls::read();
        assert_eq!((sysctls.local_port_count(), sysctls.tcp_fin_timeout_s), (Some(50), Some(7)));
        assert_eq!(sysctls.tcp_tw_reuse, Some(0));
    }));
}

#[test]
fn port_that_is_taken_over_is_counted() {
    or_skip!(Namespace::run(|_| {
        let listener = TcpListener::bind(at()).unwrap();
        let reuse = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_reuse_address(true).unwrap();
            socket.bind(&SocketAddr::from((CLIENT, 40_007)).into()).unwrap();
            socket.connect(&at().into()).unwrap();
            socket
        };
        let before = Counters::read().unwrap();
        for _ in 0..2 {
            let client = reuse();
            let (mut server, _) = listener.accept().unwrap();
            drop(client);
            assert_eq!(server.read(&mut [0]).unwrap(), 0);
        }
        // An explicit port with SO_REUSEADDR on both sockets and timestamps: the second takes over the first's TIME_WAIT.
        assert_eq!(Counters::read().unwrap().since(&before).get("TcpExt", "TWRecycled"), 1);
    }));
}
