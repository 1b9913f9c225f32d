//! The lock family inside one process: results, errors, limits.

use std::time::Duration;

use shm_core::sync::{DEPTH_MAX, PERMITS_MAX, PERMITS_SPARE};
use shm_core::{BoundedSemaphore, Event, LockError, RLock, Semaphore, SemaphoreError};

const SOON: Duration = Duration::from_millis(5);

fn in_another_thread<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| std::thread::Builder::new().spawn_scoped(scope, body).unwrap().join().unwrap())
}

#[test]
fn an_rlock_is_released_with_its_last_guard_in_any_order() {
    let lock = RLock::new().unwrap();
    let is_free = || in_another_thread(|| lock.try_lock().is_ok());
    let (first, second, third) =
        (lock.lock().unwrap(), lock.try_lock().unwrap(), lock.lock_timeout(SOON).unwrap());
    for guard in [second, first] {
        drop(guard);
        assert!(!is_free());
    }
    drop(third);
    assert!(is_free());
    assert!(in_another_thread(|| lock.lock_timeout(SOON).is_ok()));
}

#[test]
fn an_rlock_at_its_depth_and_one_above() {
    let lock = RLock::new().unwrap();
    let guards: Vec<_> = (0..DEPTH_MAX).map(|_| lock.lock().unwrap()).collect();
    assert!(matches!(lock.lock(), Err(LockError::TooManyHeld)));
    drop(guards);
    assert!(in_another_thread(|| lock.try_lock().is_ok()));
}

#[test]
fn an_rlock_is_poisoned_by_a_panic() {
    let lock = RLock::new().unwrap();
    std::panic::catch_unwind(|| {
        let _outer = lock.lock().unwrap();
        let _inner = lock.lock().unwrap();
        panic!("on purpose");
    })
    .unwrap_err();
    assert!(matches!(lock.lock(), Err(LockError::Poisoned(_))));
    lock.clear_poison();
    assert!(in_another_thread(|| lock.lock().is_ok()));
}

#[test]
fn an_event_is_set_and_cleared() {
    let event = Event::new().unwrap();
    assert!(!event.is_set());
    assert!(!event.wait_timeout(SOON));
    event.set();
    event.set();
    assert!(event.is_set());
    event.wait();
    assert!(event.wait_timeout(Duration::ZERO));
    event.clear();
    event.clear();
    assert!(!event.is_set());
    assert!(!event.wait_timeout(Duration::ZERO));
}

#[test]
fn permits_are_taken_and_given_back() {
    let semaphore = Semaphore::new(2).unwrap();
    let first = semaphore.acquire();
    let second = semaphore.try_acquire().unwrap();
    assert_eq!(semaphore.available(), 0);
    assert_eq!(semaphore.try_acquire().unwrap_err(), SemaphoreError::WouldBlock);
    assert_eq!(semaphore.acquire_timeout(SOON).unwrap_err(), SemaphoreError::TimedOut);
    drop(first);
    assert_eq!(semaphore.available(), 1);
    let third = semaphore.acquire_timeout(SOON).unwrap();
    in_another_thread(move || drop((second, third)));
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn forgotten_permits_come_back_by_adding_them() {
    let semaphore = Semaphore::new(1).unwrap();
    semaphore.acquire().forget();
    assert_eq!(semaphore.available(), 0);
    semaphore.add_permits(3).unwrap();
    assert_eq!(semaphore.available(), 3);
    semaphore.add_permits(0).unwrap();
    let empty = Semaphore::new(0).unwrap();
    assert_eq!(empty.try_acquire().unwrap_err(), SemaphoreError::WouldBlock);
    empty.add_permits(1).unwrap();
    drop(empty.acquire());
}

#[test]
fn permits_at_the_limit_and_one_above() {
    let semaphore = Semaphore::new(10).unwrap();
    semaphore.add_permits(PERMITS_SPARE).unwrap();
    let full = SemaphoreError::TooManyPermits { limit: 10 + PERMITS_SPARE };
    assert_eq!(semaphore.add_permits(1), Err(full.clone()));
    assert_eq!(semaphore.available(), 10 + PERMITS_SPARE);
    semaphore.acquire().forget();
    assert_eq!(semaphore.add_permits(2), Err(full), "all or none");
    assert_eq!(semaphore.available(), 9 + PERMITS_SPARE);
    let counts = Semaphore::with_spare(1, PERMITS_MAX - 1).unwrap();
    counts.add_permits(PERMITS_MAX - 1).unwrap();
    assert_eq!(counts.available(), PERMITS_MAX);
    let too_many = SemaphoreError::TooManyPermits { limit: PERMITS_MAX };
    assert_eq!(counts.add_permits(1), Err(too_many.clone()));
    assert_eq!(Semaphore::with_spare(1, PERMITS_MAX).map(drop), Err(too_many.clone()));
    let name = format!("shm-core-counts-{:x}", mp_sys::identity::Stamp::current().to_bits());
    assert_eq!(Semaphore::create_with_spare(&name, 2, PERMITS_MAX - 1).map(drop), Err(too_many));
    let counts = Semaphore::create_with_spare(&name, 2, 3).unwrap();
    assert_eq!(Semaphore::open(&name).unwrap().add_permits(3), Ok(()));
    assert_eq!(counts.add_permits(1), Err(SemaphoreError::TooManyPermits { limit: 5 }));
    let large = Semaphore::new(PERMITS_MAX).unwrap();
    assert_eq!(large.available(), PERMITS_MAX);
    assert_eq!(large.add_permits(1), Err(SemaphoreError::TooManyPermits { limit: PERMITS_MAX }));
    let too_large = Semaphore::new(PERMITS_MAX + 1).map(drop);
    assert_eq!(too_large, Err(SemaphoreError::TooManyPermits { limit: PERMITS_MAX }));
}

#[test]
fn a_bounded_semaphore_never_has_more_than_at_the_beginning() {
    let seats = BoundedSemaphore::new(2).unwrap();
    assert_eq!(seats.add_permits(1), Err(SemaphoreError::OverRelease));
    seats.acquire().forget();
    let other = seats.try_acquire().unwrap();
    assert_eq!(seats.add_permits(2), Err(SemaphoreError::OverRelease), "one is taken, not forgotten");
    seats.add_permits(1).unwrap();
    drop(other);
    assert_eq!(seats.available(), 2);
    assert_eq!(seats.acquire_timeout(SOON).map(drop), Ok(()));
}
