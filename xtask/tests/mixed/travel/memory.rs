//! Objects in shared memory, with and without a name.

use mp::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, LockError, RLock, RawArray, RawValue, RwLock,
    Semaphore, SharedMemory, Value,
};
use mp_sys::testing::PATIENCE;
use serde::{Deserialize, Serialize};

use crate::travel::{Kit, private_name};

/// One of each.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Everything {
    pub(crate) value: Value<[u64; 3]>,
    array: Array<u32>,
    raw_value: RawValue<i64>,
    /// Too large for a chunk, so it has its own mapping.
    raw_array: RawArray<u64>,
    shared_memory: SharedMemory,
    lock: Lock,
    rlock: RLock,
    rwlock: RwLock<[u16; 3]>,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
}

const LARGE: usize = 100_000;

impl Everything {
    pub(crate) fn new() -> Self {
        Self {
            value: Value::new([1, 2, 3]).unwrap(),
            array: Array::from_slice(&[1, 2, 3]).unwrap(),
            raw_value: RawValue::new(40).unwrap(),
            raw_array: RawArray::zeroed(LARGE).unwrap(),
            shared_memory: SharedMemory::new(LARGE).unwrap(),
            lock: Lock::new().unwrap(),
            rlock: RLock::new().unwrap(),
            rwlock: RwLock::new([1, 2, 3]).unwrap(),
            semaphore: Semaphore::new(3).unwrap(),
            bounded: BoundedSemaphore::new(2).unwrap(),
            event: Event::new().unwrap(),
            condition: Condition::new().unwrap(),
            barrier: Barrier::new(2).unwrap(),
        }
    }

    /// Makes each object with its own name.
    fn named() -> Self {
        let name = || private_name();
        let array = Array::create(&name(), 3).unwrap();
        array.write_all(&[1, 2, 3]).unwrap();
        Self {
            value: Value::create(&name(), [1, 2, 3]).unwrap(),
            array,
            raw_value: RawValue::create(&name(), 40).unwrap(),
            raw_array: RawArray::create(&name(), LARGE).unwrap(),
            shared_memory: SharedMemory::create(&name(), LARGE).unwrap(),
            lock: Lock::create(&name()).unwrap(),
            rlock: RLock::create(&name()).unwrap(),
            rwlock: RwLock::create(&name(), [1, 2, 3]).unwrap(),
            semaphore: Semaphore::create(&name(), 3).unwrap(),
            bounded: BoundedSemaphore::create(&name(), 2).unwrap(),
            event: Event::create(&name()).unwrap(),
            condition: Condition::create(&name()).unwrap(),
            barrier: Barrier::create(&name(), 2).unwrap(),
        }
    }

    /// Does with each object what one process does while another one looks.
    fn use_each(&self) {
        assert_eq!(self.value.update(|[a, b, c]| [a + 1, b + 1, c + 1]), Ok([1, 2, 3]));
        self.array.write_all(&[4, 5, 6]).unwrap();
        self.raw_value.fetch_add(2);
        self.raw_array.set(LARGE - 1, 7).unwrap();
        self.shared_memory.write_at(LARGE - 2, b"ok").unwrap();
        let held = (self.lock.lock().unwrap(), self.rlock.lock().unwrap(), self.rlock.lock().unwrap());
        self.rwlock.write().unwrap()[0] = 9;
        let read = self.rwlock.read().unwrap();
        let permits = (self.semaphore.acquire(), self.bounded.acquire());
        self.event.set();
        // The other process looks here.
        self.barrier.wait_timeout(PATIENCE).unwrap();
        self.barrier.wait_timeout(PATIENCE).unwrap();
        permits.0.forget();
        drop((permits.1, held, read));
        self.value.update(|[a, ..]| [a, 0, 0]).unwrap();
        // If the waiter is not there yet, it finds the value changed.
        self.condition.notify_all();
    }

    pub(crate) fn look_at_each(&self) {
        assert!(self.event.wait_timeout(PATIENCE));
        self.barrier.wait_timeout(PATIENCE).unwrap();
        assert_eq!(self.value.get(), Ok([2, 3, 4]));
        assert_eq!(self.array.to_vec().unwrap(), [4, 5, 6]);
        assert_eq!((self.raw_value.load(), self.raw_array.get(LARGE - 1)), (42, Ok(7)));
        assert_eq!(self.shared_memory.read(LARGE - 3..LARGE).unwrap(), b"\0ok");
        assert!(matches!(self.lock.try_lock(), Err(LockError::WouldBlock)));
        assert!(matches!(self.rlock.try_lock(), Err(LockError::WouldBlock)));
        assert_eq!(*self.rwlock.read().unwrap(), [9, 2, 3]);
        assert!(matches!(self.rwlock.try_write(), Err(LockError::WouldBlock)));
        assert_eq!((self.semaphore.available(), self.bounded.available()), (2, 1));
        self.barrier.wait_timeout(PATIENCE).unwrap();
        let guard = self.value.lock_timeout(PATIENCE).unwrap();
        let waited = self.condition.wait_timeout_while(guard, PATIENCE, |value| value[1] != 0);
        drop(waited.unwrap());
        drop(self.rwlock.write_timeout(PATIENCE).unwrap());
        drop((self.lock.lock_timeout(PATIENCE).unwrap(), self.rlock.lock_timeout(PATIENCE).unwrap()));
    }

    pub(crate) fn look_at_what_is_left(&self) {
        assert_eq!(self.value.get(), Ok([2, 0, 0]));
        assert_eq!(
            (self.semaphore.available(), self.bounded.available()),
            (2, 2),
            "one permit was forgotten"
        );
        assert!(!self.lock.is_poisoned() && !self.rlock.is_poisoned() && !self.rwlock.is_poisoned());
        assert_eq!(self.barrier.is_broken(), Ok(false));
    }
}

/// Objects with names, which disappear with their last holder, or without names.
#[derive(Debug)]
pub(crate) struct Objects<const NAMED: bool>(Everything);

pub(crate) type Memory = Objects<false>;
pub(super) type NamedMemory = Objects<true>;

impl<const NAMED: bool> Kit for Objects<NAMED> {
    type Sent = Everything;

    fn new() -> Self {
        Self(if NAMED { Everything::named() } else { Everything::new() })
    }

    fn sent(&self) -> &Everything {
        &self.0
    }

    fn there(sent: &Everything) {
        sent.use_each();
    }

    fn here(&self) {
        self.0.look_at_each();
    }

    fn end(self) {
        self.0.look_at_what_is_left();
        let names = || mp::named::names().into_iter().filter(|name| name.starts_with(&own_prefix())).count();
        assert_eq!(names(), if NAMED { 13 } else { 0 });
        drop(self);
        assert_eq!(names(), 0, "the names disappeared with their objects");
    }
}

/// The prefix of the names that this process makes.
fn own_prefix() -> String {
    let name = private_name();
    name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned()
}
