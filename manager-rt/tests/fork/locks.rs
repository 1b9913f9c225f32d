//! Locks and permits whose holder or whose waiter is killed.

use std::time::{Duration, Instant};

use manager_rt::{LockError, LockResult, Manager, SemaphoreError};
use mp_sys::child::ChildProcess;
use mp_sys::testing::{PATIENCE, hang, kill, spawn, succeeded, tests};

use crate::fixture::{until_held, until_waiting, with_manager};

tests! {
    the_holder_of_a_lock_is_killed,
    the_holder_of_an_rlock_is_killed,
    a_waiter_for_a_lock_is_killed,
    a_waiter_for_an_rlock_is_killed,
    the_holder_of_a_permit_is_killed,
    the_holder_of_a_bounded_permit_is_killed,
    a_waiter_for_a_permit_is_killed,
    a_waiter_for_a_bounded_permit_is_killed,
    a_holder_of_everything_is_killed,
    the_kill_of_a_leased_holder_is_reported_once,
    a_lease_that_a_kill_grants_lasts_its_whole_time,
}

/// How long a test watches for something that must not happen.
const MOMENT: Duration = Duration::from_millis(50);

/// Starts a process that takes something, and keeps it until it is killed.
fn holder<G>(manager: &Manager, take: impl Fn() -> G) -> ChildProcess {
    let held = manager.info().unwrap().held;
    let child = spawn(|| {
        let _kept = take();
        hang();
    });
    until_held(manager, held + 1);
    child
}

/// Checks that the next in line learns of the death at once, and no later holder does.
fn holder_of_a_lock<G>(manager: &Manager, lock: impl Fn() -> LockResult<G>) {
    let victim = holder(manager, || lock().unwrap());
    let next = spawn(|| assert!(matches!(lock(), Err(LockError::OwnerDied(_)))));
    until_waiting(manager, 1);
    kill(&victim);
    succeeded(&next);
    assert!(lock().is_ok(), "only the next holder gets the error");
}

/// Checks that the lock passes to the waiter after the dead one, without an error.
fn waiter<G>(manager: &Manager, take: impl Fn() -> Option<G>) {
    let held = take().unwrap();
    let victim = spawn(|| drop(take()));
    until_waiting(manager, 1);
    let next = spawn(|| assert!(take().is_some()));
    until_waiting(manager, 2);
    kill(&victim);
    until_waiting(manager, 1);
    drop(held);
    succeeded(&next);
    assert!(take().is_some());
}

fn the_holder_of_a_lock_is_killed() {
    with_manager(|manager| {
        let lock = manager.lock().unwrap();
        holder_of_a_lock(manager, || lock.lock_timeout(PATIENCE));
    });
}

fn the_holder_of_an_rlock_is_killed() {
    with_manager(|manager| {
        let lock = manager.rlock().unwrap();
        holder_of_a_lock(manager, || lock.lock_timeout(PATIENCE));
        // The lock is free at any depth.
        let victim = spawn(|| {
            let _kept = (lock.lock().unwrap(), lock.lock().unwrap());
            hang();
        });
        until_held(manager, 1);
        kill(&victim);
        assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
        assert!(!lock.is_locked().unwrap());
    });
}

fn a_waiter_for_a_lock_is_killed() {
    with_manager(|manager| {
        let lock = manager.lock().unwrap();
        waiter(manager, || lock.lock_timeout(PATIENCE).ok());
    });
}

fn a_waiter_for_an_rlock_is_killed() {
    with_manager(|manager| {
        let lock = manager.rlock().unwrap();
        waiter(manager, || lock.lock_timeout(PATIENCE).ok());
    });
}

/// Checks that a permit of a dead process is free again; `take` takes the only one.
fn holder_of_a_permit<G>(manager: &Manager, take: impl Fn() -> Result<G, SemaphoreError>) {
    let victim = holder(manager, || take().unwrap());
    let next = spawn(|| drop(take().unwrap()));
    until_waiting(manager, 1);
    kill(&victim);
    succeeded(&next);
    drop(take().unwrap());
}

fn the_holder_of_a_permit_is_killed() {
    with_manager(|manager| {
        let semaphore = manager.semaphore(1).unwrap();
        holder_of_a_permit(manager, || semaphore.acquire_timeout(PATIENCE));
        assert_eq!(semaphore.available(), Ok(1));
    });
}

fn the_holder_of_a_bounded_permit_is_killed() {
    with_manager(|manager| {
        let semaphore = manager.bounded_semaphore(1).unwrap();
        holder_of_a_permit(manager, || semaphore.acquire_timeout(PATIENCE));
        assert_eq!(semaphore.available(), Ok(1));
    });
}

fn a_waiter_for_a_permit_is_killed() {
    with_manager(|manager| {
        let semaphore = manager.semaphore(1).unwrap();
        waiter(manager, || semaphore.acquire_timeout(PATIENCE).ok());
        assert_eq!(semaphore.available(), Ok(1));
    });
}

fn a_waiter_for_a_bounded_permit_is_killed() {
    with_manager(|manager| {
        let semaphore = manager.bounded_semaphore(1).unwrap();
        waiter(manager, || semaphore.acquire_timeout(PATIENCE).ok());
        assert_eq!(semaphore.available(), Ok(1));
    });
}

fn a_holder_of_everything_is_killed() {
    with_manager(|manager| {
        let (lock, rlock) = (manager.lock().unwrap(), manager.rlock().unwrap());
        let (semaphore, bounded) = (manager.semaphore(3).unwrap(), manager.bounded_semaphore(3).unwrap());
        let victim = spawn(|| {
            let _locks = (lock.lock().unwrap(), rlock.lock().unwrap(), rlock.lock().unwrap());
            let _some = (semaphore.acquire().unwrap(), semaphore.acquire().unwrap());
            let _other = bounded.acquire().unwrap();
            // A forgotten permit has no owner.
            semaphore.acquire().unwrap().forget().unwrap();
            drop(manager.named("held").event().unwrap());
            hang();
        });
        crate::fixture::until(manager, "it has all", |info| info.objects == 5);
        let held = manager.info().unwrap().held;
        assert_eq!(held, 5, "two locks and three permits");
        assert_eq!((semaphore.available(), bounded.available()), (Ok(0), Ok(2)));
        kill(&victim);
        until_held(manager, 0);
        assert_eq!((semaphore.available(), bounded.available()), (Ok(2), Ok(3)));
        assert!(matches!(lock.try_lock(), Err(LockError::OwnerDied(_))));
        assert!(matches!(rlock.try_lock(), Err(LockError::OwnerDied(_))));
        manager.remove("held").unwrap();
    });
}

fn the_kill_of_a_leased_holder_is_reported_once() {
    with_manager(|manager| {
        let lock = manager.lock().unwrap();
        let victim = holder(manager, || lock.lock_leased(PATIENCE * 100).unwrap());
        assert!(matches!(lock.lock_timeout(MOMENT), Err(LockError::TimedOut)), "its holder lives");
        kill(&victim);
        let Err(LockError::OwnerDied(guard)) = lock.lock_timeout(PATIENCE) else {
            panic!("no holder got the error")
        };
        let token = guard.token();
        drop(guard);
        assert!(lock.try_lock().unwrap().token() > token);
    });
}

/// Nobody calls the manager for longer than the lease before the kill, so the last call must not count as its start.
fn a_lease_that_a_kill_grants_lasts_its_whole_time() {
    const LEASE: Duration = Duration::from_millis(200);
    with_manager(|manager| {
        let (lock, granted) = (manager.lock().unwrap(), manager.event().unwrap());
        let victim = holder(manager, || lock.lock().unwrap());
        let leased = spawn(|| {
            let _kept = lock.lock_leased(LEASE);
            granted.set().unwrap();
            hang();
        });
        until_waiting(manager, 1);
        let next = spawn(|| {
            let seen = granted.wait_timeout(PATIENCE).map(|_| Instant::now()).unwrap();
            assert!(matches!(lock.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
            // The grant came earlier than the event, by less than half of the lease.
            assert!(seen.elapsed() >= LEASE / 2, "two holders at once");
        });
        until_waiting(manager, 2);
        let (_open, silence) = std::sync::mpsc::channel::<()>();
        assert!(silence.recv_timeout(LEASE).is_err());
        kill(&victim);
        succeeded(&next);
        kill(&leased);
    });
}
