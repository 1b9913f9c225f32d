//! More operations in the same crowds: those that take a lock more than once, release it in between, or take it for
//! only a few stores.

use std::time::Duration;

use mp::{Condition, JoinableQueue, LockError, Queue, RLock, Value};

use super::{Contended, at_moments, at_points, under};
use crate::cell::define_cells;

/// A lock that its holder takes again, and releases in another order.
struct Nested(RLock);

impl Contended for Nested {
    fn make() -> Self {
        Self(RLock::new().unwrap())
    }

    fn operate(&self, hold: impl FnOnce()) {
        let lock = || self.0.lock().or_else(|error| error.into_poisoned().ok_or(()));
        let outer = lock().unwrap();
        self.0.clear_poison();
        let inner = lock().unwrap();
        hold();
        drop(outer);
        let innermost = lock().unwrap();
        drop(inner);
        drop(innermost);
    }
}

/// A value that is replaced without a guard: the lock is the thread's pending operation, and in no list.
struct Set(Value<[u64; 9]>);

impl Contended for Set {
    fn make() -> Self {
        Self(Value::new([0; 9]).unwrap())
    }

    fn operate(&self, hold: impl FnOnce()) {
        hold();
        self.0.set([1; 9]).unwrap();
        self.0.set([2; 9]).unwrap();
        let found = self.0.get().unwrap();
        assert!(found == [1; 9] || found == [2; 9], "{found:?} is torn");
    }

    fn go_on(&self) {
        self.0.set([1; 9]).unwrap();
        self.0.set([2; 9]).unwrap();
    }
}

/// A condition on which the victim waits, with the lock before and after; the others notify.
struct Waited(Value<u64>, Condition);

/// The longest wait: a waiter whose notifier was killed goes on by itself.
const WAITS: Duration = Duration::from_millis(2);

impl Contended for Waited {
    fn make() -> Self {
        Self(Value::new(0).unwrap(), Condition::new().unwrap())
    }

    fn operate(&self, hold: impl FnOnce()) {
        let guard = match self.0.lock() {
            Ok(guard) => guard,
            Err(LockError::Poisoned(guard)) => {
                self.0.clear_poison();
                guard
            }
            Err(other) => panic!("{other}"),
        };
        hold();
        // The lock may have been poisoned meanwhile; the next round clears it.
        drop(self.1.wait_timeout(guard, WAITS));
    }

    fn go_on(&self) {
        let notify = || {
            self.1.notify(1);
        };
        under(self.0.lock(), || self.0.clear_poison(), notify);
    }
}

/// A queue whose victim puts and takes several items at once.
struct Many(Queue<u64>);

/// The number of items in one batch.
const BATCH: usize = 3;

impl Contended for Many {
    fn make() -> Self {
        Self(Queue::new().unwrap())
    }

    fn operate(&self, hold: impl FnOnce()) {
        hold();
        self.0.put_many(&[1; BATCH]).unwrap();
        drop(self.0.try_get_many(BATCH));
    }
}

/// A queue whose victim works on tasks.
struct Tasks(JoinableQueue<u64>);

impl Contended for Tasks {
    fn make() -> Self {
        Self(JoinableQueue::new().unwrap())
    }

    fn operate(&self, hold: impl FnOnce()) {
        self.0.put(&1).unwrap();
        if let Ok(task) = self.0.try_get() {
            hold();
            task.done();
        }
    }
}

define_cells! {
    RLOCK_NESTED_POINTS: "rlock", "every_point_of_nesting_in_a_crowd", at_points::<Nested>;
    VALUE_SET_POINTS: "value", "every_point_of_set_in_a_crowd", at_points::<Set>;
    CONDITION_WAIT_POINTS: "condition", "every_point_of_wait_in_a_crowd", at_points::<Waited>;
    QUEUE_MANY_POINTS: "queue", "every_point_of_many_in_a_crowd", at_points::<Many>;
    JOINABLE_POINTS: "joinable_queue", "every_point_in_a_crowd", at_points::<Tasks>;
    RLOCK_NESTED_MOMENTS: "rlock", "nested_in_a_crowd", at_moments::<Nested>;
    VALUE_SET_MOMENTS: "value", "set_in_a_crowd", at_moments::<Set>;
    CONDITION_WAIT_MOMENTS: "condition", "wait_in_a_crowd", at_moments::<Waited>;
    QUEUE_MANY_MOMENTS: "queue", "many_in_a_crowd", at_moments::<Many>;
    JOINABLE_MOMENTS: "joinable_queue", "in_a_crowd", at_moments::<Tasks>;
}
