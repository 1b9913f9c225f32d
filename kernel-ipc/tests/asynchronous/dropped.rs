//! Futures that are dropped at each point where they wait.

use std::pin::Pin;
use std::task::{Context, Poll};

use mp_sys::testing::PATIENCE;
use tokio::runtime::{Builder, Runtime};

/// The most polls after which a test drops a future. Under load, most operations wait less often.
pub(crate) const POLLS_MAX: usize = 5;

/// Polls a future a number of times. Then, when it is woken once more, it drops the future instead, and returns `None`. So the
/// wake-up is consumed, and the future does nothing with it.
pub(crate) struct Dropped<F> {
    future: Pin<Box<F>>,
    polls_left: usize,
}

/// Drops `future` after `polls` polls.
pub(crate) fn dropped_after<F: Future>(polls: usize, future: F) -> Dropped<F> {
    Dropped { future: Box::pin(future), polls_left: polls }
}

impl<F: Future> Future for Dropped<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(left) = self.polls_left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        self.polls_left = left;
        self.future.as_mut().poll(context).map(Some)
    }
}

/// Runs `test` in a runtime with one thread, and in one with several.
pub(crate) fn in_each_runtime<F: Future<Output = ()>>(test: impl Fn() -> F) {
    // One after the other: some operations depend on the number of threads.
    for runtime in [one_thread, several_threads] {
        runtime().block_on(async { tokio::time::timeout(PATIENCE, test()).await }).expect("it ends in time");
    }
}

pub(crate) fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn several_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
