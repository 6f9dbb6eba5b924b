//! One task for each item: how many at once, in which order, how far ahead, and what ends it.

mod kit;

use std::future::pending;
use std::time::Duration;

use kit::{Count, Live, failure, kind};
use millstream_base::{Error, Kind, Result};
use millstream_flow::{Each, Task};
use millstream_runtime::Engine;

const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn never_more_at_once_than_at_most_and_as_many_as_that() {
    for most in [1, 2, 7, 16, 300] {
        for is_ordered in [false, true] {
            let live = Live::default();
            let each = Each::of(0..200_u32).at_most(most);
            let each = if is_ordered { each.in_order() } else { each };
            let all = live.clone();
            let outputs = each.run(move |item| {
                let one = all.one();
                async move {
                    tokio::time::sleep((item * 7 % 13) * MS).await;
                    drop(one);
                    Ok(item)
                }
            });
            let mut outputs = outputs.collect().await.expect("no error");
            assert_eq!(live.most(), most.min(200));
            if !is_ordered {
                outputs.sort_unstable();
            }
            assert_eq!(outputs, (0..200).collect::<Vec<_>>());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn unless_told_otherwise_sixteen_at_once() {
    let live = Live::default();
    let all = live.clone();
    let each = Each::of(0..100).run(move |_| {
        let one = all.one();
        async move {
            tokio::time::sleep(MS).await;
            drop(one);
            Ok(())
        }
    });
    assert_eq!((each.count().await.expect("no error"), live.most()), (100, 16));
}

#[tokio::test(start_paused = true)]
async fn in_order_begins_nothing_too_far_ahead_of_the_oldest() {
    let begun = Count::default();
    let count = begun.clone();
    let mut outputs = Each::of(0..100_u32).at_most(10).in_order().run(move |item| {
        count.add();
        async move {
            tokio::time::sleep(if item == 0 { 1000 * MS } else { MS }).await;
            Ok(item)
        }
    });
    // The first is slow: the nine after it have ended long before, and nothing else has begun.
    let waited = tokio::time::timeout(500 * MS, outputs.next()).await;
    assert!(waited.is_err() && begun.get() == 10, "{}", begun.get());
    for expected in 0..100 {
        let output = outputs.next().await.expect("there are more").expect("no error");
        assert_eq!(output, expected);
        assert!(begun.get() <= expected as usize + 11);
    }
    assert!(outputs.next().await.is_none() && outputs.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn first_error_ends_collecting_and_drops_what_runs() {
    let (live, begun) = (Live::default(), Count::default());
    let (all, count) = (live.clone(), begun.clone());
    let outputs = Each::of(0..1000_u32).at_most(8).run(move |item| {
        let one = all.one();
        count.add();
        async move {
            tokio::time::sleep(if item == 20 { MS / 2 } else { MS }).await;
            drop(one);
            if item == 20 { Err(failure("no")) } else { Ok(item) }
        }
    });
    assert_eq!(kind(&outputs.collect().await), Some(Kind::Io));
    assert_eq!(live.now(), 0);
    assert!(begun.get() <= 20 + 8, "{}", begun.get());
    let outputs =
        Each::of(0..10).run(|item| async move { if item == 3 { Err(failure("no")) } else { Ok(()) } });
    assert_eq!(kind(&outputs.count().await), Some(Kind::Io));
}

#[tokio::test(start_paused = true)]
async fn outputs_go_on_after_an_error_when_asked_one_by_one() {
    for is_ordered in [false, true] {
        let each = Each::of(0..100_u32).at_most(8);
        let each = if is_ordered { each.in_order() } else { each };
        let mut outputs = each.run(|item| async move {
            tokio::time::sleep((item % 5) * MS).await;
            match item % 10 {
                3 => Err(failure("no")),
                7 => panic!("boom"),
                _ => Ok(item),
            }
        });
        let mut kinds = [0; 3];
        while let Some(outcome) = outputs.next().await {
            let at = match kind(&outcome) {
                None => 0,
                Some(Kind::Panic) => 1,
                Some(_) => 2,
            };
            kinds[at] += 1;
        }
        assert_eq!(kinds, [80, 10, 10]);
    }
}

#[tokio::test(start_paused = true)]
async fn item_whose_future_can_not_be_made_is_one_that_failed() {
    for is_ordered in [false, true] {
        let each = Each::of(0..10_u32).at_most(2);
        let each = if is_ordered { each.in_order() } else { each };
        let mut outputs = each.run(|item| {
            assert!(item != 4, "boom");
            async move { Ok(item) }
        });
        let mut outcomes = Vec::new();
        while let Some(outcome) = outputs.next().await {
            outcomes.push(outcome.map_err(|error| error.kind()));
        }
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 9, "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(Kind::Panic)).count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn iterator_that_panics_ends_the_items_with_an_error() {
    for is_ordered in [false, true] {
        let live = Live::default();
        let items = (0..10_u32).inspect(|item| assert!(*item != 4, "boom"));
        let each = Each::of(items).at_most(3);
        let each = if is_ordered { each.in_order() } else { each };
        let all = live.clone();
        let mut outputs = each.run(move |item| {
            let one = all.one();
            async move {
                tokio::time::sleep(MS).await;
                drop(one);
                Ok(item)
            }
        });
        let mut outcomes = Vec::new();
        while let Some(outcome) = outputs.next().await {
            outcomes.push(outcome.map_err(|error| error.kind()));
        }
        let mut given: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
        given.sort_unstable();
        assert_eq!(given, [&0, &1, &2, &3]);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(Kind::Panic)).count(), 1);
        assert_eq!((live.made(), live.now()), (4, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_unasked_and_dropping_drops_what_runs() {
    let live = Live::default();
    let all = live.clone();
    let mut outputs = Each::of(0..100).at_most(5).run(move |item| {
        let one = all.one();
        async move {
            if item % 2 == 0 {
                pending::<()>().await;
            }
            drop(one);
            Ok(item)
        }
    });
    tokio::task::yield_now().await;
    assert_eq!(live.made(), 0);
    let first = outputs.next().await.expect("one of the odd").expect("no error");
    assert_eq!(first, 1);
    // Dropping the future loses nothing.
    for expected in [3, 5, 7] {
        let waited = tokio::time::timeout(MS, outputs.next()).await;
        assert!(matches!(waited, Ok(Some(Ok(output))) if output == expected), "{waited:?}");
    }
    assert!(tokio::time::timeout(MS, outputs.next()).await.is_err());
    assert!(tokio::time::timeout(MS, outputs.next()).await.is_err());
    assert_eq!(live.now(), 5);
    drop(outputs);
    assert_eq!(live.now(), 0);
}

#[test]
fn items_may_be_computed_on_a_queue() {
    let engine = Engine::builder().workers(2).build().expect("an engine");
    let queue = engine.compute("items").expect("threads");
    let sum = engine.run(async move |_| {
        let live = Live::default();
        let all = live.clone();
        let each = Each::of(0..20_000_u64).at_most(50).in_order().run(|item| {
            let all = all.clone();
            Task::compute("item", &queue, move || {
                let _one = all.one();
                Ok(item * 2)
            })
        });
        let outputs = each.collect().await?;
        assert!(outputs.iter().enumerate().all(|(at, output)| at as u64 * 2 == *output));
        assert!((1..=50).contains(&live.most()), "{}", live.most());
        Ok::<u64, Error>(outputs.iter().sum())
    });
    assert_eq!(sum.and_then(|sum: Result<u64>| sum).expect("no error"), 399_980_000);
}
