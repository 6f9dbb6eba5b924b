//! What a private range changes in a budget, on a clock of the test's own.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use millstream_peers::netns::{CLIENT, Namespace, SERVER};
use millstream_peers::or_skip;
use millstream_ports::{BudgetSnapshot, Choice, Left, Level, Ports};

fn at() -> SocketAddr {
    (SERVER, 8080).into()
}

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A connection gets a port of the private range.
fn take(ports: &Ports, now: Instant) -> Option<u16> {
    let Choice::Take(held) = ports.choose(Some(CLIENT), at(), false, now) else { return None };
    let port = held.port();
    held.keep().unwrap();
    Some(port)
}

fn close(ports: &Ports, port: u16, left: Left, now: Instant) {
    ports.towards(at())[0].closed(port, left, now);
}

fn budget(ports: &Ports, now: Instant) -> BudgetSnapshot {
    ports.towards(at())[0].snapshot(now)
}

#[test]
fn levels_are_those_of_both_ranges() {
    or_skip!(Namespace::run(|_| {
        let (ports, now) = (Ports::default(), Instant::now());
        ports.set_private_range(Some(41_000..=41_099)).unwrap();
        assert_eq!(ports.rank(&[CLIENT], at(), now), [CLIENT]);
        assert_eq!(
            (budget(&ports, now).ports, budget(&ports, now).free, ports.room([at()], now)),
            (200, 200, 140)
        );
        let up: Vec<_> =
            (0..100).map(|_| take(&ports, now).map(|port| (port, budget(&ports, now).level))).collect();
        assert_eq!((up[0], up[88]), (Some((41_000, Level::Calm)), Some((41_088, Level::Calm))));
        assert_eq!((up[89], up[99]), (Some((41_089, Level::Careful)), Some((41_099, Level::Careful))));
        assert_eq!((take(&ports, now), budget(&ports, now).free), (None, 100));
        // The kernel's search begins to get long by its own range: nothing else is taken over until then.
        let one = ports.towards(at())[0].clone();
        (40_000..40_090).for_each(|port| one.opened(port, now));
        assert_eq!((budget(&ports, now).level, budget(&ports, now).free), (Level::Critical, 10));
        (41_000..41_100).for_each(|port| close(&ports, port, Left::Waiting, now));
        let young = budget(&ports, now + s(0.9));
        assert_eq!((young.open, young.time_wait, young.free), (90, 100, 10));
        let ready = budget(&ports, now + s(1.0));
        assert_eq!((ready.time_wait, ready.free, ports.takeable([at()], now + s(1.0))), (100, 110, 100));
        assert_eq!((budget(&ports, now + s(60.0)).time_wait, budget(&ports, now + s(60.0)).free), (0, 110));
    }));
}

/// Four connections a second, all closed by us at once.
fn churn(ports: &Ports, start: Instant, seconds: f64) -> Instant {
    let mut now = start;
    while now < start + s(seconds) {
        now += s(0.25);
        let port = take(ports, now).unwrap();
        close(ports, port, Left::Waiting, now);
    }
    now
}

#[test]
fn forecast_has_the_private_range_in_it() {
    or_skip!(Namespace::run(|_| {
        let ports = Ports::default();
        ports.set_private_range(Some(41_000..=41_099)).unwrap();
        ports.set_takeover(None);
        let now = churn(&ports, Instant::now(), 20.0);
        let told = budget(&ports, now);
        assert!((told.per_second - 4.0).abs() < 0.1 && told.free == 120, "{told:?}");
        // 120 are left, at four a second.
        assert!(told.exhausted_in.is_some_and(|span| (span.as_secs_f64() - 30.0).abs() < 1.0), "{told:?}");
        // Where TIME_WAIT is taken over after a second, four ports are enough for ever.
        ports.set_takeover(Some(s(1.0)));
        let told = budget(&ports, now);
        assert!(told.exhausted_in.is_none() && told.free >= 195, "{told:?}");
    }));
}

#[test]
fn ports_whose_peers_close_are_not_used_up() {
    or_skip!(Namespace::run(|_| {
        let (ports, start) = (Ports::default(), Instant::now());
        ports.set_private_range(Some(41_000..=41_099)).unwrap();
        for number in 0..500 {
            let now = start + s(f64::from(number) * 0.02);
            let port = take(&ports, now).unwrap();
            close(&ports, port, Left::Free, now);
        }
        // They rest for a second: fifty of them.
        let told = budget(&ports, start + s(499.0 * 0.02));
        assert_eq!((told.time_wait, told.level, told.exhausted_in), (0, Level::Calm, None), "{told:?}");
        assert!((149..=151).contains(&told.free) && told.per_second < 1.0, "{told:?}");
    }));
}

#[test]
fn kernels_list_ends_time_wait_and_knows_no_foreign_ports_in_the_range() {
    or_skip!(Namespace::run(|_| {
        let (ports, now) = (Ports::default(), Instant::now());
        ports.set_private_range(Some(41_000..=41_099)).unwrap();
        let listener = TcpListener::bind(at()).unwrap();
        let elses = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        elses.bind(&SocketAddr::new(CLIENT, 41_050).into()).unwrap();
        elses.connect(&at().into()).unwrap();
        for _ in 0..10 {
            let port = take(&ports, now).unwrap();
            close(&ports, port, Left::Waiting, now);
        }
        let later = now + s(5.0);
        assert_eq!((budget(&ports, later).time_wait, budget(&ports, later).foreign), (10, 0));
        ports.look(later).unwrap();
        let mended = budget(&ports, later);
        assert_eq!((mended.time_wait, mended.foreign, mended.free), (0, 0, 200), "{mended:?}");
        drop(listener);
    }));
}

#[test]
fn range_can_be_changed_while_its_ports_are_open() {
    or_skip!(Namespace::run(|_| {
        let (ports, now) = (Ports::default(), Instant::now());
        ports.set_private_range(Some(41_000..=41_003)).unwrap();
        (0..4).for_each(|_| assert!(take(&ports, now).is_some()));
        ports.set_private_range(Some(41_002..=41_005)).unwrap();
        let counts = |now| (budget(&ports, now).ports, budget(&ports, now).private, budget(&ports, now).open);
        assert_eq!(counts(now), (104, 4, 4));
        assert_eq!(
            (take(&ports, now), take(&ports, now), take(&ports, now)),
            (Some(41_004), Some(41_005), None)
        );
        ports.set_private_range(None).unwrap();
        assert_eq!(counts(now), (100, 0, 6));
        (41_000..=41_005).for_each(|port| close(&ports, port, Left::Free, now));
        assert_eq!(counts(now), (100, 0, 0));
    }));
}
