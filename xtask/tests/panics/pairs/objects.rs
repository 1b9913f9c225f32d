//! The objects of the table, with what each hands out.

use std::time::Duration;

use mp::{
    Array, Barrier, BoundedSemaphore, Condition, Event, JoinableQueue, Lock, Queue, RLock, RawArray,
    RawValue, RwLock, Semaphore, SharedMemory, SimpleQueue, Value,
};

use mp_sys::identity::Stamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Action, Row, meet};
use crate::cell::HANG;

const SOON: Duration = Duration::from_millis(1);

/// Returns a name that the runner recognises as this process's.
fn name(number: u32) -> String {
    format!("test-{}-{number}", Stamp::current().pid())
}

/// Makes two handles of an object with a name.
macro_rules! named {
    ($type:ty, $($argument:expr),*) => {
        |number| {
            let name = name(number);
            let made = <$type>::create(&name $(, $argument)*).unwrap();
            [made, <$type>::open(&name).unwrap()]
        }
    };
}

macro_rules! rows {
    ($($object:literal, $make:expr, $hold:expr, $used:expr;)*) => {
        &[$(Row {
            object: $object,
            meet: |pair: (Action, Action)| meet(pair, $make, $hold, $used),
        }),*]
    };
}

/// Tiers 1 and 2.
pub(super) const OBJECTS: &[Row] = rows! {
    "Value", named!(Value<u64>, 0),
        |value, meanwhile| { let _guard = value.lock_timeout(HANG).unwrap(); meanwhile() },
        |value| drop(value.lock_timeout(HANG).unwrap());
    "Array", named!(Array<u8>, 5000),
        |array, meanwhile| { let _guard = array.lock_timeout(HANG).unwrap(); meanwhile() },
        |array| drop(array.lock_timeout(HANG).unwrap());
    "Lock", named!(Lock,),
        |lock, meanwhile| { let _guard = lock.lock_timeout(HANG).unwrap(); meanwhile() },
        |lock| drop(lock.lock_timeout(HANG).unwrap());
    "RLock", named!(RLock,),
        |lock, meanwhile| { let _guards = [lock.lock_timeout(HANG).unwrap(), lock.lock().unwrap()]; meanwhile() },
        |lock| drop(lock.lock_timeout(HANG).unwrap());
    "RwLock", named!(RwLock<u64>, 0),
        |lock, meanwhile| {
            drop(lock.write_timeout(HANG).unwrap());
            let _guards = [lock.read_timeout(HANG).unwrap(), lock.read().unwrap()];
            meanwhile();
        },
        |lock| drop((lock.read_timeout(HANG).unwrap(), lock.read().unwrap()));
    "RwLock, written", named!(RwLock<u64>, 0),
        |lock, meanwhile| { let _guard = lock.write_timeout(HANG).unwrap(); meanwhile() },
        |lock| drop(lock.write_timeout(HANG).unwrap());
    "RawValue", named!(RawValue<u64>, 0),
        |value, meanwhile| { value.fetch_add(1); meanwhile(); assert!(value.load() > 0) },
        |value| { value.fetch_add(1); };
    "RawArray", named!(RawArray<u8>, 5000),
        |array, meanwhile| { array.fill(1); meanwhile(); drop(array.to_vec()) },
        |array| array.fill(2);
    "SharedMemory", named!(SharedMemory, 5000),
        |memory, meanwhile| { memory.fill(1); meanwhile(); drop(memory.to_vec()) },
        |memory| memory.fill(2);
    "Condition", named!(Condition,),
        |condition, meanwhile| {
            let lock = Lock::new().unwrap();
            drop(condition.wait_timeout(lock.lock().unwrap(), SOON).unwrap());
            meanwhile();
        },
        |condition| { condition.notify_all(); };
    "Semaphore", named!(Semaphore, 2),
        |semaphore, meanwhile| {
            semaphore.acquire_timeout(HANG).unwrap().forget();
            semaphore.add_permits(1).unwrap();
            let _permit = semaphore.acquire_timeout(HANG).unwrap();
            meanwhile();
        },
        |semaphore| drop(semaphore.acquire_timeout(HANG).unwrap());
    "BoundedSemaphore", named!(BoundedSemaphore, 1),
        |semaphore, meanwhile| { let _permit = semaphore.acquire_timeout(HANG).unwrap(); meanwhile() },
        |semaphore| drop(semaphore.acquire_timeout(HANG).unwrap());
    "Event", named!(Event,),
        |event, meanwhile| { event.set(); meanwhile(); assert!(event.wait_timeout(HANG)) },
        |event| event.set();
    "Barrier", named!(Barrier, 3),
        |barrier, meanwhile| { let _party = barrier.party().unwrap(); meanwhile() },
        |barrier| drop(barrier.party().unwrap());
    "Queue", |_| { let queue = Queue::<u32>::new().unwrap(); [queue.clone(), queue] },
        |queue, meanwhile| { queue.put(&1).unwrap(); meanwhile(); queue.get_timeout(HANG).unwrap(); },
        |queue| { queue.put(&1).unwrap(); queue.get_timeout(HANG).unwrap(); };
    "SimpleQueue", |_| { let queue = SimpleQueue::<u32>::new().unwrap(); [queue.clone(), queue] },
        |queue, meanwhile| { queue.put(&1).unwrap(); meanwhile(); queue.get().unwrap(); },
        |queue| { queue.put(&1).unwrap(); queue.get().unwrap(); };
    "JoinableQueue", |_| { let queue = JoinableQueue::<u32>::new().unwrap(); [queue.clone(), queue] },
        |queue, meanwhile| {
            queue.put(&1).unwrap();
            let task = queue.get_timeout(HANG).unwrap();
            meanwhile();
            task.done();
        },
        |queue| { queue.put(&1).unwrap(); queue.get_timeout(HANG).unwrap().done(); };
    "Connection", |_| { let (one, other) = mp::duplex::<u32, u32>().unwrap(); [one, other] },
        |end, meanwhile| { drop(end.send(&1)); meanwhile(); drop(end.try_recv()) },
        |end| drop(end.send(&1));
    "Array, received", |_| received(Array::<u8>::zeroed(1 << 20).unwrap()),
        |array, meanwhile| { let _guard = array.lock_timeout(HANG).unwrap(); meanwhile() },
        |array| drop(array.lock_timeout(HANG).unwrap());
    "RwLock, received", |_| received(RwLock::new(0_u64).unwrap()),
        |lock, meanwhile| { let _guard = lock.write_timeout(HANG).unwrap(); meanwhile() },
        |lock| drop(lock.read_timeout(HANG).unwrap());
    "JoinableQueue, received", |_| received(JoinableQueue::<u32>::new().unwrap()),
        |queue, meanwhile| {
            queue.put(&1).unwrap();
            let task = queue.get_timeout(HANG).unwrap();
            meanwhile();
            task.done();
        },
        |queue| { queue.put(&1).unwrap(); queue.get_timeout(HANG).unwrap().done(); };
};

/// Returns two handles that arrived in messages.
fn received<T: Serialize + DeserializeOwned>(object: T) -> [T; 2] {
    let (sender, receiver) = mp::pipe::<T>().unwrap();
    [(); 2].map(|()| {
        sender.send(&object).unwrap();
        receiver.recv().unwrap()
    })
}
