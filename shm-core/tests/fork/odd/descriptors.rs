//! No free descriptor: operations that need none work, and operations that need one return an error.

use std::fs::File;

use mp_sys::identity::Stamp;
use mp_sys::testing::{PATIENCE, eventually, hang, kill, spawn, succeeded, tests};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shm_core::{
    Array, Barrier, BarrierError, BoundedSemaphore, Condition, Event, Lock, MemoryError, RLock, RawArray,
    RawValue, RwLock, Semaphore, SemaphoreError, Value,
};

use super::LOOKS;
use crate::sync::hold_a_permit;

tests! {
    every_operation_goes_on,
    new_objects_are_refused,
    no_living_process_is_taken_for_dead,
    a_dead_child_is_noticed_before_it_is_reaped,
    a_dead_process_is_noticed_once_it_is_reaped,
    the_death_of_a_process_without_descriptors_is_noticed,
}

/// Opens files until there is no free descriptor.
fn take_all_descriptors() -> Vec<File> {
    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let files: Vec<File> = std::iter::repeat_with(|| File::open("/dev/null")).map_while(Result::ok).collect();
    assert!(!files.is_empty());
    files
}

/// Two processes without a descriptor from their first operation on.
fn every_operation_goes_on() {
    const ROUNDS: u32 = 300;
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    let (value, array) = (Value::new(0_u32).unwrap(), Array::<u32>::zeroed(2).unwrap());
    let table = RwLock::new(0_u32).unwrap();
    let (semaphore, bounded) = (Semaphore::new(1).unwrap(), BoundedSemaphore::new(1).unwrap());
    let (event, barrier) = (Event::new().unwrap(), Barrier::new(2).unwrap());
    let (turn, changed) = (Value::new(0_u32).unwrap(), Condition::new().unwrap());
    let work = |me: u32| {
        let _files = take_all_descriptors();
        let party = barrier.party().unwrap();
        for round in 0..ROUNDS {
            party.wait_timeout(PATIENCE).unwrap();
            drop((lock.lock().unwrap(), rlock.lock().unwrap(), rlock.lock().unwrap()));
            drop((semaphore.acquire(), bounded.acquire_timeout(PATIENCE).unwrap()));
            value.update(|n| n + 1).unwrap();
            array.lock().unwrap()[0] += 1;
            *table.write().unwrap() += 1;
            assert!(*table.read().unwrap() > round);
            let others_turn = |turn: &mut u32| *turn != 2 * round + me;
            let waited = changed.wait_timeout_while(turn.lock().unwrap(), PATIENCE, others_turn).unwrap();
            let (is_own_turn, mut guard) = waited;
            assert!(is_own_turn);
            *guard += 1;
            changed.notify(1);
        }
        if me == 0 {
            event.set();
        } else {
            assert!(event.wait_timeout(PATIENCE));
        }
    };
    let both = [0, 1].map(|me| spawn(move || work(me)));
    both.iter().for_each(succeeded);
    assert_eq!((value.get(), array.get(0)), (Ok(2 * ROUNDS), Ok(2 * ROUNDS)));
    assert_eq!(*table.read().unwrap(), 2 * ROUNDS);
    assert_eq!((semaphore.available(), bounded.available()), (1, 1));
}

fn new_objects_are_refused() {
    let files = take_all_descriptors();
    let refused = MemoryError::OutOfDescriptors;
    assert_eq!(Lock::new().map(drop), Err(refused));
    assert_eq!(RLock::new().map(drop), Err(refused));
    assert_eq!(Event::new().map(drop), Err(refused));
    assert_eq!(Condition::new().map(drop), Err(refused));
    assert_eq!(RwLock::new(1).map(drop), Err(refused));
    assert_eq!(Value::new(1).map(drop), Err(refused));
    assert_eq!(RawValue::new(1).map(drop), Err(refused));
    assert_eq!(Array::<u8>::zeroed(1).map(drop), Err(refused));
    assert_eq!(RawArray::<u8>::zeroed(1).map(drop), Err(refused));
    assert_eq!(Semaphore::new(1).map(drop), Err(SemaphoreError::Memory(refused)));
    assert_eq!(BoundedSemaphore::new(1).map(drop), Err(SemaphoreError::Memory(refused)));
    assert_eq!(Barrier::new(1).map(drop), Err(BarrierError::Memory(refused)));
    drop(files);
    drop(Lock::new().unwrap());
}

fn no_living_process_is_taken_for_dead() {
    let (semaphore, barrier) = (Semaphore::new(1).unwrap(), Barrier::new(3).unwrap());
    let holder = hold_a_permit(&semaphore);
    let other = spawn(|| assert!(barrier.wait_timeout(PATIENCE).is_ok()));
    let asker = spawn(|| {
        // A sibling of the holder, not its parent, so it asks the kernel by id.
        let _files = take_all_descriptors();
        assert_eq!(semaphore.acquire_timeout(LOOKS).map(drop), Err(SemaphoreError::TimedOut));
        assert!(barrier.wait_timeout(PATIENCE).is_ok());
    });
    eventually("both wait", || barrier.n_waiting() == Ok(2));
    let files = take_all_descriptors();
    assert_eq!(semaphore.acquire_timeout(LOOKS).map(drop), Err(SemaphoreError::TimedOut));
    barrier.wait_timeout(PATIENCE).unwrap();
    drop(files);
    [asker, other].iter().for_each(succeeded);
    kill(&holder);
}

fn a_dead_child_is_noticed_before_it_is_reaped() {
    let semaphore = Semaphore::new(1).unwrap();
    let holder = hold_a_permit(&semaphore);
    let files = take_all_descriptors();
    holder.signal(9).unwrap();
    drop(semaphore.acquire_timeout(PATIENCE).unwrap());
    drop(files);
    kill(&holder);
}

fn a_dead_process_is_noticed_once_it_is_reaped() {
    let semaphore = Semaphore::new(1).unwrap();
    let holder = hold_a_permit(&semaphore);
    let waits = RawValue::new(false).unwrap();
    let asker = spawn(|| {
        let _files = take_all_descriptors();
        assert!(semaphore.try_acquire().is_err());
        waits.store(true);
        drop(semaphore.acquire_timeout(PATIENCE).unwrap());
    });
    eventually("a process waits", || waits.load());
    kill(&holder);
    succeeded(&asker);
}

/// Its stamp has no start time, so only its id identifies it.
fn the_death_of_a_process_without_descriptors_is_noticed() {
    let semaphore = Semaphore::new(1).unwrap();
    let stamp = RawValue::new(0_u64).unwrap();
    let holder = spawn(|| {
        let files = take_all_descriptors();
        let _permit = semaphore.acquire();
        drop(files);
        let own = Stamp::current().to_bits();
        assert_eq!((own >> 22) & 0x3ff_ffff, 0, "no birth");
        stamp.store(own);
        hang();
    });
    eventually("the child has a permit", || stamp.load() != 0);
    assert!(Stamp::from_bits(stamp.load()).unwrap().is_alive());
    assert!(semaphore.try_acquire().is_err());
    kill(&holder);
    drop(semaphore.try_acquire().unwrap());
}
