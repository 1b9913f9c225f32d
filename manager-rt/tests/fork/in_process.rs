//! A child has a separate copy of the objects, so its calls are refused, and it releases nothing that it never had.

use std::cell::Cell;

use manager_rt::{CallError, LockError, Manager, ObjectError, Value};
use mp_sys::testing::{spawn_holding, succeeded, tests};

tests! {
    a_forked_child_is_refused,
    objects_that_a_forked_child_inherits_stay_its_parents,
}

fn a_forked_child_is_refused() {
    let manager = Manager::in_process().unwrap();
    let value = manager.value(&1).unwrap();
    let message = postcard::to_stdvec(&value).unwrap();
    let child = spawn_holding(|| {
        let refused = ObjectError::Call(CallError::Forked);
        assert_eq!(value.get().unwrap_err(), refused);
        assert_eq!(value.clone().set(&2).unwrap_err(), refused);
        assert_eq!(manager.lock().unwrap_err(), refused);
        assert_eq!(manager.info().unwrap_err(), CallError::Forked);
        assert_eq!(manager.pipeline(|p| p.on(&value).get()).unwrap_err(), refused);
        assert!(postcard::from_bytes::<Value<i32>>(&message).is_err());
        assert!(postcard::to_stdvec(&value).is_ok(), "a proxy can still be passed on");
    });
    succeeded(&child);
    assert_eq!((value.get().unwrap(), manager.info().unwrap().objects), (1, 1));
}

fn objects_that_a_forked_child_inherits_stay_its_parents() {
    let manager = Manager::in_process().unwrap();
    let lock = manager.lock().unwrap();
    let rlock = manager.rlock().unwrap();
    let semaphore = manager.semaphore(1).unwrap();
    let queue = manager.joinable_queue::<u8>().unwrap();
    queue.put(&7).unwrap();
    let held = Cell::new(Some((lock.lock().unwrap(), rlock.lock().unwrap(), semaphore.acquire().unwrap())));
    let task = Cell::new(Some(queue.get().unwrap()));
    let child = spawn_holding(|| {
        let (guard, reentrant, permit) = held.take().unwrap();
        drop((guard, reentrant));
        permit.forget().unwrap();
        assert_eq!(task.take().unwrap().done().unwrap(), 7);
        assert!(matches!(lock.lock(), Err(LockError::Call(CallError::Forked))));
    });
    succeeded(&child);
    assert!(lock.is_locked().unwrap() && rlock.is_locked().unwrap());
    assert_eq!((semaphore.available().unwrap(), queue.unfinished().unwrap()), (0, 1));
    drop(held.take());
    assert!(!lock.is_locked().unwrap() && !rlock.is_locked().unwrap());
    assert_eq!(semaphore.available().unwrap(), 1);
    task.take().unwrap().done().unwrap();
    assert_eq!(queue.unfinished().unwrap(), 0);
}
