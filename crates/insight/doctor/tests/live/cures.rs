//! A state is made, then cured in part or whole, and the report after is compared with the one before.

use std::ops::ControlFlow;

use millstream_doctor::{Comparison, Outcome, Prediction, Report};
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
