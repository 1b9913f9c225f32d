//! The operations.

use std::cell::Cell;

use manager_rt::{JoinableQueue, LockError, LockGuard, LockResult, Manager, Queue};

use super::{Case, Outcome, Said, free, said};
use crate::deaths::PATIENCE;
use crate::lines::guard;

fn taken<G>(taken: LockResult<G>) -> Result<G, Said> {
    taken.or_else(|error| match error {
        LockError::OwnerDied(guard) => Ok(guard),
        LockError::Call(error) => Err(error.into()),
        _ => Err(Said("the lock was not taken".to_owned())),
    })
}

fn queue(manager: &Manager) -> Queue<u8> {
    manager.named("o").bounded_queue(1).unwrap()
}

fn tasks(manager: &Manager) -> JoinableQueue<u8> {
    manager.named("o").joinable_queue_with(0, 1000).unwrap()
}

/// The number of items in a queue.
fn items(manager: &Manager) -> u64 {
    u64::try_from(queue(manager).len().unwrap()).unwrap()
}

fn unfinished(manager: &Manager) -> u64 {
    u64::try_from(tasks(manager).unfinished().unwrap()).unwrap()
}

thread_local! {
    static HELD: Cell<Option<LockGuard<'static>>> = const { Cell::new(None) };
}

/// Takes the lock until it is [given up](give_up).
fn hold(manager: &Manager) {
    let lock = Box::leak(Box::new(manager.named("o").lock().unwrap()));
    HELD.set(Some(guard(lock.lock_timeout(PATIENCE))));
}

fn give_up(_: &Manager) {
    drop(HELD.take());
}

/// Operations on data.
pub(super) fn data() -> Vec<Case> {
    let dict = |m: &Manager| drop(m.named("o").dict::<u8, u64>().unwrap());
    let value = |m: &Manager| drop(m.named("o").value(&0_u64).unwrap());
    let list = |m: &Manager| drop(m.named("o").list::<u64>().unwrap());
    let sum = |m: &Manager| Some(m.named("o").value(&0_u64).unwrap().get().unwrap());
    let len = |m: &Manager| u64::try_from(m.named("o").list::<u64>().unwrap().len().unwrap()).ok();
    vec![
        Case::new(
            "insert",
            dict,
            |m| Ok(m.named("o").dict::<u8, u64>()?.insert(&1, &1)?),
            |m| Some(m.named("o").dict::<u8, u64>().unwrap().get(&1).unwrap().unwrap_or(0)),
        ),
        Case::new(
            "a sum in a dict",
            dict,
            |m| said(m.named("o").dict::<u8, u64>()?.fetch_add(&1, 1)),
            |m| Some(m.named("o").dict::<u8, u64>().unwrap().get(&1).unwrap().unwrap_or(0)),
        ),
        Case::new("a sum", value, |m| said(m.named("o").value(&0_u64)?.fetch_add(1)), sum),
        Case::new("set", value, |m| Ok(m.named("o").value(&0_u64)?.set(&1)?), sum),
        Case::new("push", list, |m| Ok(m.named("o").list::<u64>()?.push(&1)?), len),
        Case::new(
            "pop",
            |m| m.named("o").list::<u64>().unwrap().push(&1).unwrap(),
            |m| said(m.named("o").list::<u64>()?.pop()),
            |m| Some(1 - u64::try_from(m.named("o").list::<u64>().unwrap().len().unwrap()).unwrap()),
        ),
        Case::new(
            "a sum in an array",
            |m| drop(m.named("o").array(&[0_u64]).unwrap()),
            |m| said(m.named("o").array(&[0_u64])?.fetch_add(0, 1)),
            |m| Some(m.named("o").array(&[0_u64]).unwrap().get(0).unwrap()),
        ),
        Case::new(
            "a transaction",
            value,
            |m| {
                let value = m.named("o").value(&0_u64)?;
                let sums = m.transaction(|t| (t.on(&value).fetch_add(1), t.on(&value).fetch_add(1)))?;
                assert_eq!(sums, (0, 1));
                Ok(())
            },
            |m| {
                let sum = m.named("o").value(&0_u64).unwrap().get().unwrap();
                assert!(sum % 2 == 0, "half of a transaction was done");
                Some(sum / 2)
            },
        ),
        Case::new(
            "a pipeline",
            list,
            |m| {
                let list = m.named("o").list::<u64>()?;
                said(m.pipeline(|p| p.on(&list).push(&1)))
            },
            len,
        ),
    ]
}

/// Operations that take what nobody has, and the set of an event.
pub(super) fn taking() -> Vec<Case> {
    vec![
        Case::new(
            "lock",
            |m| drop(m.named("o").lock().unwrap()),
            |m| {
                let lock = m.named("o").lock()?;
                drop(taken(lock.lock_timeout(PATIENCE))?);
                Ok(())
            },
            |m| free("o", m),
        ),
        Case::new(
            "a lock that is taken twice",
            |m| drop(m.named("o").rlock().unwrap()),
            |m| {
                let lock = m.named("o").rlock()?;
                let outer = taken(lock.lock_timeout(PATIENCE))?;
                drop((taken(lock.lock_timeout(PATIENCE))?, outer));
                Ok(())
            },
            |m| {
                let lock = m.named("o").rlock().unwrap();
                assert!(matches!(lock.lock_timeout(PATIENCE), Ok(_) | Err(LockError::OwnerDied(_))));
                None
            },
        ),
        Case::new(
            "a permit",
            |m| drop(m.named("o").semaphore(1).unwrap()),
            |m| {
                drop(m.named("o").semaphore(1)?.acquire_timeout(PATIENCE)?);
                Ok(())
            },
            |m| {
                drop(m.named("o").semaphore(1).unwrap().acquire_timeout(PATIENCE).unwrap());
                None
            },
        ),
        Case::new(
            "the set of an event",
            |m| drop(m.named("o").event().unwrap()),
            |m| Ok(m.named("o").event()?.set()?),
            |m| Some(u64::from(m.named("o").event().unwrap().is_set().unwrap())),
        ),
    ]
}

/// Operations of queues.
pub(super) fn queues() -> Vec<Case> {
    let empty = |m: &Manager| drop(queue(m));
    let filled = |m: &Manager| queue(m).put(&9).unwrap();
    let one_task = |m: &Manager| tasks(m).put(&9).unwrap();
    let get: fn(&Manager) -> Outcome = |m| said(m.named("o").bounded_queue::<u8>(1)?.get_timeout(PATIENCE));
    let put: fn(&Manager) -> Outcome = |m| Ok(m.named("o").bounded_queue(1)?.put_timeout(&1_u8, PATIENCE)?);
    vec![
        Case::new("put", empty, put, |m| Some(items(m))),
        Case::new("a put that waits", filled, put, |m| Some(items(m))).answered(|m| drop(queue(m).try_get())),
        Case::new("get", filled, get, |m| Some(1 - items(m))).returning(),
        Case::new("a get that waits", empty, get, |m| Some(1 - items(m)))
            .answered(|m| queue(m).put(&1).unwrap())
            .returning(),
        Case::new(
            "a get of many",
            filled,
            |m| said(m.named("o").bounded_queue::<u8>(1)?.get_many(5)),
            |m| Some(1 - items(m)),
        )
        .returning(),
        Case::new(
            "the put of a task",
            |m| drop(tasks(m)),
            |m| Ok(m.named("o").joinable_queue_with::<u8>(0, 1000)?.put(&1)?),
            |m| Some(unfinished(m)),
        ),
        Case::new(
            "a task that is done",
            one_task,
            |m| said(m.named("o").joinable_queue_with::<u8>(0, 1000)?.get_timeout(PATIENCE)?.done()),
            |m| Some(1 - unfinished(m)),
        ),
        Case::new(
            "a task that goes back",
            one_task,
            |m| Ok(m.named("o").joinable_queue_with::<u8>(0, 1000)?.get_timeout(PATIENCE)?.requeue()?),
            |m| {
                assert_eq!(unfinished(m), 1);
                (tasks(m).len() == Ok(1)).then_some(1)
            },
        ),
        Case::new(
            "join",
            one_task,
            |m| {
                assert!(m.named("o").joinable_queue_with::<u8>(0, 1000)?.join_timeout(PATIENCE)?);
                Ok(())
            },
            |_| None,
        )
        .answered(|m| assert_eq!(tasks(m).get_timeout(PATIENCE).unwrap().done().unwrap(), 9)),
    ]
}

/// Operations that wait for another client.
pub(super) fn waiting() -> Vec<Case> {
    vec![
        Case::new(
            "a lock that another one has",
            hold,
            |m| {
                let lock = m.named("o").lock()?;
                drop(taken(lock.lock_timeout(PATIENCE))?);
                Ok(())
            },
            |m| free("o", m),
        )
        .answered(give_up),
        Case::new(
            "a permit that another one has",
            |m| drop(m.named("o").semaphore(0).unwrap()),
            |m| {
                drop(m.named("o").semaphore(0)?.acquire_timeout(PATIENCE)?);
                Ok(())
            },
            |m| {
                drop(m.named("o").semaphore(0).unwrap().acquire_timeout(PATIENCE).unwrap());
                None
            },
        )
        .answered(|m| m.named("o").semaphore(0).unwrap().add_permits(1).unwrap()),
        Case::new(
            "the wait for an event",
            |m| drop(m.named("o").event().unwrap()),
            |m| {
                assert!(m.named("o").event()?.wait_timeout(PATIENCE)?);
                Ok(())
            },
            |_| None,
        )
        .answered(|m| m.named("o").event().unwrap().set().unwrap()),
        Case::new(
            "the wait for a condition",
            |m| drop(m.named("o").condition().unwrap()),
            |m| {
                let (lock, condition) = (m.named("l").lock()?, m.named("o").condition()?);
                let held = taken(lock.lock_timeout(PATIENCE))?;
                drop(taken(condition.wait(held))?);
                Ok(())
            },
            |m| free("l", m),
        )
        .answered(|m| assert!(m.named("o").condition().unwrap().notify(1).is_ok())),
    ]
}
