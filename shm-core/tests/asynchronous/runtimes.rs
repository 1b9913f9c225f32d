//! What becomes of waiting tasks when runtimes begin and end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

use mp_sys::testing::{eventually, tests};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shm_core::{Event, Semaphore};
use tokio::runtime::Builder;

use crate::helpers::{ByHand, both, current_thread, multi_thread, run, threads};

tests! {
    waiting_tasks_do_not_delay_the_end_of_their_runtime,
    a_future_goes_on_in_another_runtime,
    a_runtime_without_a_timer_is_enough,
    the_thread_ends_after_the_last_task,
    one_after_another,
    without_the_call_for_many_words,
    a_runtime_that_could_not_start_a_thread_once_can_wait_later,
    many_words_in_a_runtime_with_one_blocking_thread,
}

fn waiting_tasks_do_not_delay_the_end_of_their_runtime() {
    let (event, seats) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
    for kind in [current_thread, multi_thread] {
        let runtime = kind();
        for _ in 0..10 {
            let (event, seats) = (event.clone(), seats.clone());
            runtime.spawn(async move { event.wait_async().await });
            runtime.spawn(async move { seats.acquire_async().await.map(drop) });
        }
        run(&runtime, tokio::task::yield_now());
        // The test has a deadline.
        drop(runtime);
        eventually("its threads have ended", || threads() == 1);
    }
}

fn a_future_goes_on_in_another_runtime() {
    let (first, second) = (current_thread(), multi_thread());
    let (event, seats) = (Event::new().unwrap(), Semaphore::new(0).unwrap());
    let (mut waiting, mut sitting) = (Box::pin(event.wait_async()), Box::pin(seats.acquire_async()));
    let poll_both = async {
        let polled = std::future::poll_fn(|cx| {
            Poll::Ready(waiting.as_mut().poll(cx).is_pending() && sitting.as_mut().poll(cx).is_pending())
        });
        assert!(polled.await);
    };
    run(&first, poll_both);
    drop(first);
    event.set();
    seats.add_permits(1).unwrap();
    assert_eq!(run(&second, waiting), Ok(()));
    drop(run(&second, sitting).unwrap());
    assert_eq!(seats.available(), 1);
}

fn a_runtime_without_a_timer_is_enough() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let event = Event::new().unwrap();
    let waiting = ByHand::new(&runtime, event.wait_async()).waits();
    event.set();
    assert_eq!(waiting.result(), Ok(()));
}

fn the_thread_ends_after_the_last_task() {
    let runtime = Builder::new_current_thread()
        .thread_keep_alive(Duration::from_millis(1))
        .enable_time()
        .build()
        .unwrap();
    let event = Event::new().unwrap();
    for _ in 0..2 {
        drop(ByHand::new(&runtime, event.wait_async()).waits());
        assert_eq!(threads(), 2);
        eventually("the thread ends", || threads() == 1);
    }
}

/// Runtimes reuse each other's numbers.
fn one_after_another() {
    let event = Event::new().unwrap();
    for _ in 0..50 {
        for runtime in both() {
            event.clear();
            let waiting = ByHand::new(&runtime, event.wait_async()).waits();
            event.set();
            assert_eq!(waiting.result(), Ok(()));
        }
    }
}

/// As before Linux 5.16, and in sandboxes that do not know the call.
fn without_the_call_for_many_words() {
    if let Err(why) = mp_sys::testing::forbid_futex_waitv() {
        mp_sys::testing::skip(why);
    }
    for runtime in both() {
        let event = Event::new().unwrap();
        let waiting = ByHand::new(&runtime, event.wait_async()).waits();
        event.set();
        assert_eq!(waiting.result(), Ok(()));
    }
}

/// Tokio panics if the system has no room for the first blocking thread.
fn a_runtime_that_could_not_start_a_thread_once_can_wait_later() {
    // Addresses, not memory.
    const STACK: usize = 1 << 30;
    let runtime = Builder::new_current_thread().enable_time().thread_stack_size(STACK).build().unwrap();
    let event = Event::new().unwrap();
    let limit = getrlimit(Resource::As);
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').next().unwrap().parse().unwrap();
    let present = pages * rustix::param::page_size();
    let current = Some(u64::try_from(present + STACK / 2).unwrap());
    setrlimit(Resource::As, Rlimit { current, ..limit }).unwrap();
    let refused = catch_unwind(AssertUnwindSafe(|| ByHand::new(&runtime, event.wait_async()).waits()));
    setrlimit(Resource::As, limit).unwrap();
    assert!(refused.is_err(), "there was room for a thread");
    drop(refused);
    let waiting = ByHand::new(&runtime, event.wait_async()).waits();
    event.set();
    assert_eq!(waiting.result(), Ok(()));
}

/// The other threads that would watch them never begin.
fn many_words_in_a_runtime_with_one_blocking_thread() {
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = builder.worker_threads(1).max_blocking_threads(1).build().unwrap();
        let events: Vec<_> = (0..300).map(|_| Event::new().unwrap()).collect();
        let wait = |event| ByHand::new(&runtime, Event::wait_async(event)).waits();
        let waiting: Vec<_> = events.iter().map(wait).collect();
        for (event, waiting) in events.iter().zip(waiting).rev() {
            event.set();
            assert_eq!(waiting.result(), Ok(()));
        }
    }
}
