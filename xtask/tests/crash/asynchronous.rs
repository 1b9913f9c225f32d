//! Async forms: a process dies at every point of a wait in a task, and while many of its tasks wait or hold something.
//!
//! The task waits first, and then its own process changes what it waits for. So the points are those of the wait, of the thread
//! or the event loop that watches, and of the wake-up.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use manager_rt::LockError;
use mp::{Condition, JoinableQueue, Queue, RawValue, Semaphore, Value};
use mp_sys::testing::{Random, eventually, hang};
use tokio::runtime::{Builder, Runtime};

use crate::cell::{HANG, Outcome, define_cells, spawn};
use crate::manager::{MOMENT_MAX, until_held, until_waiting, with_manager};
use crate::points::at_every_point_with;

/// Tasks that wait at the same time.
const TASKS: u32 = 8;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Lets a task wait, then changes what it waits for, and returns what it got.
async fn waits<T>(wait: impl Future<Output = T>, change: impl FnOnce()) -> T {
    let mut wait = pin!(wait);
    assert!(poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_pending())).await, "it has to wait");
    change();
    wait.await
}

/// Runs a wait at every point, with an object that is made again for each. `check` says whether the object is in order. It gets
/// how many steps the process had confirmed.
fn at_points<O>(
    make: impl Fn() -> O,
    wait: impl AsyncFn(&O, &RawValue<u32>),
    check: impl Fn(&O, u32) -> bool,
) -> Outcome {
    let object = RefCell::new(make());
    let steps = RawValue::new(0_u32).unwrap();
    at_every_point_with(
        || {
            object.replace(make());
            steps.store(0);
        },
        runtime,
        |runtime| runtime.block_on(wait(&object.borrow(), &steps)),
        |survived| {
            let confirmed = steps.load();
            let is_right = check(&object.borrow(), confirmed) && (!survived || confirmed == ALL);
            if !is_right {
                eprintln!("survived: {survived}, confirmed: {confirmed}");
            }
            is_right
        },
    )
}

/// The change was made.
const CHANGED: u32 = 1;
/// The wait was over.
const ALL: u32 = 2;

fn semaphore(_: u32) -> Outcome {
    at_points(
        || Semaphore::new(0).unwrap(),
        async |semaphore, steps| {
            let add = || {
                semaphore.add_permits(1).unwrap();
                steps.store(CHANGED);
            };
            drop(waits(semaphore.acquire_async(), add).await.unwrap());
            steps.store(ALL);
        },
        |semaphore, confirmed| {
            // The permit of the dead comes back, whether it was added or taken.
            let is_back = confirmed < CHANGED || semaphore.acquire_timeout(HANG).is_ok();
            let many = semaphore.available() > 1;
            semaphore.add_permits(1).unwrap();
            is_back && !many && semaphore.acquire_timeout(HANG).is_ok()
        },
    )
}

fn condition(_: u32) -> Outcome {
    at_points(
        || (Value::new(0_u32).unwrap(), Condition::new().unwrap()),
        async |(value, condition), steps| {
            let change = || {
                value.set(7).unwrap();
                condition.notify_all();
                steps.store(CHANGED);
            };
            let look = |number: &mut u32| (*number == 7).then(|| *number = 8);
            waits(condition.wait_until_async(value, look), change).await.unwrap();
            steps.store(ALL);
        },
        |(value, condition), confirmed| {
            // A death in the closure's section poisons, and whoever locks is told.
            let told = value.lock_timeout(HANG).map(|guard| *guard);
            value.clear_poison();
            let expected: &[u32] = match confirmed {
                ALL => &[8],
                CHANGED => &[7, 8],
                _ => &[0, 7, 8],
            };
            let is_right = told.map_or(confirmed < ALL, |number| expected.contains(&number));
            eventually("the dead waiter is gone", || condition.notify(1) == 0);
            is_right && value.set(1).is_ok()
        },
    )
}

fn queue(_: u32) -> Outcome {
    at_points(
        || Queue::<u32>::new().unwrap(),
        async |queue, steps| {
            let put = || {
                queue.put(&7).unwrap();
                steps.store(CHANGED);
            };
            assert_eq!(waits(queue.get_async(), put).await, Ok(7));
            steps.store(ALL);
        },
        |queue, confirmed| {
            // It can be in the hand of the dead.
            let left: Vec<u32> = std::iter::from_fn(|| queue.try_get().ok()).collect();
            queue.put(&1).unwrap();
            (left.is_empty() || left == [7] && confirmed < ALL) && queue.get_timeout(HANG) == Ok(1)
        },
    )
}

fn tasks(_: u32) -> Outcome {
    at_points(
        || JoinableQueue::<u32>::new().unwrap(),
        async |queue, steps| {
            let put = || {
                queue.put(&7).unwrap();
                steps.store(CHANGED);
            };
            let task = waits(queue.get_async(), put).await.unwrap();
            assert_eq!(*task, 7);
            steps.store(ALL);
            task.done();
        },
        |queue, confirmed| {
            queue.close().unwrap();
            let left: Vec<u32> =
                std::iter::from_fn(|| queue.get_timeout(HANG).map(mp::Task::done).ok()).collect();
            // Only `done` ends it.
            let is_right = if confirmed == CHANGED { left == [7] } else { left.is_empty() || left == [7] };
            is_right && queue.unfinished() == Ok(0)
        },
    )
}

/// Tasks pass permits on while others add and take some: all are there at the end.
fn semaphore_in_tasks(kills: u32) -> Outcome {
    let mut out = Outcome::default();
    let mut random = Random::new();
    let semaphore = Semaphore::new(2).unwrap();
    let turns = RawValue::new(0_u64).unwrap();
    for _ in 0..kills {
        let before = turns.load();
        let victim = spawn(|| {
            runtime().block_on(async {
                let turn = async || loop {
                    let permit = semaphore.acquire_async().await.unwrap();
                    tokio::task::yield_now().await;
                    drop(permit);
                    turns.fetch_add(1);
                };
                let mut all: Vec<_> = (0..TASKS).map(|_| Box::pin(turn())).collect();
                poll_fn(|cx| {
                    all.iter_mut().for_each(|task| assert!(task.as_mut().poll(cx).is_pending()));
                    Poll::<()>::Pending
                })
                .await;
            });
        });
        eventually("its tasks have had permits", || turns.load() > before);
        random.pause(50_000);
        let next = out.recover(&victim, || semaphore.acquire_timeout(HANG));
        out.hangs += u32::from(next.is_err());
        drop(next);
        let permits: Vec<_> = (0..3).map_while(|_| semaphore.try_acquire().ok()).collect();
        out.lost += u32::from(permits.len() < 2);
        out.duplicated += u32::from(permits.len() > 2);
    }
    out
}

/// One task holds the lock of a manager, and others wait for it and for an item: the next one is told, and no item is gone.
fn manager_in_tasks(kills: u32) -> Outcome {
    with_manager(|manager, out| {
        let (lock, queue) = (manager.lock().unwrap(), manager.queue::<u32>().unwrap());
        let mut random = Random::new();
        for _ in 0..kills {
            let holds = RawValue::new(false).unwrap();
            let victim = spawn(|| {
                runtime().block_on(async {
                    let _held = lock.lock_async().await.map_err(LockError::discard).unwrap();
                    holds.store(true);
                    let mut locks: Vec<_> = (0..TASKS).map(|_| Box::pin(lock.lock_async())).collect();
                    let mut gets: Vec<_> = (0..TASKS).map(|_| Box::pin(queue.get_async())).collect();
                    poll_fn(|cx| {
                        locks.iter_mut().for_each(|task| assert!(task.as_mut().poll(cx).is_pending()));
                        gets.iter_mut().for_each(|task| assert!(task.as_mut().poll(cx).is_pending()));
                        Poll::<()>::Pending
                    })
                    .await;
                });
                hang();
            });
            until_held(manager, 1);
            eventually("the victim has the lock", || holds.load());
            until_waiting(manager, u64::from(2 * TASKS));
            random.pause(MOMENT_MAX);
            match out.recover(&victim, || lock.lock_timeout(HANG)) {
                Err(LockError::OwnerDied(_)) => {}
                Ok(_) => out.torn += 1,
                Err(_) => out.hangs += 1,
            }
            until_waiting(manager, 0);
            queue.put(&7).unwrap();
            out.lost += u32::from(queue.get_timeout(HANG) != Ok(7));
        }
    })
}

define_cells! {
    SEMAPHORE_POINTS: "async semaphore", "every_point", semaphore;
    CONDITION_POINTS: "async condition", "every_point", condition;
    QUEUE_POINTS: "async queue", "every_point", queue;
    TASK_POINTS: "async joinable queue", "every_point", tasks;
    SEMAPHORE_TASKS: "async semaphore", "tasks", semaphore_in_tasks;
    MANAGER_TASKS: "async manager", "tasks", manager_in_tasks;
}
