//! Every object of shared memory through a pipe, in both directions, and what is of the wrong type.

use std::os::fd::AsFd;

use mp::{
    Array, Barrier, BoundedSemaphore, Condition, Connection, Event, Lock, LockError, RLock, RawArray,
    RawValue, Receiver, RecvError, Semaphore, Value, duplex, pipe,
};
use mp_sys::testing::{PATIENCE, spawn, succeeded, tests};
use serde::{Deserialize, Serialize};

tests! {
    every_object_reaches_a_child_that_is_older,
    every_object_comes_back_from_a_child_and_outlives_it,
    many_objects_in_one_message,
    an_object_goes_through_many_hands,
    another_type_of_message_is_refused,
    another_type_of_object_is_refused,
}

/// One of each.
#[derive(Debug, Serialize, Deserialize)]
struct Everything {
    value: Value<[u64; 3]>,
    array: Array<u32>,
    raw_value: RawValue<i64>,
    /// Too large for a chunk: it has a mapping of its own.
    raw_array: RawArray<u64>,
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
}

const LARGE: usize = 100_000;

impl Everything {
    fn new() -> Self {
        Self {
            value: Value::new([1, 2, 3]).unwrap(),
            array: Array::from_slice(&[1, 2, 3]).unwrap(),
            raw_value: RawValue::new(40).unwrap(),
            raw_array: RawArray::zeroed(LARGE).unwrap(),
            lock: Lock::new().unwrap(),
            rlock: RLock::new().unwrap(),
            semaphore: Semaphore::new(3).unwrap(),
            bounded: BoundedSemaphore::new(2).unwrap(),
            event: Event::new().unwrap(),
            condition: Condition::new().unwrap(),
            barrier: Barrier::new(2).unwrap(),
        }
    }

    /// What one process does with each, while another one looks.
    fn use_each(&self) {
        assert_eq!(self.value.update(|[a, b, c]| [a + 1, b + 1, c + 1]), Ok([1, 2, 3]));
        self.array.write_all(&[4, 5, 6]).unwrap();
        self.raw_value.fetch_add(2);
        self.raw_array.set(LARGE - 1, 7).unwrap();
        let held = (self.lock.lock().unwrap(), self.rlock.lock().unwrap(), self.rlock.lock().unwrap());
        let permits = (self.semaphore.acquire(), self.bounded.acquire());
        self.event.set();
        // The other one looks here.
        self.barrier.wait_timeout(PATIENCE).unwrap();
        self.barrier.wait_timeout(PATIENCE).unwrap();
        permits.0.forget();
        drop((permits.1, held));
        self.value.update(|[a, ..]| [a, 0, 0]).unwrap();
        // Unless the waiter is there already, it finds the value changed.
        self.condition.notify_all();
    }

    fn look_at_each(&self) {
        assert!(self.event.wait_timeout(PATIENCE));
        self.barrier.wait_timeout(PATIENCE).unwrap();
        assert_eq!(self.value.get(), Ok([2, 3, 4]));
        assert_eq!(self.array.to_vec().unwrap(), [4, 5, 6]);
        assert_eq!((self.raw_value.load(), self.raw_array.get(LARGE - 1)), (42, Ok(7)));
        assert!(matches!(self.lock.try_lock(), Err(LockError::WouldBlock)));
        assert!(matches!(self.rlock.try_lock(), Err(LockError::WouldBlock)));
        assert_eq!((self.semaphore.available(), self.bounded.available()), (2, 1));
        self.barrier.wait_timeout(PATIENCE).unwrap();
        let guard = self.value.lock_timeout(PATIENCE).unwrap();
        let waited = self.condition.wait_timeout_while(guard, PATIENCE, |value| value[1] != 0);
        drop(waited.unwrap());
        drop((self.lock.lock_timeout(PATIENCE).unwrap(), self.rlock.lock_timeout(PATIENCE).unwrap()));
    }

    fn look_at_what_is_left(&self) {
        assert_eq!(self.value.get(), Ok([2, 0, 0]));
        assert_eq!((self.semaphore.available(), self.bounded.available()), (2, 2), "one was forgotten");
        assert!(!self.lock.is_poisoned() && !self.rlock.is_poisoned());
        assert_eq!(self.barrier.is_broken(), Ok(false));
    }
}

fn every_object_reaches_a_child_that_is_older() {
    let (sender, receiver) = pipe::<Everything>().unwrap();
    let child = spawn(|| receiver.recv_timeout(PATIENCE).unwrap().use_each());
    let all = Everything::new();
    sender.send(&all).unwrap();
    all.look_at_each();
    succeeded(&child);
    all.look_at_what_is_left();
}

fn every_object_comes_back_from_a_child_and_outlives_it() {
    let (here, there) = duplex::<Everything, Everything>().unwrap();
    let child = spawn(|| {
        // Its own objects, in memory that the parent never had.
        let own = Everything::new();
        there.send(&own).unwrap();
        own.use_each();
        // And the same ones again, from the other direction.
        there.recv_timeout(PATIENCE).unwrap().look_at_what_is_left();
    });
    let all = here.recv_timeout(PATIENCE).unwrap();
    all.look_at_each();
    here.send(&all).unwrap();
    succeeded(&child);
    all.look_at_what_is_left();
    assert_eq!(all.value.replace([9; 3]), Ok([2, 0, 0]));
}

fn many_objects_in_one_message() {
    const MANY: usize = 5000;
    let (sender, receiver) = pipe::<Vec<RawValue<u64>>>().unwrap();
    let child = spawn(|| {
        let values = receiver.recv_timeout(PATIENCE).unwrap();
        values.iter().zip(0..).for_each(|(value, n)| assert_eq!(value.fetch_add(1), n));
    });
    // All of one chunk take one descriptor, so there may be more of them than a message has descriptors.
    let values: Vec<_> = (0..MANY as u64).map(|n| RawValue::new(n).unwrap()).collect();
    sender.send(&values).unwrap();
    succeeded(&child);
    assert!(values.iter().zip(1..).all(|(value, n)| value.load() == n));
}

fn an_object_goes_through_many_hands() {
    type Ends = (Connection<Value<u64>, Value<u64>>, Connection<Value<u64>, Value<u64>>);
    const HANDS: usize = 5;
    let links: Vec<Ends> = (0..=HANDS).map(|_| duplex().unwrap()).collect();
    let children: Vec<_> = links
        .windows(2)
        .map(|links| {
            spawn(|| {
                let value = links[0].1.recv_timeout(PATIENCE).unwrap();
                value.update(|n| n + 1).unwrap();
                links[1].0.send(&value).unwrap();
            })
        })
        .collect();
    let value = Value::new(10_u64).unwrap();
    links[0].0.send(&value).unwrap();
    let arrived = links[HANDS].1.recv_timeout(PATIENCE).unwrap();
    // Those in between have dropped theirs.
    children.iter().for_each(succeeded);
    arrived.update(|n| n * 2).unwrap();
    assert_eq!(value.get(), Ok(30));
}

/// The same end, in a program that expects something else.
fn as_other<T, U>(receiver: &Receiver<T>) -> Receiver<U> {
    Receiver::from_fd(receiver.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

fn another_type_of_message_is_refused() {
    let (sender, receiver) = pipe::<Value<u32>>().unwrap();
    let child = spawn(|| {
        let other = as_other::<_, Value<i32>>(&receiver);
        let refused = other.recv_timeout(PATIENCE).unwrap_err();
        assert!(matches!(refused, RecvError::WrongType { .. }), "{refused:?}");
        assert!(refused.to_string().contains("type"), "{refused}");
        // The stream goes on.
        assert_eq!(receiver.recv_timeout(PATIENCE).unwrap().get(), Ok(6));
    });
    for n in [5, 6] {
        sender.send(&Value::new(n).unwrap()).unwrap();
    }
    succeeded(&child);
}

/// Two programs with a type of the same name.
mod sends {
    #[derive(Debug, serde::Serialize)]
    pub(super) struct Job(pub(super) mp::Value<u32>);
}

mod expects {
    #[derive(Debug, serde::Deserialize)]
    pub(super) struct Job(#[expect(dead_code, reason = "never decoded")] pub(super) mp::Value<f32>);
}

fn another_type_of_object_is_refused() {
    let (sender, receiver) = pipe::<sends::Job>().unwrap();
    let child = spawn(|| {
        let refused = as_other::<_, expects::Job>(&receiver).recv_timeout(PATIENCE).unwrap_err();
        let RecvError::Decode { reason, .. } = refused else { panic!("{refused:?}") };
        assert!(reason.contains("another kind of object"), "{reason}");
    });
    let value = Value::new(5).unwrap();
    sender.send(&sends::Job(value)).unwrap();
    succeeded(&child);
}
