//! Request heads used again and again: the steady state allocates none.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::request::{ConnInfo, Head};

/// Heads kept by a thread: more than are under way on one worker in one turn is waste.
const KEPT: usize = 64;
/// A head that grew beyond this gives its memory back.
const KEPT_BYTES: usize = 4 * 1024;

thread_local! {
    /// The head that was used last: one is enough for handlers that answer at once.
    static LAST: Cell<Option<Box<Head>>> = const { Cell::new(None) };
    // A Vec of boxes on purpose: the box itself is what is kept.
    #[allow(clippy::vec_box)]
    static MORE: RefCell<Vec<Box<Head>>> = const { RefCell::new(Vec::new()) };
    /// A connection is being served, and wants back what it lends to its requests.
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
    /// What the head dropped last had on loan.
    static RETURNED: Cell<Option<Arc<ConnInfo>>> = const { Cell::new(None) };
}

/// A head that returns to its thread's stock when dropped.
pub(crate) struct HeadBox(Option<Box<Head>>);

impl HeadBox {
    /// One from the stock, or a new one.
    #[inline]
    pub(crate) fn take() -> Self {
        Self(Some(LAST.take().unwrap_or_else(Self::another)))
    }

    #[cold]
    fn another() -> Box<Head> {
        MORE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }
}

/// While it lives, a head that is dropped leaves what it knows of its connection to [`Turn::returned`]. So the connection
/// lends that to one request after the other: counting a shared reference up and down costs more than parsing a field.
pub(crate) struct Turn(());

impl Turn {
    #[inline]
    pub(crate) fn begin() -> Self {
        IN_TURN.set(true);
        Self(())
    }

    /// What the head dropped last had on loan. It may be another connection's.
    #[inline]
    pub(crate) fn returned(&self) -> Option<Arc<ConnInfo>> {
        RETURNED.take()
    }
}

impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        IN_TURN.set(false);
        drop(RETURNED.take());
    }
}

impl Deref for HeadBox {
    type Target = Head;

    #[inline]
    fn deref(&self) -> &Head {
        self.0.as_ref().expect("taken only in drop")
    }
}

impl DerefMut for HeadBox {
    #[inline]
    fn deref_mut(&mut self) -> &mut Head {
        self.0.as_mut().expect("taken only in drop")
    }
}

impl Drop for HeadBox {
    #[inline]
    fn drop(&mut self) {
        let Some(mut head) = self.0.take() else { return };
        head.reset(KEPT_BYTES);
        if let Some(conn) = head.conn.take() {
            give_back(conn);
        }
        // When the thread ends its stock may be gone already: then the head is simply freed.
        if let Ok(Some(other)) = LAST.try_with(|last| last.replace(Some(head))) {
            keep(other);
        }
    }
}

#[inline]
fn give_back(conn: Arc<ConnInfo>) {
    if IN_TURN.get() {
        // The one before goes now; it may be the last reference, which runs user code: nothing is borrowed.
        drop(RETURNED.try_with(|returned| returned.replace(Some(conn))));
    }
}

#[cold]
fn keep(head: Box<Head>) {
    let _ = MORE.try_with(|more| {
        let mut more = more.borrow_mut();
        if more.len() < KEPT {
            more.push(head);
        }
    });
}
