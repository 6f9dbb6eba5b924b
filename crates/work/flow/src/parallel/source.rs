//! Where the items of an [`Each`](super::Each) come from.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

/// An iterator ([`Each::of`](super::Each::of)) or a stream ([`Each::of_stream`](super::Each::of_stream)).
pub trait Source {
    /// One of them.
    type Item;

    /// The next; `None` at the end. It is not asked again after that.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Self::Item>>;
}

/// Items that are there.
#[derive(Debug)]
pub struct Iterated<I>(pub(super) I);

/// Items that come.
#[derive(Debug)]
pub struct Streamed<S>(pub(super) S);

impl<I: Iterator> Source for Iterated<I> {
    type Item = I::Item;

    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

impl<S: Stream + Unpin> Source for Streamed<S> {
    type Item = S::Item;

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.0).poll_next(cx)
    }
}
