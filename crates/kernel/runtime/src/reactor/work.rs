//! What a task does, and the memory that it does it in.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// What a task does. When it is over its memory can be used for another of the same type: a worker that starts and ends
/// small tasks all the time leaves the allocator alone.
pub(super) trait Work: Future<Output = ()> {
    /// Loads both ends of it from memory.
    fn touch(&self) -> bool;

    /// Drops the future.
    fn end(self: Pin<&mut Self>);

    /// Takes in another future, an `Option<F>`, if it is of the same type; else it stays there.
    fn begin(self: Pin<&mut Self>, future: &mut dyn Any);

    /// Is it small enough to be kept when it is over?
    fn is_small(&self) -> bool;
}

pin_project! {
    #[repr(C)]
    struct Placed<F> {
        first: bool,
        #[pin]
        future: Option<F>,
        last: bool,
    }
}

/// In memory of its own.
pub(super) fn place(future: impl Future<Output = ()> + 'static) -> Pin<Box<dyn Work>> {
    Box::pin(Placed { first: true, future: Some(future), last: true })
}

impl<F: Future<Output = ()>> Future for Placed<F> {
    type Output = ();

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Nobody polls what is over; it would be over again.
        self.project().future.as_pin_mut().map_or(Poll::Ready(()), |future| future.poll(cx))
    }
}

impl<F: Future<Output = ()> + 'static> Work for Placed<F> {
    fn touch(&self) -> bool {
        self.first & self.last
    }

    fn end(self: Pin<&mut Self>) {
        self.project().future.set(None);
    }

    fn begin(self: Pin<&mut Self>, future: &mut dyn Any) {
        if let Some(future) = future.downcast_mut::<Option<F>>() {
            self.project().future.set(future.take());
        }
    }

    fn is_small(&self) -> bool {
        size_of::<Self>() <= SMALL
    }
}

/// Bytes of a task that are kept for another: enough for one that waits and does a thing. A connection's are some kilobytes.
const SMALL: usize = 256;

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::rc::Rc;

    use super::*;

    async fn holds<const SIZE: usize>(held: Rc<[u8; SIZE]>) {
        let bytes = *held;
        pending::<()>().await;
        drop((held, bytes));
    }

    #[test]
    fn memory_is_for_futures_of_the_same_type_and_small_ones() {
        let held = Rc::new([0; 8]);
        let mut work = place(holds(held.clone()));
        assert!(work.touch() && work.is_small());
        work.as_mut().end();
        assert_eq!(Rc::strong_count(&held), 1);
        let mut other = Some(ready(()));
        work.as_mut().begin(&mut other);
        assert!(other.is_some());
        let mut same = Some(holds(held.clone()));
        work.as_mut().begin(&mut same);
        assert!(same.is_none());
        assert_eq!(Rc::strong_count(&held), 2);
        drop(work);
        assert_eq!(Rc::strong_count(&held), 1);
        assert!(!place(holds(Rc::new([0; 1000]))).is_small());
    }
}
