//! Which threads are a pool's or an engine's own.

use std::cell::Cell;

thread_local! {
    // Without a destructor: it answers also while the thread's other locals are dropped.
    static IS_OWN: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread is one of a pool's or an engine's own, from here to its end: it never waits for the end of such threads.
///
/// Where it drops the last handle of a [`Compute`](crate::Compute), or of an engine, their threads end by themselves. Two threads that
/// waited for each other's end would do so for ever, and so would one that waits for whoever waits for it.
pub fn mark_own_thread() {
    IS_OWN.set(true);
}

/// Was the calling thread [marked](mark_own_thread)? Threads of a pool always are.
pub fn is_own_thread() -> bool {
    IS_OWN.get()
}
