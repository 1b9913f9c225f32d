//! A manager with one object of each kind, and their proxies.

use mp::manager::{
    Array, Barrier, BoundedSemaphore, Condition, Dict, Event, JoinableQueue, List, Lock, LockError, Manager,
    Namespace, Queue, RLock, Semaphore, Value,
};
use mp_sys::testing::PATIENCE;
use serde::{Deserialize, Serialize};

use crate::travel::Kit;

/// What goes to the other process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Objects {
    list: List<u32>,
    dict: Dict<String, u64>,
    namespace: Namespace,
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    condition: Condition,
    event: Event,
    queue: Queue<String>,
    tasks: JoinableQueue<u64>,
    barrier: Barrier,
    value: Value<i64>,
    array: Array<u8>,
    manager: Manager,
}

/// The number of those objects.
pub(super) const COUNT: u64 = 14;

impl Objects {
    pub(super) fn new(manager: &Manager) -> Self {
        Self {
            list: manager.list().unwrap(),
            dict: manager.dict().unwrap(),
            namespace: manager.namespace().unwrap(),
            lock: manager.lock().unwrap(),
            rlock: manager.rlock().unwrap(),
            semaphore: manager.semaphore(3).unwrap(),
            bounded: manager.bounded_semaphore(2).unwrap(),
            condition: manager.condition().unwrap(),
            event: manager.event().unwrap(),
            queue: manager.queue().unwrap(),
            tasks: manager.joinable_queue().unwrap(),
            barrier: manager.barrier(2).unwrap(),
            value: manager.value(&1).unwrap(),
            array: manager.array(&[1, 2]).unwrap(),
            manager: manager.clone(),
        }
    }

    /// Does with each object what one process does while another one looks.
    pub(super) fn use_each(&self) {
        self.list.push(&2).unwrap();
        self.dict.fetch_add(&"n".to_owned(), 40).unwrap();
        self.namespace.set("from", &"there".to_owned()).unwrap();
        self.value.fetch_add(41).unwrap();
        self.array.set(1, &7).unwrap();
        assert_eq!(self.queue.get_timeout(PATIENCE).unwrap(), "from here");
        let task = self.tasks.get_timeout(PATIENCE).unwrap();
        self.dict.fetch_add(&"n".to_owned(), *task).unwrap();
        task.done().unwrap();
        self.manager.named("made there").value(&5_u8).unwrap();
        let held = (self.lock.lock().unwrap(), self.rlock.lock().unwrap(), self.rlock.lock().unwrap());
        let permits = (self.semaphore.acquire().unwrap(), self.bounded.acquire().unwrap());
        self.event.set().unwrap();
        // The other process looks here.
        self.barrier.wait_timeout(PATIENCE).unwrap();
        self.barrier.wait_timeout(PATIENCE).unwrap();
        permits.0.forget().unwrap();
        drop((permits.1, held));
        let held = self.lock.lock_timeout(PATIENCE).unwrap();
        self.value.set(&100).unwrap();
        self.condition.notify_all().unwrap();
        drop(held);
    }

    pub(super) fn look_at_each(&self) {
        self.queue.put(&"from here".to_owned()).unwrap();
        self.tasks.put(&2).unwrap();
        assert!(self.event.wait_timeout(PATIENCE).unwrap());
        self.barrier.wait_timeout(PATIENCE).unwrap();
        assert_eq!(self.list.to_vec().unwrap(), [2]);
        assert_eq!(self.dict.get(&"n".to_owned()).unwrap(), Some(42));
        assert_eq!(self.namespace.get::<String>("from").unwrap(), "there");
        assert_eq!((self.value.get().unwrap(), self.array.to_vec().unwrap()), (42, vec![1, 7]));
        assert!(self.tasks.join_timeout(PATIENCE).unwrap());
        assert_eq!(self.manager.named("made there").value(&0_u8).unwrap().get().unwrap(), 5);
        assert!(matches!(self.lock.try_lock(), Err(LockError::WouldBlock)));
        assert!(matches!(self.rlock.try_lock(), Err(LockError::WouldBlock)));
        assert_eq!((self.semaphore.available().unwrap(), self.bounded.available().unwrap()), (2, 1));
        self.barrier.wait_timeout(PATIENCE).unwrap();
        let held = self.lock.lock_timeout(PATIENCE).unwrap();
        let is_early = |_: &mut _| self.value.get().unwrap() != 100;
        let (in_time, held) = self.condition.wait_timeout_while(held, PATIENCE, is_early).unwrap();
        assert!(in_time);
        drop(held);
        drop(self.rlock.lock_timeout(PATIENCE).unwrap());
    }

    pub(super) fn look_at_what_is_left(&self) {
        assert_eq!((self.semaphore.available().unwrap(), self.bounded.available().unwrap()), (2, 2));
        assert!(!self.lock.is_locked().unwrap() && !self.rlock.is_locked().unwrap());
    }
}

/// A started manager, with one object of each kind.
#[derive(Debug)]
pub(super) struct Proxies {
    objects: Objects,
    manager: Manager,
}

impl Kit for Proxies {
    type Sent = Objects;

    fn new() -> Self {
        let manager = Manager::start().unwrap();
        Self { objects: Objects::new(&manager), manager }
    }

    fn sent(&self) -> &Objects {
        &self.objects
    }

    fn there(objects: &Objects) {
        objects.use_each();
    }

    fn here(&self) {
        self.objects.look_at_each();
    }

    fn end(self) {
        let Self { objects, manager } = self;
        objects.look_at_what_is_left();
        drop(objects);
        manager.remove("made there").unwrap();
        manager.shutdown().unwrap();
    }
}
