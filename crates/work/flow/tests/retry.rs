//! Trying again: after errors, and beside a try that is late.

mod kit;

use std::future::{Future, pending};
use std::time::Duration;

use kit::{Count, Live, kind};
use millstream_base::{Error, Kind, Origin, Result};
use millstream_flow::{Hedge, Retry, Task, TaskKind};
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);

/// What one attempt does: after so many milliseconds, `Ok` or an error or a panic.
#[derive(Clone, Copy)]
enum Does {
    Gives(u64),
    Fails(u64),
    Panics(u64),
    Hangs,
}

/// What attempts do, first to last; `live` counts those under way.
fn script(live: &Live, all: &'static [Does]) -> impl FnMut(u32) -> BoxFuture + Send + 'static {
    let live = live.clone();
    move |attempt| {
        let (does, one) = (all[attempt as usize - 1], live.one());
        Box::pin(async move {
            let _one = one;
            match does {
                Does::Gives(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Ok(attempt)
                }
                Does::Fails(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    Err(Error::new(Kind::Io, Origin::Peer, format!("attempt {attempt}")))
                }
                Does::Panics(ms) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    panic!("attempt {attempt}")
                }
                Does::Hangs => pending().await,
            }
        })
    }
}

type BoxFuture = std::pin::Pin<Box<dyn Future<Output = Result<u32>> + Send>>;

use Does::{Fails, Gives, Hangs, Panics};

fn hedged(live: &Live, hedge: Hedge, all: &'static [Does]) -> Task<u32> {
    Task::hedge("hedged", TaskKind::Network, hedge, script(live, all))
}

fn retried(live: &Live, retry: Retry, all: &'static [Does]) -> Task<u32> {
    Task::retry("retried", TaskKind::Network, retry, script(live, all))
}

/// The outcome, or the error's text, and after how many milliseconds.
async fn timed(task: Task<u32>) -> (Result<u32, String>, u128) {
    let begun = Instant::now();
    let outcome = task.await.map_err(|error| error.message().to_owned());
    (outcome, begun.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn retry_gives_the_first_output_or_the_last_error() {
    let (live, retry) = (Live::default(), Retry::times(3).backoff(MS, MS));
    assert_eq!(retried(&live, retry.clone(), &[Gives(1)]).await.expect("the first"), 1);
    assert_eq!(retried(&live, retry.clone(), &[Fails(1), Fails(1), Gives(1)]).await.expect("the third"), 3);
    assert_eq!((live.made(), live.most()), (4, 1));
    let error =
        retried(&live, retry, &[Fails(1), Fails(1), Fails(1), Gives(1)]).await.expect_err("no fourth");
    assert_eq!((error.message(), live.made(), live.now()), ("attempt 3", 7, 0));
    let once = retried(&live, Retry::times(0), &[Fails(1), Gives(1)]).await;
    assert_eq!((kind(&once), live.made()), (Some(Kind::Io), 8));
}

#[tokio::test(start_paused = true)]
async fn retry_tries_again_after_a_panic_as_after_other_errors() {
    let (live, retry) = (Live::default(), Retry::times(2).backoff(MS, MS));
    assert_eq!(retried(&live, retry.clone(), &[Panics(1), Gives(1)]).await.expect("the second"), 2);
    let both = retried(&live, retry.clone(), &[Fails(1), Panics(1)]).await;
    assert_eq!(kind(&both), Some(Kind::Panic));
    let made = |attempt| {
        assert!(attempt > 1, "no future comes of the first");
        std::future::ready(Ok(attempt))
    };
    let task = Task::retry("made", TaskKind::Other, retry, made);
    assert_eq!(task.await.expect("the second"), 2);
}

#[tokio::test(start_paused = true)]
async fn retry_asks_whether_an_error_allows_it() {
    let live = Live::default();
    let asked = Count::default();
    let count = asked.clone();
    let retry = Retry::times(9).backoff(MS, MS).when(move |error| {
        count.add();
        error.message() != "attempt 2"
    });
    let all = &[Fails(1), Fails(1), Gives(1)];
    assert_eq!(timed(retried(&live, retry, all)).await.0, Err("attempt 2".to_owned()));
    assert_eq!((asked.get(), live.made()), (2, 2));
    // Unless told otherwise, a cancelling is final.
    let tries = Count::default();
    let count = tries.clone();
    let task = Task::<()>::retry("cancelled", TaskKind::Other, Retry::times(9), move |_| {
        count.add();
        async { Err(Error::new(Kind::Cancelled, Origin::Caller, "stop")) }
    });
    assert_eq!((kind(&task.await), tries.get()), (Some(Kind::Cancelled), 1));
    let task = retried(&live, Retry::times(9).when(|_| panic!("asked")), &[Fails(1)]);
    assert_eq!(kind(&task.await), Some(Kind::Panic));
}

#[tokio::test(start_paused = true)]
async fn retry_waits_no_longer_than_it_says() {
    let live = Live::default();
    let all = &[Fails(0), Fails(0), Fails(0), Fails(0), Fails(0)];
    let mut longest = 0;
    for _ in 0..200 {
        let retry = Retry::times(5).backoff(10 * MS, 40 * MS);
        let (_, took) = timed(retried(&live, retry, all)).await;
        longest = longest.max(took);
    }
    // 10 + 20 + 40 + 40, and the timer rounds each up to its millisecond. Half of it is what most have.
    assert!((56..=114).contains(&longest), "{longest} ms");
}

#[tokio::test(start_paused = true)]
async fn hedge_begins_the_second_when_the_first_is_late_and_drops_the_loser() {
    let live = Live::default();
    let hedge = Hedge::after(10 * MS);
    assert_eq!(timed(hedged(&live, hedge, &[Gives(9)])).await, (Ok(1), 9));
    assert_eq!(live.made(), 1, "no second one is needed");
    assert_eq!(timed(hedged(&live, hedge, &[Hangs, Gives(5)])).await, (Ok(2), 15));
    assert_eq!((live.now(), live.most()), (0, 2));
    assert_eq!(timed(hedged(&live, hedge, &[Gives(12), Hangs])).await, (Ok(1), 12));
    assert_eq!(live.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn failing_try_starts_the_next_at_once() {
    let live = Live::default();
    let hedge = Hedge::after(10 * MS).at_most(3);
    assert_eq!(timed(hedged(&live, hedge, &[Fails(2), Gives(2)])).await, (Ok(2), 4));
    assert_eq!(timed(hedged(&live, hedge, &[Panics(2), Gives(2)])).await, (Ok(2), 4));
    assert_eq!(timed(hedged(&live, hedge, &[Fails(0), Fails(0), Gives(1)])).await, (Ok(3), 1));
    // Also beside one that is under way.
    assert_eq!(timed(hedged(&live, hedge, &[Hangs, Fails(2), Gives(1)])).await, (Ok(3), 13));
    assert_eq!(timed(hedged(&live, hedge, &[Hangs, Panics(2), Gives(1)])).await, (Ok(3), 13));
    assert_eq!(live.now(), 0);
    let never = Hedge::after(Duration::MAX);
    assert_eq!(timed(hedged(&live, never, &[Fails(2), Gives(2)])).await, (Ok(2), 4));
    // The delay counts from the begin of the last.
    assert_eq!(timed(hedged(&live, hedge, &[Fails(5), Hangs, Gives(1)])).await, (Ok(3), 16));
}

#[tokio::test(start_paused = true)]
async fn hedge_gives_the_last_error_when_all_fail() {
    let live = Live::default();
    let text = |text: &str| Err(text.to_owned());
    let hedge = Hedge::after(10 * MS);
    assert_eq!(timed(hedged(&live, hedge, &[Fails(2), Fails(2)])).await, (text("attempt 2"), 4));
    assert_eq!(timed(hedged(&live, hedge, &[Fails(15), Fails(2)])).await, (text("attempt 1"), 15));
    assert_eq!(timed(hedged(&live, hedge.at_most(0), &[Fails(15)])).await, (text("attempt 1"), 15));
    let panicked = hedged(&live, hedge, &[Fails(1), Panics(1)]).await;
    assert_eq!((kind(&panicked), live.now()), (Some(Kind::Panic), 0));
}

#[tokio::test(start_paused = true)]
async fn no_more_tries_than_at_most() {
    for most in 1..=5 {
        let live = Live::default();
        let tries = [Hangs, Hangs, Hangs, Hangs, Hangs, Gives(0)];
        let task = hedged(&live, Hedge::after(MS).at_most(most), Box::leak(Box::new(tries)));
        assert_eq!(kind(&task.timeout(100 * MS).await), Some(Kind::Timeout));
        assert_eq!((live.made(), live.most(), live.now()), (most as usize, most as usize, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn try_that_can_not_be_made_is_one_that_failed() {
    let task = Task::hedge("made", TaskKind::Other, Hedge::after(MS).at_most(3), |attempt| {
        assert!(attempt != 2, "no future comes of the second");
        async move {
            tokio::time::sleep(if attempt == 1 { 10 * MS } else { MS }).await;
            Ok(attempt)
        }
    });
    assert_eq!(task.await.expect("the third"), 3);
}
