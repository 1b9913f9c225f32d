//! More kinds of operations over a connection between hosts that ends at any byte: those that take several items, several calls or
//! several records, that wait, that concern names, and those of async tasks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use manager_rt::{LockError, Manager};
use tokio::runtime::{Builder, Runtime};

use crate::tcp_cuts::{Kind, Learned, MANY, PATIENCE, learned, length, none};

/// Items of one operation.
const TOGETHER: usize = 3;
/// The length of a value that takes several records.
const LONG: usize = 100_000;

/// Returns how many operations have put or taken so many items.
fn together(items: usize) -> u64 {
    assert!(items.is_multiple_of(TOGETHER), "a part of an operation was done: {items}");
    length(items / TOGETHER)
}

#[test]
fn several_items_and_long_values_are_changed_together_or_not_at_all() {
    Kind {
        name: "put_many",
        make: |m| m.named("x").queue::<u64>().unwrap(),
        run: |x| learned(x.put_many(&[1; TOGETHER])),
        count: |x| x.len().ok().map(together),
    }
    .check();
    Kind {
        name: "get_many",
        make: |m| {
            let queue = m.named("x").queue::<u64>().unwrap();
            if queue.is_empty().unwrap() {
                queue.put_many(&[1; MANY * TOGETHER]).unwrap();
            }
            queue
        },
        run: |x| learned(x.get_many(TOGETHER)),
        count: |x| Some(together(MANY * TOGETHER - x.len().unwrap())),
    }
    .check();
    Kind {
        name: "extend",
        make: |m| (m.named("x").dict::<(u64, usize), u8>().unwrap(), AtomicU64::new(0)),
        run: |(x, times)| {
            let time = times.fetch_add(1, Ordering::Relaxed);
            let keys: Vec<_> = (0..TOGETHER).map(|place| (time, place)).collect();
            learned(x.extend(keys.iter().map(|key| (key, &1))))
        },
        count: |(x, _)| x.len().ok().map(together),
    }
    .check();
    Kind {
        name: "a long value",
        make: |m| m.named("x").value(&vec![0_u8; LONG]).unwrap(),
        run: |x| learned(x.update(|value| value.iter().map(|byte| byte.wrapping_add(1)).collect())),
        count: |x| {
            let value = x.get().unwrap();
            assert!(value.len() == LONG && value.iter().all(|byte| *byte == value[0]), "a torn value");
            Some(value[0].into())
        },
    }
    .check_each(9_973);
}

#[test]
fn what_waits_and_what_is_held_ends_with_its_connection() {
    Kind {
        name: "reentrant lock",
        make: |m| m.named("x").rlock().unwrap(),
        run: |x| match x.lock().and_then(|outer| x.lock().map(|inner| (outer, inner))) {
            Ok(_) | Err(LockError::OwnerDied(_)) => Learned::Done,
            Err(error) => learned::<(), _>(Err(error)),
        },
        count: |x| {
            let taken = x.lock_timeout(PATIENCE);
            assert!(matches!(taken, Ok(_) | Err(LockError::OwnerDied(_))), "{taken:?}");
            None
        },
    }
    .check();
    Kind {
        name: "condition",
        make: |m| (m.named("lock").lock().unwrap(), m.named("x").condition().unwrap()),
        run: |(lock, x)| {
            let guard = match lock.lock() {
                Ok(guard) => guard,
                Err(LockError::OwnerDied(guard)) => guard,
                Err(error) => return learned::<(), _>(Err(error)),
            };
            match x.wait_timeout(guard, Duration::from_micros(1)) {
                Ok(_) => learned(x.notify(1)),
                Err(_) => Learned::Unknown,
            }
        },
        count: |(lock, x)| {
            let taken = lock.lock_timeout(PATIENCE);
            assert!(matches!(taken, Ok(_) | Err(LockError::OwnerDied(_))), "{taken:?}");
            assert_eq!(x.n_waiting().unwrap(), 0, "a wait ends with its connection");
            None
        },
    }
    .check();
    Kind {
        name: "waiting until all tasks are done",
        make: |m| m.named("x").joinable_queue::<u8>().unwrap(),
        run: |x| learned(x.join()),
        count: none,
    }
    .check();
}

#[test]
fn names_lists_and_reports_are_whole() {
    Kind {
        name: "removing a name",
        make: Manager::clone,
        run: |m| {
            let name = "x";
            let made = learned(m.named(name).value(&0_u8));
            if made != Learned::Done {
                return made;
            }
            match m.remove(name) {
                // It was removed, and the connection ended before that was heard.
                Err(error) if format!("{error:?}").contains("UnknownName") => Learned::Unknown,
                outcome => learned(outcome),
            }
        },
        count: none,
    }
    .check();
    Kind {
        name: "sorting a list",
        make: |m| {
            let list = m.named("x").list::<u64>().unwrap();
            if list.is_empty().unwrap() {
                list.extend(&[3, 1, 2]).unwrap();
            }
            list
        },
        run: |x| learned(x.reverse().and_then(|()| x.sort())),
        count: |x| {
            let mut items = x.to_vec().unwrap();
            items.sort_unstable();
            assert_eq!(items, [1, 2, 3]);
            None
        },
    }
    .check();
    Kind {
        name: "a report",
        make: Manager::clone,
        run: |m| learned(m.report().and_then(|_| m.names())),
        count: none,
    }
    .check();
}

#[test]
fn operations_of_async_tasks_are_done_once_or_not_at_all() {
    Kind {
        name: "an async put",
        make: |m| (runtime(), m.named("x").queue::<u64>().unwrap()),
        run: |(runtime, x)| learned(runtime.block_on(x.put_async(&1))),
        count: |(_, x)| x.len().ok().map(length),
    }
    .check();
    Kind {
        name: "an async task",
        make: |m| {
            let queue = m.named("x").joinable_queue_with::<u64>(0, u32::MAX).unwrap();
            if queue.is_empty().unwrap() {
                queue.put_many(&[1; MANY]).unwrap();
            }
            (runtime(), queue)
        },
        run: |(runtime, x)| {
            runtime.block_on(async {
                match x.get_async().await {
                    Ok(task) => learned(task.done_async().await),
                    // If it was taken, it comes back.
                    Err(error) => match learned::<(), _>(Err(error)) {
                        Learned::Unknown => Learned::NotDone,
                        learned => learned,
                    },
                }
            })
        },
        count: |(_, x)| {
            mp_sys::testing::eventually("all tasks are back", || x.unfinished().unwrap() == x.len().unwrap());
            Some(length(MANY - x.unfinished().unwrap()))
        },
    }
    .check();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
