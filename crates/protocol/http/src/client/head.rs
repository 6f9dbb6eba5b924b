//! Reply heads used again and again: the steady state allocates none.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use crate::codec::ResponseHead;

/// Heads kept by a thread.
const KEPT: usize = 64;
/// A head that grew beyond this gives its memory back.
const KEPT_BYTES: usize = 4 * 1024;

thread_local! {
    // A Vec of boxes on purpose: the box itself is what is kept.
    #[allow(clippy::vec_box)]
    static HEADS: RefCell<Vec<Box<ResponseHead>>> = const { RefCell::new(Vec::new()) };
}

/// A head that goes to the stock of the thread that drops it.
pub(crate) struct ReplyHead(Option<Box<ResponseHead>>);

impl ReplyHead {
    /// One from the stock, or a new one.
    #[inline]
    pub(crate) fn take() -> Self {
        Self(Some(HEADS.with_borrow_mut(Vec::pop).unwrap_or_default()))
    }
}

impl Deref for ReplyHead {
    type Target = ResponseHead;

    #[inline]
    fn deref(&self) -> &ResponseHead {
        self.0.as_ref().expect("taken only in drop")
    }
}

impl DerefMut for ReplyHead {
    #[inline]
    fn deref_mut(&mut self) -> &mut ResponseHead {
        self.0.as_mut().expect("taken only in drop")
    }
}

impl Drop for ReplyHead {
    fn drop(&mut self) {
        let Some(mut head) = self.0.take() else { return };
        head.fields.shrink(KEPT_BYTES);
        // When the thread ends its stock may be gone already: then the head is simply freed.
        let _ = HEADS.try_with(|heads| {
            let mut heads = heads.borrow_mut();
            if heads.len() < KEPT {
                heads.push(head);
            }
        });
    }
}
