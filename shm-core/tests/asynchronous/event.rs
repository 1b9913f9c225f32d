//! `Event::wait_async`.

use std::task::{Context, Poll, Waker};

use mp_sys::testing::{assert_woken, spawn, succeeded, tests};
use shm_core::{Event, RuntimeError};

use crate::helpers::{ByHand, both, current_thread, in_time, multi_thread, run, threads};

tests! {
    a_set_event_needs_no_runtime,
    another_process_wakes_a_task,
    a_task_wakes_another_process,
    a_task_goes_on_though_the_event_was_cleared_again,
    a_dropped_future_takes_nothing_along,
    a_thousand_tasks_need_one_thread_more,
    more_words_than_one_thread_can_watch,
}

fn a_set_event_needs_no_runtime() {
    let event = Event::new().unwrap();
    let runtime = current_thread();
    let mut cx = Context::from_waker(Waker::noop());
    let mut outside = Box::pin(event.wait_async());
    assert!(matches!(outside.as_mut().poll(&mut cx), Poll::Ready(Err(RuntimeError::NoRuntime))));
    drop(outside);
    event.set();
    assert_eq!(Box::pin(event.wait_async()).as_mut().poll(&mut cx), Poll::Ready(Ok(())));
    assert_eq!(run(&runtime, event.wait_async()), Ok(()));
    assert_eq!(threads(), 1, "nobody had to watch");
}

fn another_process_wakes_a_task() {
    for kind in [current_thread, multi_thread] {
        let (ready, go) = (Event::new().unwrap(), Event::new().unwrap());
        let child = spawn(|| {
            ready.wait();
            go.set();
        });
        let runtime = kind();
        run(&runtime, async {
            ready.set();
            go.wait_async().await.unwrap();
        });
        drop(runtime);
        succeeded(&child);
    }
    assert_woken();
}

fn a_task_wakes_another_process() {
    const ROUNDS: u32 = 500;
    let [there, back] = [(); 2].map(|()| Event::new().unwrap());
    let child = spawn(|| {
        let runtime = current_thread();
        run(&runtime, async {
            for _ in 0..ROUNDS {
                there.wait_async().await.unwrap();
                there.clear();
                back.set();
            }
        });
        assert_woken();
    });
    for _ in 0..ROUNDS {
        there.set();
        back.wait();
        back.clear();
    }
    succeeded(&child);
    assert_woken();
}

fn a_task_goes_on_though_the_event_was_cleared_again() {
    for runtime in both() {
        let event = Event::new().unwrap();
        let waiting = ByHand::new(&runtime, event.wait_async()).waits();
        event.set();
        event.clear();
        // One that comes now waits for the next time.
        let later = ByHand::new(&runtime, event.wait_async()).waits();
        assert_eq!(waiting.result(), Ok(()));
        let later = later.waits();
        event.set();
        assert_eq!(later.result(), Ok(()));
    }
}

fn a_dropped_future_takes_nothing_along() {
    for runtime in both() {
        let event = Event::new().unwrap();
        for polls in 0..4 {
            let mut dropped = ByHand::new(&runtime, event.wait_async());
            let other = ByHand::new(&runtime, event.wait_async()).waits();
            for _ in 0..polls {
                assert!(dropped.poll().is_pending());
            }
            event.set();
            if polls == 3 {
                dropped.is_woken_at_last();
            }
            drop(dropped);
            assert_eq!(other.result(), Ok(()));
            event.clear();
        }
    }
}

fn a_thousand_tasks_need_one_thread_more() {
    const TASKS: usize = 1000;
    for (runtime, own) in both().into_iter().zip([1, 3]) {
        let event = Event::new().unwrap();
        let before = threads();
        run(&runtime, async {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| {
                    let event = event.clone();
                    tokio::spawn(async move { event.wait_async().await })
                })
                .collect();
            while tokio::runtime::Handle::current().metrics().num_alive_tasks() <= TASKS {
                tokio::task::yield_now().await; // the task that ends the thread is the last one
            }
            assert!(threads() <= before.max(own) + 1, "{} threads", threads());
            event.set();
            for task in tasks {
                in_time(task).await.unwrap().unwrap();
            }
        });
    }
    assert_woken();
}

/// One thread watches 127 words, and a runtime has at most 16 such threads. The words beyond that are looked at often.
fn more_words_than_one_thread_can_watch() {
    for (count, at_most) in [(127, 1), (128, 2), (16 * 127 + 1, 16)] {
        let runtime = current_thread();
        let events: Vec<Event> = (0..count).map(|_| Event::new().unwrap()).collect();
        let waiting: Vec<_> =
            events.iter().map(|event| ByHand::new(&runtime, event.wait_async()).waits()).collect();
        assert_eq!(threads(), 1 + at_most);
        for (event, waiting) in events.iter().zip(waiting) {
            event.set();
            assert_eq!(waiting.result(), Ok(()));
        }
    }
    assert_woken();
}
