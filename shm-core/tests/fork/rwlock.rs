//! `RwLock` between processes: deaths of its holders, forks while guards exist, and its name.

use std::cell::Cell;
use std::mem::{ManuallyDrop, forget};
use std::panic::{AssertUnwindSafe, catch_unwind};

use mp_sys::child::{Ended, ForkError, fork};
use mp_sys::robust::held_count;
use mp_sys::testing::{PATIENCE, ended, eventually, hang, kill, spawn, spawn_holding, succeeded, tests};
use shm_core::{LockError, NameError, RawValue, RwLock, Value};

tests! {
    a_dead_reader_does_not_block_a_writer,
    a_dead_writer_poisons,
    a_writer_that_dies_while_it_waits_poisons_nothing,
    fork_is_refused_while_a_guard_reads,
    an_inherited_reader_does_nothing,
    a_thread_that_ends_with_a_leaked_reader_ends_the_process,
    the_name_of_an_rwlock,
}

/// Starts a process that runs `take`, reports that, and goes on for ever.
fn holding<G>(take: impl FnOnce() -> G) -> mp_sys::child::ChildProcess {
    let holds = RawValue::new(false).unwrap();
    let child = spawn(|| {
        let _guard = take();
        holds.store(true);
        hang();
    });
    eventually("the child holds", || holds.load());
    child
}

fn a_dead_reader_does_not_block_a_writer() {
    let lock = RwLock::new(1_u32).unwrap();
    let reader = holding(|| lock.read().unwrap());
    assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
    kill(&reader);
    *lock.try_write().unwrap() = 2;
    let reader = holding(|| lock.read().unwrap());
    let waits = RawValue::new(false).unwrap();
    let writer = spawn(|| {
        waits.store(true);
        *lock.write_timeout(PATIENCE).unwrap() = 3;
    });
    eventually("the writer is about to wait", || waits.load());
    kill(&reader);
    succeeded(&writer);
    assert_eq!(*lock.read().unwrap(), 3);
}

fn a_dead_writer_poisons() {
    let lock = RwLock::new([1_u64; 9]).unwrap();
    let writer = holding(|| lock.write().map(|mut value| value[0] = 5));
    kill(&writer);
    assert_eq!(lock.read().unwrap()[0], 5, "it had left the lock");
    kill(&holding(|| {
        let mut value = ManuallyDrop::new(lock.write().unwrap());
        value[0] = 6;
    }));
    assert_eq!(lock.read().unwrap_err().into_poisoned().unwrap()[0], 6);
    assert!(matches!(lock.try_write(), Err(LockError::Poisoned(_))));
    lock.clear_poison();
    assert!(lock.read().is_ok());
}

fn a_writer_that_dies_while_it_waits_poisons_nothing() {
    let lock = RwLock::new(1_u32).unwrap();
    let reader = holding(|| lock.read().unwrap());
    let writer = spawn(|| drop(lock.write()));
    eventually("the writer waits", || matches!(lock.try_read(), Err(LockError::WouldBlock)));
    kill(&writer);
    assert_eq!(*lock.read_timeout(PATIENCE).unwrap(), 1);
    kill(&reader);
    assert_eq!(*lock.write_timeout(PATIENCE).unwrap(), 1);
}

fn fork_is_refused_while_a_guard_reads() {
    let lock = RwLock::new(1_u32).unwrap();
    let guards = (lock.read().unwrap(), lock.read().unwrap());
    assert_eq!(fork(|| 0).map(|child| child.id()), Err(ForkError::GuardHeld(2)));
    drop(guards);
    succeeded(&fork(|| 0).unwrap());
}

fn an_inherited_reader_does_nothing() {
    let lock = RwLock::new(1_u32).unwrap();
    let inherited = Cell::new(Some(lock.read().unwrap()));
    let child = spawn_holding(|| {
        let inherited = inherited.take().unwrap();
        assert_eq!(held_count(), 0);
        let used = catch_unwind(AssertUnwindSafe(|| *inherited));
        assert!(used.is_err(), "nothing keeps writers out");
        let own = lock.read().unwrap();
        drop(inherited);
        assert!(matches!(lock.write(), Err(LockError::Deadlock)), "its own guard is still there");
        assert_eq!(held_count(), 1);
        drop(own);
        assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)), "the parent reads");
    });
    succeeded(&child);
    drop(inherited.take());
    assert_eq!(*lock.try_write().unwrap(), 1);
}

fn a_thread_that_ends_with_a_leaked_reader_ends_the_process() {
    let lock = RwLock::new(1_u32).unwrap();
    let child = spawn(|| {
        std::thread::scope(|scope| {
            let leak = || forget(lock.read().unwrap());
            std::thread::Builder::new().spawn_scoped(scope, leak).unwrap().join().unwrap();
        });
    });
    assert_eq!(ended(&child), Ended::Signaled(6));
    assert_eq!(*lock.try_write().unwrap(), 1);
}

fn the_name_of_an_rwlock() {
    let name = format!("test-{}-rwlock", rustix::process::getpid().as_raw_nonzero());
    let lock = RwLock::create(&name, [1_u16; 5]).unwrap();
    let reader = lock.read().unwrap();
    succeeded(&spawn_holding(|| {
        let opened = RwLock::<[u16; 5]>::open(&name).unwrap();
        assert_eq!(*opened.read().unwrap(), [1; 5]);
        assert!(matches!(opened.try_write(), Err(LockError::WouldBlock)));
        assert!(matches!(RwLock::<[u16; 4]>::open(&name), Err(NameError::WrongType { .. })));
        assert!(matches!(Value::<[u16; 5]>::open(&name), Err(NameError::WrongType { .. })));
    }));
    drop(reader);
    assert_eq!(RwLock::create(&name, 1_u8).map(drop), Err(NameError::Exists));
}
