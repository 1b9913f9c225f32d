//! A process that becomes another program while it holds something. The kernel releases its locks. Words with its stamp stay,
//! since the process lives on.

use std::os::unix::process::CommandExt;
use std::process::Command;

use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, eventually, kill, spawn, succeeded, tests};
use shm_core::{Array, Barrier, BarrierError, Condition, Lock, LockError, RLock, RawValue, Semaphore, Value};

use super::LOOKS;

tests! {
    locks_pass_on_at_once,
    permits_stay_until_the_process_ends,
    a_notification_waits_until_the_process_ends,
    a_party_stays_until_the_process_ends,
}

/// Replaces this process by a program that waits to be killed.
pub(super) fn become_another_program() {
    let failed = Command::new("sleep").arg("1000").exec();
    panic!("no sleep(1): {failed}");
}

/// Waits until a child has become another program.
pub(super) fn has_become_another_program(child: &ChildProcess) {
    let name = || std::fs::read_to_string(format!("/proc/{}/comm", child.id()));
    eventually("the child is another program", || name().is_ok_and(|name| name == "sleep\n"));
}

fn locks_pass_on_at_once() {
    let (lock, rlock) = (Lock::new().unwrap(), RLock::new().unwrap());
    let (value, array) = (Value::new(0_u64).unwrap(), Array::<u64>::zeroed(2).unwrap());
    let child = spawn(|| {
        let _first = (lock.lock().unwrap(), rlock.lock().unwrap(), rlock.lock().unwrap());
        let _second = (value.lock().unwrap(), array.lock().unwrap());
        become_another_program();
    });
    has_become_another_program(&child);
    assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
    assert!(matches!(rlock.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
    assert!(matches!(value.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
    assert!(matches!(array.lock_timeout(PATIENCE), Err(LockError::Poisoned(_))));
    kill(&child);
}

fn permits_stay_until_the_process_ends() {
    let semaphore = Semaphore::new(1).unwrap();
    let child = spawn(|| {
        let _permit = semaphore.acquire();
        become_another_program();
    });
    has_become_another_program(&child);
    assert!(semaphore.acquire_timeout(LOOKS).is_err(), "the process lives");
    kill(&child);
    drop(semaphore.acquire_timeout(PATIENCE).unwrap());
}

fn a_notification_waits_until_the_process_ends() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let woken = RawValue::new(0_u32).unwrap();
    let wait = || {
        drop(condition.wait(lock.lock().unwrap()).unwrap());
        woken.fetch_add(1);
    };
    let child = spawn(|| {
        std::thread::scope(|scope| {
            std::thread::Builder::new().spawn_scoped(scope, wait).unwrap();
            eventually("the thread waits", || condition.n_waiting() == 1);
            become_another_program();
        });
    });
    has_become_another_program(&child);
    let second = spawn(wait);
    eventually("the second one waits", || condition.n_waiting() == 2);
    assert_eq!(condition.notify(1), 1, "the one who came first");
    assert_eq!(second.wait(mp_sys::deadline::Deadline::after(LOOKS)), Ok(None));
    kill(&child);
    succeeded(&second);
    assert_eq!(woken.load(), 1);
}

fn a_party_stays_until_the_process_ends() {
    let barrier = Barrier::new(2).unwrap();
    let child = spawn(|| {
        let _party = barrier.party().unwrap();
        become_another_program();
    });
    has_become_another_program(&child);
    let other = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken)));
    eventually("the other one waits", || barrier.n_waiting() == Ok(1));
    assert_eq!(other.wait(mp_sys::deadline::Deadline::after(LOOKS)), Ok(None), "nobody died");
    kill(&child);
    succeeded(&other);
}
