//! Whose a TIME_WAIT is: cookies, and the feed of sockets that end (P7, P8, P13).

use std::io::Read;
use std::net::TcpListener;

use millstream_peers::netns::Namespace;
use millstream_peers::{eventually, or_skip};
use millstream_sockets::{Destroyed, Diag, Entry, State, TimerKind};
use rustix::thread::{Uid, set_thread_res_uid};
use socket2::SockRef;

use crate::dial::{Ends, find, time_wait_of, to_time_wait};
use crate::shared::{at, pair};

/// The feed, and everything it has told.
struct Told {
    feed: Destroyed,
    entries: Vec<Entry>,
}

impl Told {
    fn subscribe() -> Self {
        Self { feed: Destroyed::subscribe().unwrap(), entries: Vec::new() }
    }

    /// How often it has told of a socket with this cookie.
    fn count(&mut self, cookie: u64) -> usize {
        self.entries.extend(self.feed.take().unwrap());
        self.entries.iter().filter(|entry| entry.cookie() == cookie).count()
    }

    fn wait_for(&mut self, cookie: u64) -> Entry {
        eventually("the end is told", || self.count(cookie) > 0);
        *self.entries.iter().find(|entry| entry.cookie() == cookie).unwrap()
    }

    /// Ends a few other connections and waits until they are told: what was to be told before them has been.
    fn catch_up(&mut self, listener: &TcpListener) {
        for _ in 0..3 {
            let (client, server) = pair(listener);
            let cookie = SockRef::from(&server).cookie().unwrap();
            to_time_wait((client, server));
            self.wait_for(cookie);
        }
    }
}

/// P7.
#[test]
fn cookie_outlives_the_socket() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let (client, server) = pair(&listener);
        let cookie = SockRef::from(&client).cookie().unwrap();
        let waiting = to_time_wait((client, server));
        assert_eq!((waiting.cookie(), waiting.inode(), waiting.uid()), (cookie, 0, 0));
    }));
}

/// P8.
#[test]
fn orphan_has_its_cookie_the_state_fin_wait_2_and_the_timer_of_time_wait() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        namespace.set("net.ipv4.tcp_fin_timeout", "30");
        let listener = TcpListener::bind(at()).unwrap();
        let (client, mut server) = pair(&listener);
        let cookie = SockRef::from(&client).cookie().unwrap();
        let ends = (client.local_addr().unwrap(), at());
        drop(client);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        eventually("an orphan", || find(ends).is_some_and(|one| one.state() == State::FinWait2));
        let orphan = find(ends).unwrap();
        let timer = orphan.timer().unwrap();
        assert_eq!((orphan.cookie(), orphan.inode(), timer.kind), (cookie, 0, TimerKind::TimeWait));
        assert!(timer.expires.as_secs() <= 30, "{timer:?}: tcp_fin_timeout");
        // The FIN starts the whole 60 s.
        drop(server);
        let waiting = time_wait_of(ends);
        assert_eq!(waiting.cookie(), cookie);
        assert!(waiting.timer().unwrap().expires.as_secs() > 30, "{waiting:?}");
    }));
}

/// P13: to whom, and with what.
#[test]
fn anybody_is_told_of_ends_with_their_last_info() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let subscribe = || {
            let nobody = Uid::from_raw(65_534);
            // Of this thread alone; its capabilities go with it. A user namespace may not have such a user.
            if let Err(errno) = set_thread_res_uid(nobody, nobody, nobody) {
                println!("P13: subscribed with all rights: {errno}");
            }
            Told::subscribe()
        };
        let mut told = std::thread::scope(|scope| scope.spawn(subscribe).join().unwrap());
        let (client, server) = pair(&listener);
        let cookies = [&client, &server].map(|stream| SockRef::from(stream).cookie().unwrap());
        to_time_wait((client, server));
        for cookie in cookies {
            assert!(told.wait_for(cookie).info().is_some());
        }
    }));
}

/// P13: when.
#[test]
fn end_is_told_before_time_wait_begins_and_its_own_end_is_not() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let mut told = Told::subscribe();
        let (client, mut server) = pair(&listener);
        let cookie = SockRef::from(&client).cookie().unwrap();
        let ends: Ends = (client.local_addr().unwrap(), at());
        drop(client);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        // The peer still holds its FIN: the socket has ended, the mini-socket has taken its place.
        let end = told.wait_for(cookie);
        assert_eq!(find(ends).unwrap().state(), State::FinWait2);
        assert!(end.info().is_some());
        drop(server);
        let waiting = time_wait_of(ends);
        assert!(Diag::open().unwrap().destroy(&waiting).unwrap());
        assert!(find(ends).is_none());
        told.catch_up(&listener);
        assert_eq!(told.count(cookie), 1);
    }));
}

/// P13: of a socket that somebody destroys.
#[test]
fn destroyed_socket_is_told_of_when_its_program_closes_it() {
    or_skip!(Namespace::run(|namespace| {
        namespace.keep_time_wait();
        let listener = TcpListener::bind(at()).unwrap();
        let mut told = Told::subscribe();
        let (client, _server) = pair(&listener);
        let cookie = SockRef::from(&client).cookie().unwrap();
        let entry = find((client.local_addr().unwrap(), at())).unwrap();
        assert!(Diag::open().unwrap().destroy(&entry).unwrap());
        assert!(find((entry.local(), entry.remote())).is_none());
        told.catch_up(&listener);
        assert_eq!(told.count(cookie), 0, "its program has it open");
        drop(client);
        told.wait_for(cookie);
        // Nothing waits: it went with a reset.
        assert!(find((entry.local(), entry.remote())).is_none());
    }));
}
