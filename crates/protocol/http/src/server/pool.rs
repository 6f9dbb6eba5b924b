//! Request heads used again and again: the steady state allocates none.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};

use super::request::Head;

/// Heads kept by a thread: more than are under way on one worker in one turn is waste.
const KEPT: usize = 64;
/// A head that grew beyond this gives its memory back.
const KEPT_BYTES: usize = 4 * 1024;

thread_local! {
    // A Vec of boxes on purpose: the box itself is what is kept.
    #[allow(clippy::vec_box)]
    static HEADS: RefCell<Vec<Box<Head>>> = const { RefCell::new(Vec::new()) };
    static IN_TURN: Cell<bool> = const { Cell::new(false) };
    /// Heads in the stock that name a connection.
    static NAMED: Cell<usize> = const { Cell::new(0) };
}

/// A head that returns to its thread's stock when dropped.
pub(crate) struct HeadBox(Option<Box<Head>>);

impl HeadBox {
    /// One from the stock, or a new one.
    #[inline]
    pub(crate) fn take() -> Self {
        let head = HEADS.with_borrow_mut(Vec::pop).unwrap_or_default();
        if head.conn.is_some() {
            NAMED.set(NAMED.get() - 1);
        }
        Self(Some(head))
    }
}

/// While it lives, heads that return to the stock still name their connection, so that the next request of a pipeline
/// need not name it again: counting a shared reference up and down costs more than parsing a field.
///
/// When the turn ends, all in the stock forget theirs: a request that is over keeps nothing of its connection alive.
pub(crate) struct Turn(());

impl Turn {
    #[inline]
    pub(crate) fn begin() -> Self {
        IN_TURN.set(true);
        Self(())
    }
}

impl Drop for Turn {
    #[inline]
    fn drop(&mut self) {
        IN_TURN.set(false);
        while NAMED.get() > 0 {
            let named =
                HEADS.with_borrow_mut(|heads| heads.iter_mut().rev().find_map(|head| head.conn.take()));
            NAMED.set(NAMED.get() - 1);
            // The last reference may run user code when it goes: outside the borrow.
            drop(named);
        }
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
        if !IN_TURN.get() {
            head.conn = None;
        }
        // When the thread ends its stock may be gone already: then the head is simply freed.
        let _ = HEADS.try_with(|heads| {
            let mut heads = heads.borrow_mut();
            if heads.len() < KEPT {
                if head.conn.is_some() {
                    NAMED.set(NAMED.get() + 1);
                }
                heads.push(head);
            }
        });
    }
}
