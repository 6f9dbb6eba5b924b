//! A state is made, then cured in part or whole, and the report after is compared with the one before.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;

use millstream_doctor::{Comparison, Observer, Outcome, Prediction, Report, Severity};
use millstream_sockets::{Diag, Entry, Query, State};

use crate::namespace::{
    expect, inside, leave_time_wait, listen, pairs, report, set, total, until, until_time_wait,
};

/// Ends so many TIME_WAIT.
fn destroy(count: usize) {
    let mut diag = Diag::open().expect("a fresh namespace allows it");
    let mut waiting = Vec::<Entry>::new();
    let each = |record: &millstream_sockets::Record<'_>| {
        waiting.extend(Some(record.to_entry()).filter(|one| one.state() == State::TimeWait));
        ControlFlow::Continue(())
    };
    diag.dump(&Query::all(), each).expect("a fresh namespace allows it");
    for one in waiting.iter().take(count) {
        assert!(diag.destroy(one).expect("a fresh namespace allows it"), "it has not ended yet");
    }
}

/// What was written is what is compared with, as `doctor --since` does.
fn compared(before: &str, now: &Report) -> Comparison {
    let before = Report::from_json(before).expect("what was written");
    Comparison::of(&before, now).expect("both are of all endpoints")
}

fn first(of: &Comparison) -> &Prediction {
    of.diagnoses[0].predictions.first().expect("it has numbers")
}

#[test]
fn time_wait_that_is_destroyed_is_observed_and_an_endpoint_without_sockets_is_not() {
    inside(|| {
        leave_time_wait(40);
        let before = report(|_| ());
        expect(&before, 4);
        let before = before.to_json();
        destroy(36);
        until_time_wait(4);
        let now = report(|_| ());
        let all = compared(&before, &now);
        let one = first(&all);
        assert_eq!((one.predicted_percent, one.observed_percent), (Some(-100.0), Some(-90.0)), "{all:?}");
        assert_eq!((all.diagnoses[0].found, one.outcome), (Some(false), Outcome::Met), "{all:?}");
        assert!(all.to_text().contains("predicted -100 %, observed -90 % (40 -> 4;"), "{}", all.to_text());
        // Both say when they were made.
        assert!(all.elapsed_s.is_some(), "{all:?}");

        destroy(4);
        until_time_wait(0);
        let all = compared(&before, &report(|_| ()));
        assert_eq!((first(&all).outcome, first(&all).value), (Outcome::NotMeasured, None), "{all:?}");
    });
}

#[test]
fn nothing_done_is_too_early_or_not_as_predicted_by_the_clock() {
    inside(|| {
        leave_time_wait(40);
        let mut before = report(|_| ());
        let now = report(|_| ());
        assert_eq!(first(&compared(&before.to_json(), &now)).outcome, Outcome::TooEarly);
        before.made_at = before.made_at.map(|at| at - 60);
        let all = compared(&before.to_json(), &now);
        assert_eq!((all.diagnoses[0].found, first(&all).outcome), (Some(true), Outcome::Missed), "{all:?}");
    });
}

#[test]
fn setting_that_was_changed_is_told_with_what_came_of_it() {
    inside(|| {
        let (listener, to) = listen();
        let (clients, mut servers) = pairs(&listener, to, 20);
        drop(clients);
        until(|sample| total(sample, |states| states.fin_wait_2_orphan) == 20);
        let before = report(|_| ());
        expect(&before, 9);
        let change = before.changes().pop().expect("one setting acts on it");
        assert_eq!((change.name.as_str(), change.within_s), ("net.ipv4.tcp_fin_timeout", 60));
        set("net/ipv4/tcp_fin_timeout", &change.proposed);
        // The timers of these run on for a minute: the peer's end comes sooner.
        servers.truncate(5);
        until(|sample| total(sample, |states| states.fin_wait_2_orphan) == 5);
        let all = compared(&before.to_json(), &report(|_| ()));
        assert_eq!(
            all.summary(),
            [
                "net.ipv4.tcp_fin_timeout: 60 -> 15",
                "FIN_WAIT_2 without an owner: predicted -75 %, observed -75 % (20 -> 5; 5 expected in 60 s): as predicted"
            ]
        );
    });
}

/// A connection from a port that `connect` chooses, which the client closes first.
fn come_and_go(listener: &TcpListener, to: SocketAddr) -> std::io::Result<()> {
    let client = TcpStream::connect(to)?;
    let (server, _) = listener.accept()?;
    drop(client);
    drop(server);
    Ok(())
}

/// Why no such connection can be had.
fn refused(listener: &TcpListener, to: SocketAddr) -> ErrorKind {
    come_and_go(listener, to).expect_err("no port is left").kind()
}

/// All ports in TIME_WAIT, which `connect` had chosen.
fn full() -> (TcpListener, SocketAddr) {
    let (listener, to) = listen();
    (0..100).for_each(|_| come_and_go(&listener, to).expect("a port is free"));
    until_time_wait(100);
    assert_eq!(refused(&listener, to), ErrorKind::AddrNotAvailable);
    (listener, to)
}

#[test]
fn ports_that_connect_takes_over_are_no_longer_missing() {
    inside(|| {
        let (listener, to) = full();
        let before = report(|_| ());
        expect(&before, 1);
        assert_eq!((before.diagnoses[0].severity, before.endpoints[0].takeable), (Severity::Critical, None));

        set("net/ipv4/tcp_tw_reuse", "1");
        until(|sample| sample.endpoints.iter().any(|one| one.rested == Some(100)));
        let quiet = report(|_| ());
        expect(&quiet, 1);
        assert_eq!(
            (quiet.diagnoses[0].severity, quiet.endpoints[0].takeable),
            (Severity::Warning, Some(100))
        );

        let mut observer = Observer::new().unwrap();
        for _ in 0..3 {
            observer.sample().unwrap();
            (0..5).for_each(|_| come_and_go(&listener, to).expect("it takes a port over"));
        }
        let now = Report::of(&observer.observation());
        assert_eq!(now.diagnoses, [], "{}", now.to_text());
        assert_eq!((now.endpoints[0].used, now.endpoints[0].seconds_to_exhaustion), (100, None));
        let since = compared(&before.to_json(), &now);
        assert_eq!(since.diagnoses[0].found, Some(false), "{}", since.to_text());
    });
}

#[test]
fn ports_without_timestamps_stay_missing_whatever_the_setting() {
    inside(|| {
        set("net/ipv4/tcp_tw_reuse", "1");
        set("net/ipv4/tcp_timestamps", "0");
        let (listener, to) = full();
        until(|sample| sample.endpoints.iter().any(|one| one.rested == Some(100)));
        assert_eq!(refused(&listener, to), ErrorKind::AddrNotAvailable);
        let report = report(|_| ());
        expect(&report, 1);
        assert_eq!((report.diagnoses[0].severity, report.endpoints[0].takeable), (Severity::Critical, None));
    });
}
