//! Happy eyeballs (RFC 8305): several addresses are tried one after another, the next before the last has failed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::Addr;

/// How a race ended.
pub(crate) enum Race<T, S, E> {
    /// This target answered first.
    Won(T, S),
    /// None answered; the last error.
    Lost(Option<E>),
}

/// Tries `targets` in order. The next one starts when all before it failed, or when `delay` passed without an answer.
/// The first answer wins; the attempts still under way are dropped with the future.
pub(crate) async fn race<T, S, E, F>(
    targets: impl IntoIterator<Item = T>,
    delay: Duration,
    connect: impl Fn(&T) -> F,
) -> Race<T, S, E>
where
    F: Future<Output = Result<S, E>>,
{
    let mut rest: VecDeque<T> = targets.into_iter().collect();
    let mut running = Vec::new();
    let mut last = None;
    loop {
        if let Some(target) = rest.pop_front() {
            let attempt = Box::pin(connect(&target));
            running.push((target, attempt));
        }
        if running.is_empty() {
            return Race::Lost(last);
        }
        let patience = if rest.is_empty() { Duration::MAX } else { delay };
        match tokio::time::timeout(patience, first_done(&mut running)).await {
            Ok((target, Ok(stream))) => return Race::Won(target, stream),
            Ok((_, Err(error))) => last = Some(error),
            Err(_elapsed) => {}
        }
    }
}

/// Waits for whichever attempt is done first, and takes it out.
async fn first_done<T, F: Future>(running: &mut Vec<(T, Pin<Box<F>>)>) -> (T, F::Output) {
    let poll = |cx: &mut Context<'_>| {
        for index in 0..running.len() {
            if let Poll::Ready(output) = running[index].1.as_mut().poll(cx) {
                return Poll::Ready((running.remove(index).0, output));
            }
        }
        Poll::Pending
    };
    pin!(poll_fn(poll)).await
}

/// The order in which to try addresses: families take turns, beginning with that of the first (RFC 8305 §4).
pub(crate) fn interleave(targets: &[Addr]) -> Vec<&Addr> {
    let is_v6 = |target: &&Addr| target.as_tcp().is_some_and(|address| address.is_ipv6());
    let Some(first) = targets.first() else { return Vec::new() };
    let (mut odd, mut even): (VecDeque<_>, VecDeque<_>) =
        targets.iter().partition(|target| is_v6(target) == is_v6(&first));
    let mut order = Vec::with_capacity(targets.len());
    while !odd.is_empty() || !even.is_empty() {
        order.extend(odd.pop_front());
        order.extend(even.pop_front());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::future::pending;
    use tokio::time::{Instant, sleep};

    /// What an address does in these tests.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Host {
        Answers(u64),
        Refuses(u64),
        Silent,
    }

    const DELAY: Duration = Duration::from_millis(250);

    /// Runs a race in paused time: who won, after how long, and when each attempt started.
    async fn run(hosts: &[Host]) -> (Option<usize>, u64, Vec<u64>) {
        let start = Instant::now();
        let starts = RefCell::new(Vec::new());
        let millis = || u64::try_from(start.elapsed().as_millis()).unwrap();
        let connect = |target: &(usize, Host)| {
            starts.borrow_mut().push(millis());
            let host = target.1;
            async move {
                match host {
                    Host::Answers(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Ok(())
                    }
                    Host::Refuses(after) => {
                        sleep(Duration::from_millis(after)).await;
                        Err(())
                    }
                    Host::Silent => pending().await,
                }
            }
        };
        let won = match race(hosts.iter().copied().enumerate(), DELAY, connect).await {
            Race::Won((index, _), ()) => Some(index),
            Race::Lost(_) => None,
        };
        let took = millis();
        (won, took, starts.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn quick_first_address_is_the_only_one_tried() {
        assert_eq!(run(&[Host::Answers(249), Host::Answers(0)]).await, (Some(0), 249, vec![0]));
    }

    #[tokio::test(start_paused = true)]
    async fn black_hole_costs_one_delay() {
        assert_eq!(run(&[Host::Silent, Host::Answers(10)]).await, (Some(1), 260, vec![0, 250]));
        assert_eq!(
            run(&[Host::Silent, Host::Silent, Host::Answers(10)]).await,
            (Some(2), 510, vec![0, 250, 500])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_starts_the_next_at_once() {
        assert_eq!(run(&[Host::Refuses(5), Host::Answers(10)]).await, (Some(1), 15, vec![0, 5]));
        assert_eq!(
            run(&[Host::Refuses(5), Host::Refuses(5), Host::Answers(1)]).await,
            (Some(2), 11, vec![0, 5, 10])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn slow_first_address_may_still_win() {
        assert_eq!(run(&[Host::Answers(300), Host::Answers(200)]).await, (Some(0), 300, vec![0, 250]));
        assert_eq!(run(&[Host::Answers(300), Host::Refuses(10)]).await, (Some(0), 300, vec![0, 250]));
    }

    #[tokio::test(start_paused = true)]
    async fn all_refusing_lose_with_the_last_error() {
        assert_eq!(run(&[Host::Refuses(5), Host::Refuses(5)]).await, (None, 10, vec![0, 5]));
        assert_eq!(run(&[]).await, (None, 0, vec![]));
    }

    #[test]
    fn families_take_turns() {
        let addr = |text: &str| Addr::Tcp(text.parse().unwrap());
        let targets: Vec<Addr> =
            ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].into_iter().map(addr).collect();
        let order: Vec<String> = interleave(&targets).iter().map(ToString::to_string).collect();
        assert_eq!(order, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
    }
}
