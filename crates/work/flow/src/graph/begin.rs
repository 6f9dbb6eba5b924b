//! How a node that is a future begins.
//!
//! Most nodes of a large graph may end at once. Those are polled where their type is known: the compiler makes one function of the
//! closure, its future and the first poll.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};

use millstream_base::Result;

use super::Inputs;
use super::plan::Output;
use super::state::Outputs;
use crate::set::Begun;
use crate::task::{BoxFuture, called, contained, discard};

/// Makes a node's future. A closure that panics gives a future, or an outcome, that is an error.
pub(super) trait Begin: Send + Sync {
    /// Makes it.
    fn future(&self, outputs: &Outputs) -> BoxFuture<Result<Output>>;

    /// Makes it and polls it.
    fn begin(&self, outputs: &Outputs, cx: &mut Context<'_>) -> Begun<Output>;
}

pub(super) struct Beginning<N, M> {
    pub(super) inputs: N,
    pub(super) make: M,
}

impl<N, M, F, T> Beginning<N, M>
where
    N: Inputs,
    M: Fn(N::Values) -> F,
    F: Future<Output = Result<T>>,
    T: Send + Sync + 'static,
{
    #[inline]
    fn made(&self, outputs: &Outputs) -> Result<F> {
        called(|| (self.make)(self.inputs.values(outputs)))
    }
}

impl<N, M, F, T> Begin for Beginning<N, M>
where
    N: Inputs,
    M: Fn(N::Values) -> F + Send + Sync + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + Sync + 'static,
{
    fn future(&self, outputs: &Outputs) -> BoxFuture<Result<Output>> {
        match self.made(outputs) {
            Ok(future) => Box::pin(async { future.await.map(shared) }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn begin(&self, outputs: &Outputs, cx: &mut Context<'_>) -> Begun<Output> {
        match self.made(outputs) {
            Ok(future) => {
                let mut future = Box::pin(future);
                match contained(future.as_mut(), cx) {
                    Poll::Ready(outcome) => {
                        discard(future);
                        Begun::Ended(outcome.map(shared))
                    }
                    Poll::Pending => Begun::Pending(Box::pin(async { future.await.map(shared) })),
                }
            }
            Err(error) => Begun::Ended(Err(error)),
        }
    }
}

fn shared<T: Send + Sync + 'static>(output: T) -> Output {
    Arc::new(output)
}
