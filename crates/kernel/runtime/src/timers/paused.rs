//! Time that stands still, for tests.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use tokio::task::yield_now;

use crate::clock;

/// Moves the paused clock of this worker, or tokio runtime, on by this span. What is due by then has been woken when this
/// ends, and tasks of the worker that wait for it have had a turn.
///
/// Dropped before its end, the clock has moved all the same.
///
/// # Panics
/// Where the clock does not stand: outside an engine made with [`start_paused`](crate::EngineBuilder::start_paused).
pub async fn advance(span: Duration) {
    let mut moving = pin!(tokio::time::advance(span));
    poll_fn(|cx| {
        let poll = moving.as_mut().poll(cx);
        clock::begin_turn();
        poll
    })
    .await;
    // The wheels' drivers have run; now whom they have woken, then whom the worker's reactor has.
    yield_now().await;
    yield_now().await;
}
