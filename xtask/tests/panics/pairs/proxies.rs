//! Proxies, with what each hands out.

use mp::manager::{JoinableQueue, Lock, Manager, Semaphore, Value};

use super::{Action, Row, meet};
use crate::cell::HANG;

/// The proxies of a server that is started for each pair.
pub(super) const PROXIES: &[Row] = &[
    Row { object: "manager Value", meet: values },
    Row { object: "manager Lock", meet: locks },
    Row { object: "manager Semaphore", meet: permits },
    Row { object: "manager JoinableQueue", meet: tasks },
];

fn served(run: impl FnOnce(&Manager) -> usize) -> usize {
    let manager = Manager::start().unwrap();
    let left = run(&manager);
    manager.shutdown().unwrap();
    left
}

fn twice<P: Clone>(proxy: P) -> [P; 2] {
    [proxy.clone(), proxy]
}

fn values(pair: (Action, Action)) -> usize {
    served(|manager| {
        let hold = |value: &Value<u64>, meanwhile: &dyn Fn()| {
            value.set(&1).unwrap();
            meanwhile();
            assert!(value.get().unwrap() > 0);
        };
        meet(pair, |_| twice(manager.value(&0).unwrap()), hold, |value| value.set(&2).unwrap())
    })
}

fn locks(pair: (Action, Action)) -> usize {
    served(|manager| {
        let hold = |lock: &Lock, meanwhile: &dyn Fn()| {
            let _guard = lock.lock_timeout(HANG).unwrap();
            meanwhile();
        };
        let used = |lock: &Lock| drop(lock.lock_timeout(HANG).unwrap());
        meet(pair, |_| twice(manager.lock().unwrap()), hold, used)
    })
}

fn permits(pair: (Action, Action)) -> usize {
    served(|manager| {
        let hold = |semaphore: &Semaphore, meanwhile: &dyn Fn()| {
            semaphore.acquire_timeout(HANG).unwrap().forget().unwrap();
            semaphore.add_permits(1).unwrap();
            let _permit = semaphore.acquire_timeout(HANG).unwrap();
            meanwhile();
        };
        let used = |semaphore: &Semaphore| drop(semaphore.acquire_timeout(HANG).unwrap());
        meet(pair, |_| twice(manager.semaphore(2).unwrap()), hold, used)
    })
}

fn tasks(pair: (Action, Action)) -> usize {
    served(|manager| {
        let hold = |queue: &JoinableQueue<u32>, meanwhile: &dyn Fn()| {
            queue.put(&1).unwrap();
            let task = queue.get_timeout(HANG).unwrap();
            meanwhile();
            task.done().unwrap();
        };
        let used = |queue: &JoinableQueue<u32>| {
            queue.put(&1).unwrap();
            queue.get_timeout(HANG).unwrap().done().unwrap();
        };
        meet(pair, |_| twice(manager.joinable_queue().unwrap()), hold, used)
    })
}
