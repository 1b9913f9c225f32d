//! Waits in both kinds of runtimes. `tests/process/asynchronous.rs` tests what forks do to them.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Context;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use tokio::runtime::{Builder, Runtime};

use super::*;

fn runtimes() -> [Runtime; 2] {
    let mut several = Builder::new_multi_thread();
    [
        Builder::new_current_thread().enable_all().build().unwrap(),
        several.worker_threads(2).enable_all().build().unwrap(),
    ]
}

/// A counter that can be awaited. Each `take` takes one.
struct Counter {
    file: OwnedFd,
    watched: Watched,
}

impl Counter {
    fn new() -> Self {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::SEMAPHORE;
        Self { file: eventfd(0, flags).unwrap(), watched: Watched::readable() }
    }

    fn add(&self, count: u64) {
        assert_eq!(write(&self.file, &count.to_ne_bytes()), Ok(8));
    }

    fn try_take(&self) -> Attempt<()> {
        if read(&self.file, &mut [0; 8]).is_ok() { Attempt::Done(()) } else { Attempt::Later }
    }

    async fn take(&self) -> Result<(), RuntimeError> {
        self.watched.attempt(self.file.as_fd(), || self.try_take()).await
    }
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn news_end_a_wait_in_every_kind_of_runtime() {
    let counter = Arc::new(Counter::new());
    for runtime in runtimes() {
        let waiter = Arc::clone(&counter);
        let waiter = runtime.spawn(is_send(async move { waiter.take().await }));
        counter.add(1);
        assert_eq!(runtime.block_on(waiter).unwrap(), Ok(()));
        // The same object in the next runtime, while this one still exists.
        let other = Builder::new_current_thread().enable_all().build().unwrap();
        let both = runtime.block_on(async { poll_once(pin!(counter.take())).await });
        assert!(both.is_pending());
        counter.add(1);
        assert_eq!(other.block_on(counter.take()), Ok(()));
    }
}

#[test]
fn only_a_wait_needs_a_runtime() {
    let counter = Counter::new();
    let mut context = Context::from_waker(std::task::Waker::noop());
    counter.add(1);
    assert_eq!(pin!(counter.take()).poll(&mut context), Poll::Ready(Ok(())));
    assert_eq!(pin!(counter.take()).poll(&mut context), Poll::Ready(Err(RuntimeError::NoRuntime)));
    let paused = pin!(pause(Duration::ZERO)).poll(&mut context);
    assert_eq!(paused, Poll::Ready(Err(RuntimeError::NoRuntime)));
}

#[test]
fn a_runtime_without_a_driver_is_an_error() {
    let counter = Counter::new();
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    assert_eq!(runtime.block_on(counter.take()), Err(RuntimeError::NoTime));
    assert_eq!(runtime.block_on(pause(Duration::ZERO)), Err(RuntimeError::NoTime));
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(runtime.block_on(counter.take()), Err(RuntimeError::NoIo));
    assert_eq!(runtime.block_on(pause(Duration::ZERO)), Ok(()));
}

#[test]
fn a_pause_whose_runtime_has_ended_is_an_error() {
    let hour = Duration::from_secs(3600);
    for (runtime, other) in runtimes().into_iter().zip(runtimes()) {
        let (mut first, mut second) = (Box::pin(pause(hour)), Box::pin(pause(hour)));
        for future in [&mut first, &mut second] {
            assert!(runtime.block_on(async { poll_once(future.as_mut()).await }).is_pending());
        }
        drop(runtime);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert_eq!(first.as_mut().poll(&mut context), Poll::Ready(Err(RuntimeError::ShuttingDown)));
        assert_eq!(other.block_on(second), Err(RuntimeError::ShuttingDown));
        assert_eq!(other.block_on(pause(Duration::ZERO)), Ok(()));
    }
}

#[test]
fn a_dropped_waiter_takes_nothing_from_the_others() {
    let counter = Counter::new();
    for runtime in runtimes() {
        runtime.block_on(async {
            // Dropped after each number of polls, before and after the news.
            for polls in 0..6 {
                let mut dropped = Box::pin(counter.take());
                let mut other = Box::pin(counter.take());
                let mut is_done = false;
                for poll in 0..polls {
                    if poll == 2 {
                        assert!(poll_once(other.as_mut()).await.is_pending());
                        counter.add(1);
                        // Lets the event loop look.
                        pause(CROWDED_PAUSE).await.unwrap();
                    }
                    if !is_done {
                        is_done = poll_once(dropped.as_mut()).await.is_ready();
                    }
                }
                drop(dropped);
                if is_done || polls <= 2 {
                    counter.add(1);
                }
                assert_eq!(other.await, Ok(()));
                assert_eq!(counter.try_take(), Attempt::Later, "nothing is left");
            }
        });
    }
}

#[test]
fn an_operation_without_news_is_tried_again() {
    let counter = Counter::new();
    for runtime in runtimes() {
        let mut attempts = 0;
        let operation = || {
            attempts += 1;
            if attempts < 6 { Attempt::Later } else { Attempt::Done(attempts) }
        };
        assert_eq!(runtime.block_on(counter.watched.attempt(counter.file.as_fd(), operation)), Ok(6));
        let mut attempts = 0;
        let operation = || {
            attempts += 1;
            if attempts < 4 { Attempt::Later } else { Attempt::Done(attempts) }
        };
        assert_eq!(runtime.block_on(attempt_by_timer(CROWDED_PAUSE, operation)), Ok(4));
    }
}

#[test]
fn a_taken_lock_and_an_end_leave_the_thread_to_others() {
    let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(other);
    let watched = Watched::readable();
    for outcome in [Attempt::<()>::Later, Attempt::Crowded] {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let attempts = AtomicU32::new(0);
        let never = watched.attempt(one.as_fd(), || {
            attempts.fetch_add(1, Ordering::Relaxed);
            outcome
        });
        let ended = runtime.block_on(async { tokio::time::timeout(LOOK_AGAIN * 5, never).await });
        assert!(ended.is_err());
        // One attempt in each millisecond at most, on a machine that may be slow.
        assert!((2..1000).contains(&attempts.load(Ordering::Relaxed)), "{outcome:?}: {attempts:?}");
    }
}

#[test]
fn a_registration_ends_with_its_object_and_with_its_runtime() {
    let weak = |counter: &Counter| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let registered = runtime.block_on(async { counter.watched.registered(counter.file.as_fd()) });
        (runtime, Arc::downgrade(&registered.unwrap()))
    };
    let counter = Counter::new();
    let (runtime, registered) = weak(&counter);
    assert_eq!(registered.strong_count(), 1);
    drop(runtime);
    assert_eq!(registered.strong_count(), 0, "the event loop is closed");
    let (runtime, registered) = weak(&counter);
    drop(counter);
    assert_eq!(registered.strong_count(), 0, "the descriptor is closed");
    drop(runtime);
}
