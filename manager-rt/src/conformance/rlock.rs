//! `RLock`.

use std::time::Duration;

use crate::LockError;
use crate::conformance::{Fixture, MOMENT, PATIENCE, patience, tests, until_waiting};

tests! {
    [RLock] {
        its_thread_can_take_it_again,
        it_passes_on_from_any_depth_when_its_holder_dies,
        a_lease_ends_at_any_depth,
    }
}

fn its_thread_can_take_it_again(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let (lock, same) = (one.named("lock").rlock().unwrap(), other.named("lock").rlock().unwrap());
    let outer = lock.lock().unwrap();
    let inner = lock.try_lock().unwrap();
    let innermost = lock.lock_timeout(MOMENT).unwrap();
    assert_eq!((outer.token(), innermost.token()), (inner.token(), inner.token()));
    for guard in [outer, innermost, inner] {
        assert!(matches!(same.try_lock(), Err(LockError::WouldBlock)));
        assert!(matches!(same.lock_timeout(MOMENT), Err(LockError::TimedOut)));
        drop(guard);
    }
    assert!(!lock.is_locked().unwrap());
    assert!(same.try_lock().is_ok());
}

fn it_passes_on_from_any_depth_when_its_holder_dies(fixture: &dyn Fixture) {
    let (dying, waiting) = (fixture.client(), fixture.client());
    let (lock, same) = (dying.named("lock").rlock().unwrap(), waiting.named("lock").rlock().unwrap());
    let held = [lock.lock().unwrap(), lock.lock().unwrap()];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let error = same.lock_timeout(patience(fixture)).unwrap_err();
            assert!(matches!(error, LockError::OwnerDied(_)), "{error:?}");
        });
        until_waiting(fixture, 1);
        fixture.kill(&dying);
    });
    drop(held);
    assert!(same.try_lock().is_ok());
}

fn a_lease_ends_at_any_depth(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let (lock, same) = (one.named("lock").rlock().unwrap(), other.named("lock").rlock().unwrap());
    // The thread must take the lock twice in this time.
    let lease = Duration::from_millis(200);
    let frozen = [lock.lock_leased(lease).unwrap(), lock.lock().unwrap()];
    assert!(matches!(same.lock_timeout(PATIENCE), Err(LockError::OwnerDied(_))));
    drop(frozen);
    assert!(same.try_lock().is_ok());
}
