//! Runtimes of both kinds, and futures that are polled by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use mp_sys::testing::{PATIENCE, eventually};
use tokio::runtime::{Builder, Runtime};

/// A runtime with one thread, and one with two.
pub(crate) fn both() -> [Runtime; 2] {
    [current_thread(), multi_thread()]
}

pub(crate) fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

pub(crate) fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap()
}

/// Runs a future that must end in time.
pub(crate) fn run<T>(runtime: &Runtime, future: impl Future<Output = T>) -> T {
    runtime.block_on(async { in_time(future).await })
}

/// Waits for a future that must end in time.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the future ends in time")
}

/// Polls a future so many times at most. When it is woken once more, it is dropped without another poll.
pub(crate) async fn at_most<T>(polls: u64, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (Box::pin(future), polls);
    std::future::poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// The threads of this process.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// A future that the test polls by hand, inside a runtime.
pub(crate) struct ByHand<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    woken: Arc<Woken>,
    runtime: &'a Runtime,
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<'a, T> ByHand<'a, T> {
    pub(crate) fn new(runtime: &'a Runtime, future: impl Future<Output = T> + 'a) -> Self {
        Self { future: Box::pin(future), woken: Arc::default(), runtime }
    }

    pub(crate) fn poll(&mut self) -> Poll<T> {
        let _inside = self.runtime.enter();
        self.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls it, and checks that it waits.
    pub(crate) fn waits(mut self) -> Self {
        assert!(self.poll().is_pending(), "it waits");
        self
    }

    /// Waits until its waker is called. Nobody polls it meanwhile.
    pub(crate) fn is_woken_at_last(&self) {
        eventually("the future is woken", || self.woken.0.load(Ordering::SeqCst));
    }

    /// Polls it whenever it is woken, until it is ready.
    pub(crate) fn result(mut self) -> T {
        loop {
            if let Poll::Ready(result) = self.poll() {
                return result;
            }
            self.is_woken_at_last();
        }
    }
}
