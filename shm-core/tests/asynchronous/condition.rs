//! `wait_until_async`: no notification is lost, wherever a future is dropped and whichever process is killed.

use std::sync::Arc;

use mp_sys::testing::{
    Random, assert_woken, eventually, hang, kill, spawn, succeeded, succeeded_with_work, tests,
};
use shm_core::sync::WAITERS_MAX;
use shm_core::{Array, Condition, Event, Lock, LockError, RLock, RawValue, RuntimeError, Value, WaitError};
use tokio::runtime::Runtime;

use crate::helpers::{ByHand, at_most, both, current_thread, in_time, multi_thread, run, threads};

tests! {
    what_holds_already_needs_no_runtime,
    every_kind_of_object_can_be_checked,
    another_process_notifies_a_task,
    tasks_are_chosen_in_order,
    a_dropped_future_leaves_no_waiter_behind,
    a_dropped_future_passes_its_notification_to_a_task,
    a_dropped_future_passes_its_notification_to_another_process,
    as_many_tasks_as_there_are_places,
    a_taken_lock_does_not_block_the_runtime,
    a_reentrant_lock_is_not_taken_from_another_task,
    a_notification_of_a_killed_process_reaches_a_task,
    what_a_killed_process_should_have_done_is_found,
    poison_reaches_a_task,
    a_panic_in_the_closure_leaves_no_waiter_behind,
    tasks_and_cancellations_around_a_queue_of_one,
}

/// Takes one, if there is one.
fn take(stock: &mut u32) -> Option<u32> {
    *stock = stock.checked_sub(1)?;
    Some(*stock)
}

fn what_holds_already_needs_no_runtime() {
    let (stock, delivered) = (Value::new(1_u32).unwrap(), Condition::new().unwrap());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut poll = || Box::pin(delivered.wait_until_async(&stock, take)).as_mut().poll(&mut cx);
    assert!(matches!(poll(), std::task::Poll::Ready(Ok(0))));
    assert!(matches!(poll(), std::task::Poll::Ready(Err(WaitError::Runtime(RuntimeError::NoRuntime)))));
    assert_eq!(delivered.n_waiting(), 0);
}

fn every_kind_of_object_can_be_checked() {
    let runtime = current_thread();
    let condition = Condition::new().unwrap();
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    let (value, array) = (Value::new(7_u8).unwrap(), Array::from_slice(&[1_u16, 2]).unwrap());
    run(&runtime, async {
        assert_eq!(condition.wait_until_async(&lock, |()| Some(1)).await, Ok(1));
        assert_eq!(condition.wait_until_async(&rlock, |()| Some(2)).await, Ok(2));
        assert_eq!(condition.wait_until_async(&value, |value| Some(*value)).await, Ok(7));
        assert_eq!(condition.wait_until_async(&array, |array| array.last().copied()).await, Ok(2));
    });
}

fn another_process_notifies_a_task() {
    for kind in [current_thread, multi_thread] {
        let (stock, delivered) = (Value::new(0_u32).unwrap(), Condition::new().unwrap());
        let child = spawn(|| {
            eventually("a task waits", || delivered.n_waiting() == 1);
            let mut guard = stock.lock().unwrap(); // or a task that looks for the dead would find the stock by itself
            *guard += 2;
            assert_eq!(delivered.notify(1), 1);
            drop(guard);
        });
        let runtime = kind();
        assert_eq!(run(&runtime, delivered.wait_until_async(&stock, take)), Ok(1));
        assert_eq!(delivered.n_waiting(), 0);
        drop(runtime);
        succeeded(&child);
    }
    assert_woken();
}

fn tasks_are_chosen_in_order() {
    for runtime in both() {
        let (stock, delivered) = (Value::new(0_u32).unwrap(), Condition::new().unwrap());
        let wait = || ByHand::new(&runtime, delivered.wait_until_async(&stock, take)).waits();
        for waiting in (0..4).map(|_| wait()).collect::<Vec<_>>() {
            stock.set(1).unwrap();
            assert_eq!(delivered.notify(1), 1);
            assert_eq!(waiting.result(), Ok(0));
        }
        assert_eq!(delivered.notify(1), 0);
    }
}

/// Drops the future after each number of polls, before and after its notification, woken or not.
fn a_dropped_future_leaves_no_waiter_behind() {
    for runtime in both() {
        let (stock, delivered) = (Value::new(0_u32).unwrap(), Condition::new().unwrap());
        for polls in 0..5 {
            for is_notified in [false, true] {
                let mut future = ByHand::new(&runtime, delivered.wait_until_async(&stock, take));
                for _ in 0..polls {
                    assert!(future.poll().is_pending());
                }
                assert_eq!(delivered.n_waiting(), usize::from(polls > 0));
                if is_notified {
                    assert_eq!(delivered.notify(1), usize::from(polls > 0));
                }
                if is_notified && polls > 0 && polls % 2 == 0 {
                    future.is_woken_at_last();
                    // Nothing is there, so it waits again, at a place of its own.
                    assert!(future.poll().is_pending());
                    assert_eq!(delivered.n_waiting(), 1);
                }
                drop(future);
                assert_eq!((delivered.n_waiting(), delivered.notify(1)), (0, 0));
            }
        }
    }
}

fn a_dropped_future_passes_its_notification_to_a_task() {
    for runtime in both() {
        let (stock, delivered) = (Value::new(0_u32).unwrap(), Condition::new().unwrap());
        let wait = || ByHand::new(&runtime, delivered.wait_until_async(&stock, take)).waits();
        for is_woken in [false, true] {
            let (first, second) = (wait(), wait());
            stock.set(1).unwrap();
            assert_eq!(delivered.notify(1), 1);
            if is_woken {
                first.is_woken_at_last();
            }
            drop(first);
            assert_eq!(second.result(), Ok(0));
        }
    }
    assert_woken();
}

fn a_dropped_future_passes_its_notification_to_another_process() {
    let (stock, delivered) = (Value::new(0_u32).unwrap(), Condition::new().unwrap());
    let is_first = Event::new().unwrap();
    let other = spawn(|| {
        is_first.wait();
        let guard = delivered.wait_while(stock.lock().unwrap(), |stock| *stock == 0).unwrap();
        assert_eq!(*guard, 1);
        drop(guard);
        assert_woken();
    });
    let runtime = current_thread();
    let first = ByHand::new(&runtime, delivered.wait_until_async(&stock, take)).waits();
    is_first.set();
    eventually("both wait", || delivered.n_waiting() == 2);
    stock.set(1).unwrap();
    assert_eq!(delivered.notify(1), 1);
    drop(first);
    drop(runtime);
    succeeded(&other);
}

fn as_many_tasks_as_there_are_places() {
    for (kind, own) in [(current_thread as fn() -> _, 1), (multi_thread, 3)] {
        let runtime = kind();
        let (stock, delivered) = (Arc::new(Value::new(0_u32).unwrap()), Condition::new().unwrap());
        run(&runtime, async {
            let tasks: Vec<_> = (0..WAITERS_MAX)
                .map(|_| {
                    let (stock, delivered) = (Arc::clone(&stock), delivered.clone());
                    tokio::spawn(async move { delivered.wait_until_async(&*stock, take).await })
                })
                .collect();
            while delivered.n_waiting() < WAITERS_MAX {
                tokio::task::yield_now().await;
            }
            // One thread for each 127 places.
            assert!(threads() <= own + WAITERS_MAX.div_ceil(127), "{} threads", threads());
            let one_more = delivered.wait_until_async(&*stock, |stock| (*stock > 0).then_some(())).await;
            assert_eq!(one_more, Err(WaitError::TooManyWaiters(())));
            // Under the lock: a task that looks for the dead just now would find the stock by itself.
            let mut guard = stock.lock().unwrap();
            *guard = u32::try_from(WAITERS_MAX).unwrap();
            assert_eq!(delivered.notify_all(), WAITERS_MAX);
            drop(guard);
            for task in tasks {
                in_time(task).await.unwrap().unwrap();
            }
        });
        assert_eq!(stock.get(), Ok(0));
    }
}

fn a_taken_lock_does_not_block_the_runtime() {
    for kind in [current_thread, multi_thread] {
        let (stock, delivered) = (Arc::new(Value::new(0_u32).unwrap()), Condition::new().unwrap());
        let [is_held, release] = [(); 2].map(|()| Event::new().unwrap());
        let holder = spawn(|| {
            let mut guard = stock.lock().unwrap();
            is_held.set();
            release.wait();
            *guard = 1;
        });
        is_held.wait();
        let runtime = kind();
        run(&runtime, async {
            let (of, at) = (Arc::clone(&stock), delivered.clone());
            let task = tokio::spawn(async move { at.wait_until_async(&*of, take).await });
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(!task.is_finished());
            release.set();
            assert_eq!(task.await.unwrap(), Ok(0));
        });
        drop(runtime);
        succeeded(&holder);
    }
}

fn a_reentrant_lock_is_not_taken_from_another_task() {
    let runtime = current_thread();
    let (lock, condition) = (RLock::new().unwrap(), Condition::new().unwrap());
    let held = lock.lock().unwrap();
    let mut waiting = ByHand::new(&runtime, condition.wait_until_async(&lock, |()| Some(())));
    for _ in 0..5 {
        assert!(waiting.poll().is_pending(), "this thread has the lock, in another task");
    }
    drop(held);
    assert_eq!(waiting.result(), Ok(()));
}

fn a_notification_of_a_killed_process_reaches_a_task() {
    for kind in [current_thread, multi_thread] {
        let (stock, delivered) = (Value::new(0_u32).unwrap(), Condition::new().unwrap());
        let child = spawn(|| {
            let runtime = current_thread();
            let _first = ByHand::new(&runtime, delivered.wait_until_async(&stock, take)).waits();
            hang(); // nobody polls it
        });
        eventually("it waits", || delivered.n_waiting() == 1);
        let runtime = kind();
        let second = ByHand::new(&runtime, delivered.wait_until_async(&stock, take)).waits();
        stock.set(1).unwrap();
        assert_eq!(delivered.notify(1), 1);
        kill(&child);
        assert_eq!(second.result(), Ok(0));
    }
}

/// A process that took its notification, and died before it did what it was for.
fn what_a_killed_process_should_have_done_is_found() {
    let runtime = current_thread();
    let (stock, delivered) = (Value::new(0_u32).unwrap(), Condition::new().unwrap());
    let waiting = ByHand::new(&runtime, delivered.wait_until_async(&stock, take)).waits();
    stock.set(1).unwrap();
    assert_eq!(waiting.result(), Ok(0));
}

fn poison_reaches_a_task() {
    for runtime in both() {
        let (stock, delivered) = (Value::new(0_u32).unwrap(), Condition::new().unwrap());
        let waiting = ByHand::new(&runtime, delivered.wait_until_async(&stock, take)).waits();
        let poisoning = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _guard = stock.lock().unwrap();
            panic!("on purpose");
        }));
        assert!(poisoning.is_err());
        delivered.notify_all();
        assert_eq!(waiting.result(), Err(WaitError::Lock(LockError::Poisoned(()))));
        assert_eq!(delivered.n_waiting(), 0);
    }
}

fn a_panic_in_the_closure_leaves_no_waiter_behind() {
    let runtime = current_thread();
    let (stock, delivered) = (Arc::new(Value::new(0_u32).unwrap()), Condition::new().unwrap());
    run(&runtime, async {
        let (of, at) = (Arc::clone(&stock), delivered.clone());
        let look = |stock: &mut u32| if *stock == 0 { None::<()> } else { panic!("on purpose") };
        let task = tokio::spawn(async move { at.wait_until_async(&*of, look).await });
        while delivered.n_waiting() == 0 {
            tokio::task::yield_now().await;
        }
        stock.set(1).unwrap();
        delivered.notify(1);
        assert!(in_time(task).await.unwrap_err().is_panic());
    });
    assert!(stock.is_poisoned());
    assert_eq!(delivered.n_waiting(), 0);
}

/// A slot for one item, and what happened there.
struct Slot {
    item: Value<u64>,
    filled: Condition,
    emptied: Condition,
    sum: RawValue<u64>,
    cancelled: RawValue<u64>,
}

const ITEMS: u64 = 10_000;

/// Puts the items into the slot, or takes as many out of it. It cancels a wait when it is woken too often.
async fn move_items(slot: Arc<Slot>, is_producer: bool, seed: u64) {
    let mut random = Random::seeded(seed);
    let mut next = 1;
    while next <= ITEMS {
        let polls = 1 + random.below(6);
        let done = if is_producer {
            let put = |item: &mut u64| (*item == 0).then(|| *item = next);
            let put = at_most(polls, slot.emptied.wait_until_async(&slot.item, put)).await;
            put.map(|put| (put.unwrap(), slot.filled.notify(1)).0)
        } else {
            let get = |item: &mut u64| (*item != 0).then(|| std::mem::take(item));
            let got = at_most(polls, slot.filled.wait_until_async(&slot.item, get)).await;
            got.map(|got| (slot.sum.fetch_add(got.unwrap()), slot.emptied.notify(1))).map(drop)
        };
        match done {
            Some(()) => next += 1,
            None => drop(slot.cancelled.fetch_add(1)),
        }
    }
}

/// 64 tasks in two processes move 10,000 items each through one slot, and many of their waits are cancelled. Each item
/// arrives once.
fn tasks_and_cancellations_around_a_queue_of_one() {
    const TASKS: u64 = 32;
    let slot = Arc::new(Slot {
        item: Value::new(0).unwrap(),
        filled: Condition::new().unwrap(),
        emptied: Condition::new().unwrap(),
        sum: RawValue::new(0).unwrap(),
        cancelled: RawValue::new(0).unwrap(),
    });
    let process = |kind: fn() -> Runtime| {
        let runtime = kind();
        runtime.block_on(async {
            let task = |n| tokio::spawn(move_items(Arc::clone(&slot), n % 2 == 0, n + 1));
            for task in (0..TASKS).map(task).collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
    };
    let children = [current_thread, multi_thread].map(|kind| spawn(|| process(kind)));
    children.iter().for_each(succeeded_with_work);
    assert_eq!(slot.sum.load(), TASKS * ITEMS * (ITEMS + 1) / 2);
    let cancelled = slot.cancelled.load();
    assert!(cancelled > ITEMS, "{cancelled} waits were cancelled");
    let waiting = slot.filled.n_waiting() + slot.emptied.n_waiting();
    assert_eq!((slot.item.get(), waiting), (Ok(0), 0));
}
