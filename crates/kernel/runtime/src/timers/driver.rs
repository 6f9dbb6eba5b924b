//! What moves a wheel: sleeps until its next tick, has it look, sleeps again.

use std::pin::pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Calls `visit` with the present moment, and again at the moment that it gives, or when its waker is woken. `None` is no
/// moment. Runs for as long as the worker.
pub(crate) async fn drive(mut visit: impl FnMut(Instant, &mut Context<'_>) -> Option<Instant>) {
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    let mut target = None;
    std::future::poll_fn(|cx| {
        loop {
            let next = visit(crate::now(), cx);
            let Some(moment) = next else { return Poll::<()>::Pending };
            if next != target {
                target = next;
                sleep.as_mut().reset(moment.into());
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            target = None;
        }
    })
    .await;
}
