//! A waiter that is frozen by SIGSTOP and then killed delays nobody else, at either moment.

use mp_sys::child::{ChildProcess, Ended};
use mp_sys::deadline::Deadline;
use mp_sys::testing::{
    PATIENCE, ended, eventually, hang, is_in_state, kill, spawn, spawn_holding, succeeded, tests,
};
use shm_core::{
    Array, Barrier, BarrierError, BoundedSemaphore, Condition, Event, Lock, LockError, RLock, RawValue,
    Semaphore, Value,
};

use super::LOOKS;

tests! {
    a_frozen_waiter_for_a_lock,
    a_frozen_waiter_for_an_rlock,
    a_frozen_waiter_for_a_value_or_an_array,
    a_frozen_writer_delays_no_reader,
    a_frozen_waiter_for_a_permit,
    a_frozen_waiter_for_an_event,
    a_frozen_waiter_for_a_notification,
    a_frozen_party,
}

const SIGSTOP: i32 = 19;

/// Waits until a process sleeps in the kernel (`S`), or is stopped there (`T`).
fn in_state(process: &ChildProcess, state: char) {
    eventually("the process sleeps or is stopped", || is_in_state(process.id(), state));
}

/// Starts a process that waits in `wait`, and stops it there.
pub(super) fn frozen(wait: impl FnOnce()) -> ChildProcess {
    let begins = RawValue::new(false).unwrap();
    // The processes here do not use guards that the caller holds.
    let process = spawn_holding(|| {
        begins.store(true);
        wait();
    });
    eventually("it begins", || begins.load());
    in_state(&process, 'S');
    process.signal(SIGSTOP).unwrap();
    in_state(&process, 'T');
    process
}

/// A writer is stopped while it has the lock and lends nothing, so values can be read as they were.
fn a_frozen_writer_delays_no_reader() {
    let (small, large) = (Value::new(1_u64).unwrap(), Value::new([1_u64; 40]).unwrap());
    let holds = RawValue::new(0_u32).unwrap();
    let inside = || -> ! {
        holds.fetch_add(1);
        hang()
    };
    let writers = [spawn(|| _ = small.update(|_| inside())), spawn(|| _ = large.update(|_| inside()))];
    eventually("both have the lock", || holds.load() == 2);
    for writer in &writers {
        writer.signal(SIGSTOP).unwrap();
        in_state(writer, 'T');
    }
    succeeded(&spawn(|| {
        assert!(matches!(small.try_lock(), Err(LockError::WouldBlock)));
        assert_eq!(small.get(), Ok(1));
        assert!(matches!(large.try_lock(), Err(LockError::WouldBlock)));
        assert_eq!(large.get(), Ok([1; 40]));
    }));
    writers.iter().for_each(kill);
    assert_eq!((small.replace(2), large.replace([2; 40])), (Ok(1), Ok([1; 40])));
    assert_eq!((small.get(), large.get()), (Ok(2), Ok([2; 40])));
}

/// `hold` holds what `wait` waits for. Others get it while a waiter is frozen, and after the waiter was killed.
pub(super) fn others_go_on<G>(hold: impl Fn() -> Option<G>) {
    let first = hold().unwrap();
    let waiter = frozen(|| drop(hold().unwrap()));
    let next = spawn_holding(|| drop(hold().unwrap()));
    in_state(&next, 'S');
    drop(first);
    succeeded(&next);
    let held = hold().unwrap();
    kill(&waiter);
    let next = spawn_holding(|| drop(hold().unwrap()));
    in_state(&next, 'S');
    drop(held);
    succeeded(&next);
    drop(hold().unwrap());
}

/// It is not poisoned, because no holder died.
pub(super) fn clean<G>(taken: Result<G, LockError<G>>) -> Option<G> {
    taken.ok()
}

fn a_frozen_waiter_for_a_lock() {
    let lock = Lock::new().unwrap();
    others_go_on(|| clean(lock.lock_timeout(PATIENCE)));
}

fn a_frozen_waiter_for_an_rlock() {
    let lock = RLock::new().unwrap();
    others_go_on(|| clean(lock.lock_timeout(PATIENCE)));
}

fn a_frozen_waiter_for_a_value_or_an_array() {
    let (value, array) = (Value::new(1).unwrap(), Array::<u8>::zeroed(3).unwrap());
    others_go_on(|| clean(value.lock_timeout(PATIENCE)));
    others_go_on(|| clean(array.lock_timeout(PATIENCE)));
}

fn a_frozen_waiter_for_a_permit() {
    let semaphore = Semaphore::new(1).unwrap();
    others_go_on(|| semaphore.acquire_timeout(PATIENCE).ok());
    assert_eq!(semaphore.available(), 1);
    let bounded = BoundedSemaphore::new(1).unwrap();
    others_go_on(|| bounded.acquire_timeout(PATIENCE).ok());
    assert_eq!(bounded.available(), 1);
}

fn a_frozen_waiter_for_an_event() {
    let event = Event::new().unwrap();
    let waiter = frozen(|| event.wait());
    for is_dead in [false, true] {
        if is_dead {
            kill(&waiter);
        }
        let next = spawn(|| assert!(event.wait_timeout(PATIENCE)));
        in_state(&next, 'S');
        event.set();
        succeeded(&next);
        event.clear();
    }
}

/// The frozen waiter is chosen, since it came first. It keeps its notification as long as it lives.
fn a_frozen_waiter_for_a_notification() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let wait = || {
        let (notified, guard) = condition.wait_timeout(lock.lock().unwrap(), PATIENCE).unwrap();
        assert!(notified);
        drop(guard);
    };
    let waiter = frozen(wait);
    let others = [(); 3].map(|()| {
        let before = condition.n_waiting();
        let other = spawn(wait);
        eventually("it waits", || condition.n_waiting() > before);
        other
    });
    let [second, third, fourth] = others;
    assert_eq!(condition.notify(2), 2, "notifying waits for nobody");
    succeeded(&second);
    assert_eq!(third.wait(Deadline::after(LOOKS)), Ok(None));
    kill(&waiter);
    succeeded(&third);
    assert_eq!(condition.notify_all(), 1);
    succeeded(&fourth);
}

/// A frozen party that has arrived passes with the others. If it is registered, the next round needs it, so the others wait
/// until it is dead and they notice that.
fn a_frozen_party() {
    let barrier = Barrier::new(2).unwrap();
    let waiter = frozen(|| assert!(barrier.party().unwrap().wait_timeout(PATIENCE).is_ok()));
    assert_eq!(barrier.wait_timeout(PATIENCE), Ok(1));
    let waits = || assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken));
    let soon = barrier.wait_timeout(LOOKS);
    assert_eq!(soon, Err(BarrierError::TimedOut), "a frozen party is alive");
    barrier.reset().unwrap();
    let killer = spawn(|| {
        eventually("a process waits", || barrier.n_waiting() == Ok(1));
        assert!(waiter.signal(9).is_ok());
    });
    waits();
    succeeded(&killer);
    assert_eq!(ended(&waiter), Ended::Signaled(9));
}
