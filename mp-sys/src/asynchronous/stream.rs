//! Streams: an operation of a task, repeated.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

/// A stream of the outcomes of futures that `make` makes, one after the other. A future that returns `None` ends it.
struct Repeated<M, F> {
    make: M,
    /// The current future. Its place is used again for the next one. `None` before the first.
    future: Option<Pin<Box<F>>>,
    state: State,
}

/// What the future in the place is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is ready, or there is none.
    Ready,
    /// It was polled, and is not ready yet.
    Waiting,
    /// It was the last one.
    Ended,
}

/// Makes such a stream. If it is dropped, so is its current future.
pub fn repeated<M, F, T>(make: M) -> impl Stream<Item = T>
where
    M: FnMut() -> F + Unpin,
    F: Future<Output = Option<T>>,
{
    Repeated { make, future: None, state: State::Ready }
}

impl<M, F, T> Stream for Repeated<M, F>
where
    M: FnMut() -> F + Unpin,
    F: Future<Output = Option<T>>,
{
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = self.get_mut();
        let future = match (&mut this.future, this.state) {
            (_, State::Ended) => return Poll::Ready(None),
            (Some(future), State::Waiting) => future,
            (Some(future), State::Ready) => {
                future.set((this.make)());
                future
            }
            (none, _) => none.insert(Box::pin((this.make)())),
        };
        let outcome = future.as_mut().poll(context);
        this.state = match outcome {
            Poll::Pending => State::Waiting,
            Poll::Ready(Some(_)) => State::Ready,
            Poll::Ready(None) => State::Ended,
        };
        outcome
    }
}
