//! One task for each item of a stream: waiting for items, how far ahead they are asked for, and what ends it.

mod kit;

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use kit::{Count, Live, kind};
use millstream_base::{Error, Kind, Result};
use millstream_flow::Each;
use tokio::sync::mpsc::{Receiver, channel};

/// Not to be received.
const BAD: u32 = 113;

/// What is received, and how many were asked for.
struct Received(Receiver<u32>, Count);

impl Stream for Received {
    type Item = u32;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        let polled = self.0.poll_recv(cx);
        if let Poll::Ready(Some(item)) = polled {
            assert_ne!(item, BAD, "a bad item");
            self.1.add();
        }
        polled
    }
}

#[tokio::test]
async fn items_that_come_late_are_waited_for() {
    for is_ordered in [false, true] {
        let (sender, receiver) = channel(1);
        let each = Each::of_stream(Received(receiver, Count::default())).at_most(3);
        let each = if is_ordered { each.in_order() } else { each };
        let mut outputs = each.run(|item| async move {
            tokio::task::yield_now().await;
            Ok(item)
        });
        let sends = tokio::spawn(async move {
            for item in 0..50 {
                sender.send(item).await.expect("somebody receives");
                // Now and then all that were sent have ended before the next comes.
                for _ in 0..item % 5 {
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut all = Vec::new();
        while let Some(output) = outputs.next().await {
            all.push(output.expect("no error"));
        }
        assert!(outputs.next().await.is_none());
        sends.await.expect("no panic");
        assert!(!is_ordered || all.is_sorted());
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn stream_is_asked_for_no_more_than_there_is_room_for() {
    let (sender, receiver) = channel(100);
    (0..100).for_each(|item| sender.try_send(item).expect("there is room"));
    drop(sender);
    let (live, asked) = (Live::default(), Count::default());
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (all, open) = (live.clone(), gate.clone());
    let mut outputs = Each::of_stream(Received(receiver, asked.clone())).at_most(4).run(move |item| {
        let (one, open) = (all.one(), open.clone());
        async move {
            open.acquire().await.expect("it stays open").forget();
            drop(one);
            Ok(item)
        }
    });
    for ended in 0..100 {
        let waits =
            tokio::select! { biased; _ = outputs.next() => false, () = std::future::ready(()) => true };
        assert!(waits, "nothing has ended");
        assert_eq!((asked.get(), live.now()), ((ended + 4).min(100), (100 - ended).min(4)));
        gate.add_permits(1);
        assert!(outputs.next().await.expect("there are more").is_ok());
    }
    assert!(outputs.next().await.is_none());
}

#[tokio::test]
async fn stream_that_panics_is_an_outcome_and_ends_them() {
    let (sender, receiver) = channel(100);
    (BAD - 2..BAD + 7).for_each(|item| sender.try_send(item).expect("there is room"));
    let mut outputs =
        Each::of_stream(Received(receiver, Count::default())).in_order().run(async |item| Ok(item));
    assert_eq!(
        (outputs.next().await.map(Result::ok), outputs.next().await.map(Result::ok)),
        (Some(Some(BAD - 2)), Some(Some(BAD - 1)))
    );
    assert_eq!(outputs.next().await.as_ref().map(kind), Some(Some(Kind::Panic)));
    assert!(outputs.next().await.is_none());
    assert_eq!(
        sender.try_send(0),
        Err(tokio::sync::mpsc::error::TrySendError::Closed(0)),
        "the stream is gone"
    );
}

#[tokio::test]
async fn outputs_of_one_are_the_stream_of_the_next() {
    let live = Live::default();
    let all = live.clone();
    let first = Each::of(0..100_u32).at_most(3).run(move |item| {
        let one = all.one();
        async move {
            tokio::task::yield_now().await;
            drop(one);
            if item == 50 { Err(Error::invalid("fifty")) } else { Ok(item) }
        }
    });
    let second = Each::of_stream(first).at_most(2).run(|item: Result<u32>| async move {
        tokio::task::yield_now().await;
        item
    });
    let error = second.collect().await;
    assert_eq!((kind(&error), live.now()), (Some(Kind::Invalid), 0));
    assert!(live.most() <= 3);
}
