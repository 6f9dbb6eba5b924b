//! Many threads at once, with tasks that are cancelled anywhere; each storm is as long as its counts say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use millstream_flow::{Counter, Guard, Mailbox, MessageQueue, Names, ResourcePool, Task, TaskKind};
use tokio::task::{JoinHandle, yield_now};

/// A poster and its message's number.
type Message = (usize, u32);

const POSTERS: usize = 4;
const EACH: u32 = 1_500;

fn spawn_posters(queue: &MessageQueue<Message>) -> Vec<JoinHandle<()>> {
    let spawn = |poster| {
        let queue = queue.clone();
        tokio::spawn(async move {
            for number in 0..EACH {
                queue.post((poster, number)).await.expect("open");
            }
        })
    };
    (0..POSTERS).map(spawn).collect()
}

/// What they get until the end.
fn spawn_getters(queue: &MessageQueue<Message>) -> Vec<JoinHandle<Vec<Message>>> {
    let spawn = |_| {
        let queue = queue.clone();
        tokio::spawn(async move {
            let mut all = Vec::new();
            while let Some(message) = queue.get().await {
                all.push(message);
            }
            all
        })
    };
    (0..4).map(spawn).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_getter_has_the_messages_of_a_poster_in_order() {
    let queue = MessageQueue::new(3);
    let (posters, getters) = (spawn_posters(&queue), spawn_getters(&queue));
    for poster in posters {
        poster.await.expect("no panic");
    }
    queue.close();
    let mut count = 0;
    for getter in getters {
        let messages = getter.await.expect("no panic");
        count += messages.len();
        for poster in 0..POSTERS {
            assert!(messages.iter().filter(|message| message.0 == poster).is_sorted());
        }
    }
    assert_eq!(count, POSTERS * EACH as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_message_comes_once_though_getters_give_up() {
    let queue = MessageQueue::new(3);
    let (posters, getters) = (spawn_posters(&queue), spawn_getters(&queue));
    let quitter = queue.clone();
    let quitter = tokio::spawn(async move {
        let mut all = Vec::new();
        while !quitter.is_closed() {
            tokio::select! {
                biased;
                message = quitter.get() => all.extend(message),
                () = yield_now() => {}
            }
        }
        all
    });
    for poster in posters {
        poster.await.expect("no panic");
    }
    queue.close();
    let mut all = quitter.await.expect("no panic");
    for getter in getters {
        all.extend(getter.await.expect("no panic"));
    }
    all.sort_unstable();
    let expected = (0..POSTERS).flat_map(|poster| (0..EACH).map(move |number| (poster, number)));
    assert!(all.into_iter().eq(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guard_and_pool_keep_their_limits_though_tasks_are_cancelled() {
    let (guard, pool) = (Guard::new(), ResourcePool::new(0..3));
    let (inside, using) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = Vec::new();
    for number in 0..600 {
        let inside = inside.clone();
        let exclusive = guard.around(Task::new("exclusive", TaskKind::Other, within(inside, 1)));
        let using = using.clone();
        let lent = pool.lend_task("lent", move |lent| async move {
            within(using, 3).await?;
            drop(lent);
            Ok(())
        });
        for task in [exclusive, lent] {
            let task = tokio::spawn(task);
            if number % 3 == 0 {
                yield_now().await;
                task.abort();
            }
            tasks.push(task);
        }
    }
    for task in tasks {
        match task.await {
            Ok(outcome) => outcome.expect("it works"),
            Err(error) => assert!(error.is_cancelled(), "{error}"),
        }
    }
    assert!(guard.try_lock().is_some());
    assert_eq!((pool.size(), pool.free()), (3, 3));
}

/// Stays for a few turns, never with more than `most`.
async fn within(count: Arc<AtomicUsize>, most: usize) -> millstream_base::Result<()> {
    struct Leaves(Arc<AtomicUsize>);
    impl Drop for Leaves {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    assert!(count.fetch_add(1, SeqCst) < most);
    let leaves = Leaves(count);
    for _ in 0..3 {
        yield_now().await;
    }
    drop(leaves);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_count_is_taken_or_told() {
    let counter = Counter::new(5_000);
    let surplus = Arc::new(AtomicU64::new(0));
    let waiters: Vec<_> = (0..50).map(|_| tokio::spawn(counter.wait_task("wait"))).collect();
    let counters = (0..4).map(|_| {
        let (counter, surplus) = (counter.clone(), surplus.clone());
        tokio::spawn(async move {
            for _ in 0..1_000 {
                surplus.fetch_add(counter.count_by(2), SeqCst);
                yield_now().await;
            }
        })
    });
    for task in counters.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
    for waiter in waiters {
        waiter.await.expect("no panic").expect("reached");
    }
    assert_eq!((counter.left(), surplus.load(SeqCst)), (0, 3_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn messages_by_name_reach_as_many_as_was_told() {
    const NAMES: usize = 3;
    let names = Names::new();
    let senders_left = Arc::new(AtomicUsize::new(2));
    let receivers = (0..4).map(|number| {
        let (names, senders_left) = (names.clone(), senders_left.clone());
        tokio::spawn(async move {
            let mut count = 0;
            let name = format!("name {}", number % NAMES);
            while senders_left.load(SeqCst) > 0 {
                let mut mailbox: Mailbox<u32> = names.mailbox(&name).expect("of one type");
                // Gives up after a few turns; a message that came by then is in the mailbox.
                for _ in 0..3 {
                    yield_now().await;
                }
                let received = tokio::select! {
                    biased;
                    received = mailbox.receive() => Some(received.expect("names stay")),
                    () = yield_now() => None,
                };
                count += usize::from(received.or_else(|| mailbox.into_message()).is_some());
            }
            count
        })
    });
    let receivers: Vec<_> = receivers.collect();
    let senders = (0..2).map(|_| {
        let (names, senders_left) = (names.clone(), senders_left.clone());
        tokio::spawn(async move {
            let mut count = 0;
            for number in 0..3_000_u32 {
                let name = format!("name {}", number as usize % NAMES);
                count += names.send_at_most(2, &name, number).unwrap_or(0);
                yield_now().await;
            }
            senders_left.fetch_sub(1, SeqCst);
            count
        })
    });
    let (mut sent, mut received) = (0, 0);
    for sender in senders.collect::<Vec<_>>() {
        sent += sender.await.expect("no panic");
    }
    for receiver in receivers {
        received += receiver.await.expect("no panic");
    }
    assert_eq!(sent, received);
    assert!(names.is_empty());
}
