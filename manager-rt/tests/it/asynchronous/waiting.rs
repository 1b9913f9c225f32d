//! Calls that wait until another task, thread or process acts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use manager_rt::{BarrierError, LockError, Manager};

use super::{in_each, poll_once, soon, thread, until, until_waiting};

fn spawn<F: Future<Output: Send> + Send + 'static>(future: F) -> tokio::task::JoinHandle<F::Output> {
    tokio::spawn(future)
}

#[test]
fn a_task_waits_while_the_others_go_on() {
    in_each(|manager, other| async move {
        let (event, queue) = (manager.event().unwrap(), manager.named("queue").queue::<u32>().unwrap());
        let waiting = event.clone();
        let waiter = spawn(async move { waiting.wait_async().await });
        let getting = queue.clone();
        let getter = spawn(async move { getting.get_async().await });
        until_waiting(&other, 2).await;
        assert_eq!(event.is_set_async().await, Ok(false), "a call beside two that wait");
        other.named("queue").queue::<u32>().unwrap().put(&7).unwrap();
        assert_eq!(soon(getter).await.unwrap(), Ok(7));
        event.set_async().await.unwrap();
        assert_eq!(soon(waiter).await.unwrap(), Ok(()));
        event.clear_async().await.unwrap();
    });
}

#[test]
fn a_condition_is_waited_for_with_a_guard_of_a_task() {
    in_each(|manager, _| async move {
        let (lock, ready) = (manager.lock().unwrap(), manager.condition().unwrap());
        let stock = manager.value(&0).unwrap();
        let (its_lock, its_ready, its_stock) = (lock.clone(), ready.clone(), stock.clone());
        let taker = spawn(async move {
            let mut held = its_lock.lock_async().await.map_err(LockError::discard).unwrap();
            while its_stock.get_async().await.unwrap() == 0 {
                held = its_ready.wait_async(held).await.map_err(LockError::discard).unwrap();
            }
            assert!(held.is_valid());
            its_stock.fetch_add_async(-1).await.unwrap()
        });
        until(|| ready.n_waiting() == Ok(1)).await;
        {
            let _held = lock.lock_async().await.unwrap();
            stock.set_async(&5).await.unwrap();
            assert_eq!(ready.notify_async(1).await, Ok(1));
        }
        assert_eq!(soon(taker).await.unwrap(), 5);
        assert_eq!((ready.n_waiting_async().await, lock.is_locked_async().await), (Ok(0), Ok(false)));
        assert_eq!(ready.notify_all_async().await, Ok(0));
    });
}

#[test]
fn tasks_and_threads_meet_at_a_barrier() {
    in_each(|manager, _| async move {
        let rounds = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&rounds);
        let barrier = manager.barrier(3).unwrap().with_action(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        for round in 1..=20 {
            let (one, other) = (barrier.clone(), barrier.clone());
            let thread = thread(move || one.wait().unwrap());
            let task = spawn(async move { other.wait_async().await.unwrap() });
            let mut all = [barrier.wait_async().await.unwrap(), soon(task).await.unwrap(), 0];
            all[2] = tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
            all.sort_unstable();
            assert_eq!((all, rounds.load(Ordering::Relaxed)), ([0, 1, 2], round));
        }
        assert_eq!((barrier.n_waiting_async().await, barrier.is_broken_async().await), (Ok(0), Ok(false)));
        let party = barrier.party().unwrap();
        let mut waiting = Box::pin(party.wait_async());
        assert!(poll_once(waiting.as_mut()).await.is_pending());
        barrier.abort_async().await.unwrap();
        assert_eq!(waiting.await, Err(BarrierError::Broken));
        barrier.reset_async().await.unwrap();
    });
}

/// Both kinds of calls share a connection: whoever waits reads for all.
#[test]
fn threads_and_tasks_share_a_connection() {
    const THREADS: u32 = 3;
    const CALLS: u32 = 300;
    in_each(|manager, _| async move {
        let (sum, event) = (manager.value(&0_u32).unwrap(), manager.event().unwrap());
        let asleep = event.clone();
        let asleep = spawn(async move { asleep.wait_async().await });
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let sum = sum.clone();
                thread(move || (0..CALLS).for_each(|_| assert!(sum.fetch_add(1).is_ok())))
            })
            .collect();
        let tasks: Vec<_> = (0..THREADS)
            .map(|_| {
                let sum = sum.clone();
                spawn(async move {
                    for _ in 0..CALLS {
                        sum.fetch_add_async(1).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            soon(task).await.unwrap();
        }
        let joined =
            tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()));
        soon(joined).await.unwrap();
        assert_eq!(sum.get_async().await, Ok(2 * THREADS * CALLS));
        event.set().unwrap();
        assert_eq!(soon(asleep).await.unwrap(), Ok(()));
    });
}

#[test]
fn thousands_of_tasks_wait_at_a_time() {
    const TASKS: u64 = 4_000;
    in_each(|manager, other| async move {
        let queue = manager.named("queue").queue::<u64>().unwrap();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let queue = queue.clone();
                spawn(async move { queue.get_async().await.unwrap() })
            })
            .collect();
        until_waiting(&other, TASKS).await;
        let items: Vec<u64> = (0..TASKS).collect();
        other.named("queue").queue::<u64>().unwrap().put_many(&items).unwrap();
        let mut got = Vec::new();
        for task in tasks {
            got.push(soon(task).await.unwrap());
        }
        got.sort_unstable();
        assert_eq!(got, items);
    });
}

/// The socket is full, since the server does not read: a long value is written in pieces.
#[test]
fn long_values_pass_in_both_directions() {
    in_each(|manager, _| async move {
        let queue = manager.queue::<Vec<u8>>().unwrap();
        let tasks: Vec<_> = (0..8_u8)
            .map(|byte| {
                let queue = queue.clone();
                spawn(async move { queue.put_async(&vec![byte; 3 << 20]).await.unwrap() })
            })
            .collect();
        let mut seen = Vec::new();
        for _ in 0..8 {
            let value = queue.get_async().await.unwrap();
            assert!(value.len() == 3 << 20 && value.iter().all(|byte| *byte == value[0]));
            seen.push(value[0]);
        }
        for task in tasks {
            soon(task).await.unwrap();
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
    });
}

#[test]
fn a_call_outside_of_a_runtime_is_an_error() {
    let manager = Manager::start().unwrap();
    let value = manager.value(&1).unwrap();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = Box::pin(value.get_async()).as_mut().poll(&mut context);
    let std::task::Poll::Ready(Err(error)) = polled else { panic!("an error") };
    assert!(error.to_string().contains("runtime"), "{error}");
    manager.shutdown().unwrap();
}
