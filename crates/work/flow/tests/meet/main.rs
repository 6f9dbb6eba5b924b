//! What tasks meet at: any sequence of steps against models, names, and storms of threads.

mod counter;
mod message_queue;
mod names;
mod resource_pool;
mod storm;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use millstream_flow::{
    Candidate, Counter, Guard, Held, Lent, Mailbox, MessageQueue, Names, ResourcePool, Selector, Sender,
};

/// A future that owns what it waits at.
type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Polls once; the tests poll again by themselves.
fn poll<T>(future: &mut Waiting<T>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn all_may_be_used_from_any_thread() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<Counter>();
    is_send_and_sync::<(Mailbox<u8>, Sender<u8>)>();
    is_send_and_sync::<(Selector<u8>, Candidate<u8>)>();
    is_send_and_sync::<(Guard, Held)>();
    is_send_and_sync::<(ResourcePool<u8>, Lent<u8>)>();
    is_send_and_sync::<MessageQueue<u8>>();
    is_send_and_sync::<Names>();
    // What is sent need not be `Sync`.
    is_send_and_sync::<(Mailbox<std::cell::Cell<u8>>, MessageQueue<std::cell::Cell<u8>>)>();
    is_send_and_sync::<ResourcePool<std::cell::Cell<u8>>>();
}
