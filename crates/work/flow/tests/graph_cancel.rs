//! Dropping a graph after each of its events: nothing runs afterwards, and nothing is left.

mod kit;

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use kit::{Live, One};
use millstream_base::Result;
use millstream_flow::{Graph, GraphBuilder, Node, Retry, TaskKind, Token};
use millstream_runtime::{Engine, Queue};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Nodes may go on so often, and tell of each time.
#[derive(Clone)]
struct Gate {
    permits: Arc<Semaphore>,
    events: UnboundedSender<&'static str>,
    live: Live,
}

impl Gate {
    fn new() -> (Self, UnboundedReceiver<&'static str>) {
        let (events, told) = unbounded_channel();
        (Self { permits: Arc::new(Semaphore::new(0)), events, live: Live::default() }, told)
    }

    fn tell(&self, event: &'static str) {
        self.events.send(event).expect("the test listens");
    }

    async fn wait(&self, event: &'static str) {
        self.permits.acquire().await.expect("it stays open").forget();
        self.tell(event);
    }

    /// Is the output still wanted?
    fn block(&self, event: &'static str, token: &Token<'_>) -> bool {
        loop {
            if let Ok(permit) = self.permits.try_acquire() {
                permit.forget();
                // The permits that come after the end come after the token was set.
                if token.is_cancelled() {
                    return false;
                }
                self.tell(event);
                return true;
            }
            if token.is_cancelled() {
                return false;
            }
            std::thread::yield_now();
        }
    }
}

type Output = Arc<One>;

async fn waits(gate: Gate) -> Result<Output> {
    let one = Arc::new(gate.live.one());
    gate.wait("begins").await;
    gate.wait("ends").await;
    Ok(one)
}

fn blocks(gate: &Gate, token: &Token<'_>) -> Result<Output> {
    let one = Arc::new(gate.live.one());
    let _ = gate.block("begins", token) && gate.block("ends", token);
    Ok(one)
}

/// A diamond with a tail; every other node computes, if there is a queue. One is tried again, one has a deadline.
fn graph(gate: &Gate, queue: Option<&Queue>) -> Graph<One> {
    let mut graph = GraphBuilder::<One>::new("diamond");
    let input = graph.input();
    let mut add = |inputs: Vec<Node<Output>>, computes: bool| {
        let (gate, one, inputs) = (gate.clone(), gate.live.one(), (input, inputs));
        match queue.filter(|_| computes) {
            Some(queue) => graph.compute_with("computes", queue, inputs, move |_, token| {
                let _ = &one;
                blocks(&gate, token)
            }),
            None => graph.task("waits", TaskKind::Other, inputs, move |_| {
                let _ = &one;
                waits(gate.clone())
            }),
        }
    };
    let top = add(vec![], true);
    let (left, right, also) = (add(vec![top], true), add(vec![top], false), add(vec![top], true));
    let bottom = add(vec![left, right, also], true);
    let tail = add(vec![bottom], true);
    graph.retry(left, Retry::times(2));
    graph.deadline(tail, Duration::from_secs(3600));
    graph.build()
}

/// Each of its six nodes begins and ends.
const EVENTS: usize = 12;

async fn drop_after(events: usize, queue: Option<&Queue>) {
    let (gate, mut told) = Gate::new();
    let graph = graph(&gate, queue);
    let running = tokio::spawn(graph.run(gate.live.one()).into_future());
    drop(graph);
    for _ in 0..events {
        gate.permits.add_permits(1);
        told.recv().await.expect("one goes on");
    }
    if events == EVENTS {
        let finished = running.await.expect("no panic");
        assert_eq!(finished.errors().count(), 0);
        drop(finished);
    } else {
        running.abort();
        assert!(running.await.expect_err("it was dropped").is_cancelled());
    }
    gate.permits.add_permits(1000);
    // A computation under way sees its token soon, and the threads let go of what they have.
    while gate.live.now() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(told.try_recv().is_err(), "after {events} events another came");
    assert_eq!(Arc::strong_count(&gate.permits), 1, "nobody holds the gate any more");
}

#[test]
fn nothing_runs_after_the_drop_whenever_it_comes() {
    let engine = Engine::builder().workers(2).build().expect("an engine");
    let queue = engine.compute("nodes").expect("threads");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.expect("a runtime").block_on(async {
        for events in (0..=EVENTS).flat_map(|events| std::iter::repeat_n(events, 3)) {
            drop_after(events, None).await;
            drop_after(events, Some(&queue)).await;
        }
    });
}

#[tokio::test]
async fn run_that_was_never_polled_does_nothing() {
    let (gate, mut told) = Gate::new();
    let run = graph(&gate, None).run(gate.live.one());
    gate.permits.add_permits(1000);
    tokio::task::yield_now().await;
    drop(run);
    assert!(told.try_recv().is_err());
    assert_eq!((gate.live.now(), Arc::strong_count(&gate.permits)), (0, 1));
}

#[tokio::test]
async fn run_that_has_ended_keeps_no_waker() {
    struct Nothing;
    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    let woken = Arc::new(Nothing);
    let waker = Waker::from(woken.clone());
    let mut graph = GraphBuilder::<()>::new("one");
    let gate = Arc::new(Semaphore::new(0));
    let wanted = gate.clone();
    graph.task("waits", TaskKind::Other, (), move |()| {
        let gate = wanted.clone();
        async move {
            gate.acquire().await.expect("it stays open").forget();
            Ok(())
        }
    });
    let mut run = pin!(graph.build().run(()));
    assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    gate.add_permits(1);
    let Poll::Ready(finished) = run.as_mut().poll(&mut Context::from_waker(&waker)) else {
        panic!("its node has ended")
    };
    drop(waker);
    assert_eq!((Arc::strong_count(&woken), finished.errors().count()), (1, 0));
}
