//! Request heads used again and again: the steady state allocates none.

use std::cell::RefCell;
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
}

/// A head that returns to its thread's stock when dropped.
pub(crate) struct HeadBox(Option<Box<Head>>);

impl HeadBox {
    /// One from the stock, or a new one.
    #[inline]
    pub(crate) fn take() -> Self {
        Self(Some(HEADS.with_borrow_mut(Vec::pop).unwrap_or_default()))
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
        // When the thread ends its stock may be gone already: then the head is simply freed.
        let _ = HEADS.try_with(|heads| {
            let mut heads = heads.borrow_mut();
            if heads.len() < KEPT {
                heads.push(head);
            }
        });
    }
}
