//! Two PID namespaces whose processes and threads have equal ids.

use std::cell::Cell;
use std::fs;

use mp_sys::child::ChildProcess;
use mp_sys::identity::{Stamp, current_thread};
use mp_sys::testing::{
    PATIENCE, eventually, hang, kill, skip, spawn, spawn_in_new_pid_namespace, succeeded, tests,
};
use shm_core::{Array, Barrier, Condition, Event, Lock, LockError, RLock, RawValue, Semaphore, Value};

use super::LOOKS;

tests! {
    equal_ids_exclude_each_other,
    a_lock_passes_on_when_its_holder_in_another_namespace_dies,
    a_killed_waiter_is_mistaken_for_a_holder_with_the_same_id,
    an_rlock_is_entered_by_one_of_two_equal_ids,
    a_permit_of_another_namespace_is_not_taken_away,
    a_place_of_another_namespace_is_not_taken_away,
    a_party_of_another_namespace_is_not_taken_for_dead,
    a_lock_held_by_a_thread_with_an_equal_id_keeps_memory_needlessly,
}

/// Runs `test` in a process with id 1. [`peer`] starts another one.
pub(super) fn with_id_1(test: impl FnOnce()) {
    let outside = RawValue::new(0_u64).unwrap();
    let run = || {
        assert_eq!((Stamp::current().pid(), current_thread()), (1, 1));
        test();
        outside.store(Stamp::current().to_bits());
    };
    match spawn_in_new_pid_namespace(run) {
        Ok(process) => succeeded(&process),
        Err(why) => skip(why),
    }
    // It has ended, but this process cannot know that.
    assert!(Stamp::from_bits(outside.load()).unwrap().is_alive());
}

/// Starts the other process with id 1, and returns when that is ready.
pub(super) fn peer(is_ready: &Event, body: impl FnOnce(&dyn Fn())) -> ChildProcess {
    let peer = spawn_in_new_pid_namespace(|| {
        assert_eq!((Stamp::current().pid(), current_thread()), (1, 1));
        body(&|| is_ready.set());
    });
    let peer = peer.unwrap();
    assert!(is_ready.wait_timeout(PATIENCE), "the peer is ready");
    peer
}

fn equal_ids_exclude_each_other() {
    const ROUNDS: u64 = 20_000;
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    let (value, array) = (Value::new([0_u64; 2]).unwrap(), Array::<u64>::zeroed(2).unwrap());
    let count = [(); 2].map(|()| RawValue::new(0_u64).unwrap());
    let raise = |count: &RawValue<u64>| count.store(count.load() + 1);
    let work = || {
        for _ in 0..ROUNDS {
            let held = lock.lock().unwrap();
            raise(&count[0]);
            drop(held);
            let held = (rlock.lock().unwrap(), rlock.lock().unwrap());
            raise(&count[1]);
            drop(held);
            let mut held = value.lock().unwrap();
            held[0] += 1;
            held[1] = held[0];
            drop(held);
            array.lock().unwrap()[1] += 1;
        }
    };
    with_id_1(|| {
        let other = spawn_in_new_pid_namespace(work);
        work();
        succeeded(&other.unwrap());
    });
    assert_eq!(count.map(|count| count.load()), [2 * ROUNDS; 2]);
    assert_eq!((value.get(), array.get(1)), (Ok([2 * ROUNDS; 2]), Ok(2 * ROUNDS)));
}

fn a_lock_passes_on_when_its_holder_in_another_namespace_dies() {
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    let (value, array) = (Value::new(0_u64).unwrap(), Array::<u64>::zeroed(2).unwrap());
    let ready = Event::new().unwrap();
    with_id_1(|| {
        let peer = peer(&ready, |is_ready| {
            let _first = (lock.lock().unwrap(), rlock.lock().unwrap());
            let _second = (value.lock().unwrap(), array.lock().unwrap());
            is_ready();
            hang();
        });
        assert!(matches!(lock.lock_timeout(LOOKS), Err(LockError::TimedOut)));
        assert!(matches!(value.try_lock(), Err(LockError::WouldBlock)));
        kill(&peer);
        assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
        assert!(matches!(rlock.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
        assert!(matches!(value.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
        assert!(matches!(array.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
    });
}

/// The kernel compares thread ids. If a waiter is killed while a thread with the same id in another namespace holds the lock,
/// the kernel takes the waiter for the holder. The guide names this limit. A process that gets the lock too early gets the
/// poison error.
fn a_killed_waiter_is_mistaken_for_a_holder_with_the_same_id() {
    let lock = Lock::new().unwrap();
    let (ready, holds, killed) = (Event::new().unwrap(), Event::new().unwrap(), Event::new().unwrap());
    let next = spawn(|| {
        assert!(killed.wait_timeout(PATIENCE));
        assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))), "not free in silence");
    });
    with_id_1(|| {
        let waiter = peer(&ready, |is_ready| {
            is_ready();
            // It is awake until it waits for the lock.
            eventually("the lock is held", || holds.is_set());
            drop(lock.lock());
        });
        let held = lock.lock().unwrap();
        holds.set();
        eventually("the waiter sleeps", is_a_child_asleep);
        kill(&waiter);
        killed.set();
        eventually("the next one was told", || lock.is_poisoned());
        drop(held);
    });
    succeeded(&next);
    lock.clear_poison();
    drop(lock.lock().unwrap());
}

/// Returns whether a child of this process waits in the kernel. /proc shows the ids of the namespace in which the test began.
fn is_a_child_asleep() -> bool {
    let own = fs::read_link("/proc/self").unwrap().into_os_string().into_string().unwrap();
    let is_it = |stat: &str| {
        let (_, fields) = stat.rsplit_once(") ").unwrap_or_default();
        fields.starts_with(&format!("S {own} "))
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut stats = processes.map(|process| fs::read_to_string(process.path().join("stat")));
    stats.any(|stat| stat.is_ok_and(|stat| is_it(&stat)))
}

fn an_rlock_is_entered_by_one_of_two_equal_ids() {
    let rlock = RLock::new().unwrap();
    let ready = Event::new().unwrap();
    with_id_1(|| {
        let peer = peer(&ready, |is_ready| {
            let _guards = [rlock.lock().unwrap(), rlock.lock().unwrap()];
            is_ready();
            hang();
        });
        assert!(matches!(rlock.try_lock(), Err(LockError::WouldBlock)));
        assert!(matches!(rlock.lock_timeout(LOOKS), Err(LockError::TimedOut)));
        kill(&peer);
        let told = rlock.lock_timeout(PATIENCE).unwrap_err().into_poisoned().unwrap();
        rlock.clear_poison();
        drop([rlock.lock().unwrap(), rlock.lock().unwrap()]);
        drop(told);
    });
}

fn a_permit_of_another_namespace_is_not_taken_away() {
    let semaphore = Semaphore::new(1).unwrap();
    let ready = Event::new().unwrap();
    with_id_1(|| {
        let peer = peer(&ready, |is_ready| {
            let _permit = semaphore.acquire();
            is_ready();
            hang();
        });
        assert!(semaphore.acquire_timeout(LOOKS).is_err(), "its holder lives");
        kill(&peer);
        assert!(semaphore.acquire_timeout(LOOKS).is_err(), "it is not known that its holder died");
        semaphore.add_permits(1).unwrap();
        drop(semaphore.acquire_timeout(PATIENCE).unwrap());
    });
}

fn a_place_of_another_namespace_is_not_taken_away() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let (ready, woken) = (Event::new().unwrap(), Event::new().unwrap());
    with_id_1(|| {
        let peer = peer(&ready, |is_ready| {
            let guard = lock.lock().unwrap();
            is_ready();
            drop(condition.wait(guard).unwrap());
            woken.set();
        });
        eventually("the peer waits", || condition.n_waiting() == 1);
        let (notified, guard) = condition.wait_timeout(lock.lock().unwrap(), LOOKS).unwrap();
        assert!(!notified);
        drop(guard);
        assert_eq!(condition.n_waiting(), 1, "it waits still");
        assert_eq!(condition.notify(1), 1);
        succeeded(&peer);
        assert!(woken.is_set());
    });
}

fn a_party_of_another_namespace_is_not_taken_for_dead() {
    let barrier = Barrier::new(3).unwrap();
    let ready = Event::new().unwrap();
    // A process of the outer namespace comes last.
    let last = spawn(|| {
        let both_wait = || barrier.n_waiting() == Ok(2);
        eventually("both wait", both_wait);
        assert!(!Event::new().unwrap().wait_timeout(LOOKS), "time goes by");
        assert!(both_wait(), "they wait still");
        barrier.wait_timeout(PATIENCE).unwrap();
    });
    with_id_1(|| {
        let pass = || assert!(barrier.wait_timeout(PATIENCE).is_ok());
        let peer = peer(&ready, |is_ready| {
            is_ready();
            pass();
        });
        pass();
        succeeded(&peer);
    });
    succeeded(&last);
}

/// A gap, see docs/SAFETY.md.
fn a_lock_held_by_a_thread_with_an_equal_id_keeps_memory_needlessly() {
    let array = Array::<u8>::zeroed(1 << 20).unwrap();
    let (is_ready, array) = (Event::new().unwrap(), Cell::new(Some(array)));
    with_id_1(|| {
        let array = array.take().unwrap();
        let holder = peer(&is_ready, |ready| {
            let _held = array.lock().unwrap();
            ready();
            hang();
        });
        let before = shm_core::memory_mapped();
        drop(array);
        assert_eq!(shm_core::memory_mapped(), before, "the holder has an id of this process");
        kill(&holder);
    });
}
