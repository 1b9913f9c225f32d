//! `acquire_async`: no permit and no wake-up is lost, wherever a future is dropped and whichever process is killed.

use std::task::Poll;

use mp_sys::testing::{
    PATIENCE, Random, assert_woken, eventually, hang, is_in_state, kill, spawn, succeeded,
    succeeded_with_work, tests,
};
use shm_core::{BoundedSemaphore, RawValue, RuntimeError, Semaphore, SemaphoreError};

use crate::helpers::{ByHand, at_most, both, current_thread, multi_thread, run};

tests! {
    a_free_permit_needs_no_runtime,
    a_permit_goes_through_awaits_and_threads,
    tasks_get_their_turns_in_order,
    all_added_permits_are_taken,
    a_dropped_future_keeps_no_permit,
    a_dropped_future_passes_its_turn_to_the_next_task,
    a_dropped_future_passes_its_turn_to_another_process,
    a_future_that_is_not_polled_keeps_nobody_waiting,
    a_killed_holder_gives_its_permit_to_a_task,
    a_killed_process_with_waiting_tasks_keeps_nothing,
    tasks_and_cancellations_in_two_processes,
}

fn a_free_permit_needs_no_runtime() {
    let seats = Semaphore::new(1).unwrap();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Ok(permit)) = Box::pin(seats.acquire_async()).as_mut().poll(&mut cx) else {
        panic!("it is free");
    };
    let outside = Box::pin(seats.acquire_async()).as_mut().poll(&mut cx);
    assert!(matches!(outside, Poll::Ready(Err(SemaphoreError::Runtime(RuntimeError::NoRuntime)))));
    drop(permit);
    assert_eq!(seats.available(), 1);
}

fn a_permit_goes_through_awaits_and_threads() {
    let seats = BoundedSemaphore::new(1).unwrap();
    let runtime = multi_thread();
    run(&runtime, async {
        let mine = seats.acquire_async().await.unwrap();
        let other = seats.clone();
        let task = tokio::spawn(async move {
            let permit = other.acquire_async().await.unwrap();
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            drop(permit);
        });
        tokio::task::yield_now().await;
        drop(mine);
        task.await.unwrap();
        seats.acquire_async().await.unwrap().forget();
    });
    assert_eq!(seats.available(), 0);
    seats.add_permits(1).unwrap();
}

fn tasks_get_their_turns_in_order() {
    for runtime in both() {
        let seats = Semaphore::new(0).unwrap();
        let mut waiting: Vec<_> =
            (0..4).map(|_| ByHand::new(&runtime, seats.acquire_async()).waits()).collect();
        while !waiting.is_empty() {
            seats.add_permits(1).unwrap();
            waiting.remove(0).result().unwrap().forget();
            waiting = waiting.into_iter().map(ByHand::waits).collect();
        }
    }
}

/// One wake-up for several permits reaches one thread, which serves several tasks.
fn all_added_permits_are_taken() {
    for runtime in both() {
        let seats = Semaphore::new(0).unwrap();
        let waiting: Vec<_> = (0..5).map(|_| ByHand::new(&runtime, seats.acquire_async()).waits()).collect();
        seats.add_permits(5).unwrap();
        let permits: Vec<_> = waiting.into_iter().map(|waiting| waiting.result().unwrap()).collect();
        assert_eq!((permits.len(), seats.available()), (5, 0));
        drop(permits);
        assert_eq!(seats.available(), 5);
    }
    assert_woken();
}

/// Drops the future after each number of polls, before and after the permit is free, woken or not.
fn a_dropped_future_keeps_no_permit() {
    for runtime in both() {
        let seats = Semaphore::new(1).unwrap();
        for polls in 0..5 {
            let permit = seats.try_acquire().unwrap();
            let mut future = ByHand::new(&runtime, seats.acquire_async());
            for _ in 0..polls {
                assert!(future.poll().is_pending());
            }
            if polls % 2 == 1 {
                drop(permit);
                if polls == 3 {
                    future.is_woken_at_last();
                }
                drop(future);
            } else {
                drop(future);
                drop(permit);
            }
            assert_eq!(seats.available(), 1);
            drop(run(&runtime, seats.acquire_async()).unwrap());
        }
    }
}

fn a_dropped_future_passes_its_turn_to_the_next_task() {
    for runtime in both() {
        let seats = Semaphore::new(1).unwrap();
        let permit = seats.try_acquire().unwrap();
        let first = ByHand::new(&runtime, seats.acquire_async()).waits();
        let second = ByHand::new(&runtime, seats.acquire_async()).waits();
        drop(permit);
        // It has been called, and will never look.
        first.is_woken_at_last();
        drop(first);
        drop(second.result().unwrap());
        assert_eq!(seats.available(), 1);
    }
    assert_woken();
}

fn a_dropped_future_passes_its_turn_to_another_process() {
    const ROUNDS: u32 = 20;
    for kind in [current_thread, multi_thread] {
        let seats = Semaphore::new(1).unwrap();
        let (step, at) = (RawValue::new(0_u32).unwrap(), |step, round| 4 * round + step);
        // The task waits first, so it is the one that is woken.
        let child = spawn(|| {
            let runtime = kind();
            for round in 0..ROUNDS {
                eventually("the permit is taken", || step.load() == at(1, round));
                let first = ByHand::new(&runtime, seats.acquire_async()).waits();
                eventually("its thread sleeps", other_threads_sleep);
                step.store(at(2, round));
                if round % 2 == 0 {
                    first.is_woken_at_last();
                } else {
                    // In most cases, its thread has been woken, but has not called it yet.
                    eventually("the permit is free", || {
                        seats.available() == 1 || step.load() == at(4, round)
                    });
                }
                drop(first);
            }
        });
        let other = spawn(|| {
            for round in 0..ROUNDS {
                eventually("the task waits", || step.load() == at(2, round));
                step.store(at(3, round));
                drop(seats.acquire());
                step.store(at(4, round));
            }
            assert_woken();
        });
        for round in 0..ROUNDS {
            let permit = seats.acquire();
            step.store(at(1, round));
            eventually("both wait", || step.load() == at(3, round));
            eventually("the other one sleeps", || is_in_state(other.id(), 'S'));
            drop(permit);
            eventually("the other one has had it", || step.load() == at(4, round));
        }
        succeeded(&child);
        succeeded(&other);
        assert_eq!(seats.available(), 1);
    }
}

/// As in a `select!`, one of whose branches waits for a permit as well.
fn a_future_that_is_not_polled_keeps_nobody_waiting() {
    for runtime in both() {
        let seats = Semaphore::new(0).unwrap();
        let first = ByHand::new(&runtime, seats.acquire_async()).waits();
        let second = ByHand::new(&runtime, seats.acquire_async()).waits();
        seats.add_permits(1).unwrap();
        drop(second.result().unwrap());
        drop(first.result().unwrap());
        assert_eq!(seats.available(), 1);
    }
}

/// Whether every thread but this one is asleep.
fn other_threads_sleep() -> bool {
    let own = mp_sys::identity::current_thread().to_string();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().file_name());
    threads
        .map(|thread| thread.into_string().unwrap())
        .filter(|thread| *thread != own)
        .all(|thread| is_in_state(format!("self/task/{thread}"), 'S'))
}

fn a_killed_holder_gives_its_permit_to_a_task() {
    for kind in [current_thread, multi_thread] {
        let seats = Semaphore::new(1).unwrap();
        let holder = spawn(|| {
            let _permit = seats.acquire();
            hang();
        });
        eventually("it holds the permit", || seats.available() == 0);
        let runtime = kind();
        let waiting = ByHand::new(&runtime, seats.acquire_async()).waits();
        kill(&holder);
        drop(waiting.result().unwrap());
        assert_eq!(seats.available(), 1);
    }
}

fn a_killed_process_with_waiting_tasks_keeps_nothing() {
    for kind in [current_thread, multi_thread] {
        let (seats, mut random) = (Semaphore::new(1).unwrap(), Random::new());
        for _ in 0..20 {
            let permit = seats.acquire();
            let waiting = RawValue::new(0_u32).unwrap();
            let child = spawn(|| {
                let runtime = kind();
                let all: Vec<_> =
                    (0..8).map(|_| ByHand::new(&runtime, seats.acquire_async()).waits()).collect();
                waiting.store(1);
                all.into_iter().for_each(|waiting| drop(waiting.result().unwrap()));
            });
            eventually("they wait", || waiting.load() == 1);
            drop(permit);
            random.pause(300_000);
            kill(&child);
            drop(seats.acquire_timeout(PATIENCE).unwrap());
            assert_eq!(seats.available(), 1);
        }
    }
}

/// In each of two processes, 32 tasks take permits 10,000 times each, and many of the waits are cancelled. Never do more
/// tasks hold a permit than there are, and all permits are there in the end.
fn tasks_and_cancellations_in_two_processes() {
    const TASKS: u64 = 32;
    const TIMES: u64 = 10_000;
    const SEATS: usize = 2;
    let seats = Semaphore::new(SEATS).unwrap();
    let (inside, got, cancelled) =
        (RawValue::new(0_usize).unwrap(), RawValue::new(0_u64).unwrap(), RawValue::new(0_u64).unwrap());
    let children: Vec<_> = [current_thread, multi_thread]
        .into_iter()
        .map(|kind| {
            spawn(|| {
                let runtime = kind();
                let tasks: Vec<_> = (0..TASKS)
                    .map(|task| {
                        let (seats, mut random) = (seats.clone(), Random::seeded(task + 1));
                        let (inside, got, cancelled) = (inside.clone(), got.clone(), cancelled.clone());
                        runtime.spawn(async move {
                            for _ in 0..TIMES {
                                let polls = 1 + random.below(4);
                                let Some(permit) = at_most(polls, seats.acquire_async()).await else {
                                    cancelled.fetch_add(1);
                                    continue;
                                };
                                let permit = permit.unwrap();
                                assert!(inside.fetch_add(1) < SEATS);
                                tokio::task::yield_now().await;
                                got.fetch_add(1);
                                inside.fetch_sub(1);
                                drop(permit);
                                if random.below(2) == 0 {
                                    tokio::task::yield_now().await;
                                }
                            }
                        })
                    })
                    .collect();
                runtime.block_on(async {
                    for task in tasks {
                        task.await.unwrap();
                    }
                });
            })
        })
        .collect();
    children.iter().for_each(succeeded_with_work);
    assert_eq!(got.load() + cancelled.load(), 2 * TASKS * TIMES);
    assert!(cancelled.load() > TIMES && got.load() > TIMES, "both happened often");
    assert_eq!((inside.load(), seats.available()), (0, SEATS));
}
