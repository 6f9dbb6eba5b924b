//! Records made at random, and large ones.

use std::time::Instant;

use proptest::prelude::*;

use super::*;

const KINDS: [TaskKind; 6] =
    [TaskKind::Network, TaskKind::Compute, TaskKind::File, TaskKind::Timer, TaskKind::Flow, TaskKind::Other];
const ENDINGS: [Ending; 5] =
    [Ending::Done, Ending::Failed, Ending::TimedOut, Ending::Cancelled, Ending::Skipped];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[<>&\"'\\]\\[\\\\;#%a-c \n\t\r\u{0}-\u{1f}\u{fffe}\u{ffff}]{0,40}"]
}

prop_compose! {
    fn any_span()(
        name in name(), worker in name(), kind in 0..6_usize, ending in 0..5_usize,
        attempt in 1..4_u32, us in any::<[u16; 3]>(), after in proptest::collection::vec(any::<usize>(), 0..3),
    ) -> Span {
        let mut us = us.map(u64::from);
        us.sort_unstable();
        Span { attempt, ..span(&name, KINDS[kind], &worker, us, ENDINGS[ending], &after) }
    }
}

prop_compose! {
    /// Spans that depend on those before them.
    fn any_record(most: usize)(
        flow in name(), mut spans in proptest::collection::vec(any_span(), 0..most),
    ) -> Record {
        for (at, span) in spans.iter_mut().enumerate() {
            span.after = span.after.iter().filter_map(|before| before.checked_rem(at)).collect();
        }
        record(&flow, spans)
    }
}

/// All chains that end with this span, last first; with no more than what has begun.
fn chains(record: &Record, at: usize) -> Vec<Vec<usize>> {
    let mut chains: Vec<_> =
        record.spans[at].after.iter().flat_map(|before| chains(record, *before)).collect();
    chains.push(Vec::new());
    chains.iter_mut().for_each(|chain| chain.insert(0, at));
    chains
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_record_is_drawn_well_formed(record in any_record(20)) {
        for rows in [Rows::ByTask, Rows::ByWorker] {
            let svg = record.to_svg_with(rows);
            prop_assert_eq!(xml::check(&svg), Ok(()));
        }
        let table = record.to_table();
        prop_assert_eq!(table.lines().count(), record.spans.len() + 2);
        prop_assert!(!table.chars().any(|char| char.is_control() && char != '\n'));
    }

    /// Of all chains it is that whose ends are the latest, beginning with the last.
    #[test]
    fn the_critical_path_is_that_of_all_chains(mut record in any_record(9)) {
        for (at, span) in record.spans.iter_mut().enumerate() {
            // No two end at once; those that never began end before.
            let micros = span.ended.as_micros() as u64 * 10 + at as u64;
            span.ended = Duration::from_micros(micros);
            span.worker = "worker".into();
        }
        let ends = |chain: &Vec<usize>| chain.iter().map(|at| record.spans[*at].ended).collect::<Vec<_>>();
        let all = (0..record.spans.len()).flat_map(|at| chains(&record, at));
        let mut expected = all.max_by_key(ends).unwrap_or_default();
        expected.reverse();
        prop_assert_eq!(record.critical_path(), expected);
    }
}

#[test]
fn the_critical_path_goes_through_those_that_never_began() {
    let (done, skipped) = (Ending::Done, Ending::Skipped);
    let record = record(
        "skips",
        vec![
            span("slow", TaskKind::Other, "w", [0, 0, 9], done, &[]),
            span("skipped", TaskKind::Other, "", [9, 9, 9], skipped, &[0]),
            span("quick", TaskKind::Other, "w", [0, 0, 8], done, &[]),
            span("last", TaskKind::Other, "w", [9, 10, 11], done, &[2, 1]),
            span("never", TaskKind::Other, "", [11, 11, 11], skipped, &[3]),
        ],
    );
    assert_eq!(record.critical_path(), [0, 3]);
}

/// A debug build took 0.6 s for it, beside four times as much work as there were cores.
#[test]
fn ten_thousand_spans_are_drawn_small_and_soon() {
    let spans = (0..10_000).map(|number: u64| {
        let (kind, ending) = (KINDS[number as usize % 6], ENDINGS[usize::from(number % 100 == 7)]);
        let begun = number * 37 % 5_000 + number;
        let after: Vec<_> = (number as usize).checked_sub(1).into_iter().collect();
        let us = [number / 2, begun, begun + number * number % 900];
        span(&format!("task {number}"), kind, &format!("worker-{}", number % 4), us, ending, &after)
    });
    let record = record("many", spans.collect());
    let begun = Instant::now();
    let (by_task, by_worker) = (record.to_svg(), record.to_svg_with(Rows::ByWorker));
    assert_eq!(record.to_table().lines().count(), 10_002);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    for svg in [&by_task, &by_worker] {
        xml::check(svg).unwrap();
        assert!(svg.len() < 400_000, "{} bytes", svg.len());
        assert!(svg.matches("<text").count() < 500);
    }
    assert_eq!(row_names(&by_task).len(), 200);
    assert_eq!(row_names(&by_worker).len(), 4);
    assert!(by_task.contains("9800 of 10000 are left out"));
    assert!(by_worker.contains("of 10000 are left out"));
}
