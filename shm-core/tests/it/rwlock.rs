//! `RwLock`: which guards can exist together, poison, limits, and operations that a thread must not do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use mp_sys::deadline::Deadline;
use mp_sys::testing::PATIENCE;
use shm_core::sync::{READERS_MAX, READS_MAX};
use shm_core::{LockError, RwLock};

const SOON: Duration = Duration::from_millis(10);

/// Runs `body` in another thread.
fn elsewhere<R: Send>(body: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| std::thread::Builder::new().spawn_scoped(scope, body).unwrap().join().unwrap())
}

#[test]
fn many_read_or_one_writes() {
    let lock = RwLock::new([1_u64; 20]).unwrap();
    let first = lock.read().unwrap();
    elsewhere(|| {
        assert_eq!(lock.read().unwrap()[19], 1);
        assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
        assert!(matches!(lock.write_timeout(SOON), Err(LockError::TimedOut)));
        assert_eq!(lock.try_read().unwrap()[0], 1, "a writer that gave up blocks nobody");
    });
    assert_eq!(*first, [1; 20]);
    drop(first);
    let mut writer = lock.write().unwrap();
    writer[3] = 7;
    elsewhere(|| {
        assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
        assert!(matches!(lock.read_timeout(SOON), Err(LockError::TimedOut)));
        assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
    });
    drop(writer);
    assert_eq!(lock.read_timeout(PATIENCE).unwrap()[3], 7);
    lock.write_timeout(Duration::MAX).unwrap()[3] = 8;
    assert_eq!(lock.read().unwrap()[3], 8);
}

#[test]
fn a_waiting_writer_goes_before_new_readers() {
    let lock = RwLock::new(0_u32).unwrap();
    let reader = lock.read().unwrap();
    std::thread::scope(|scope| {
        let write = || *lock.write_timeout(PATIENCE).unwrap() = 1;
        let writer = std::thread::Builder::new().spawn_scoped(scope, write).unwrap();
        let is_kept_out = || match lock.try_read() {
            Err(LockError::WouldBlock) => true,
            Ok(_) => false,
            Err(other) => panic!("{other}"),
        };
        let deadline = Deadline::after(PATIENCE);
        while !elsewhere(is_kept_out) {
            assert!(!deadline.has_passed(), "the writer never waits");
        }
        // This thread already reads, so the writer waits for it anyway.
        assert_eq!(*lock.read().unwrap(), 0);
        drop(reader);
        writer.join().unwrap();
    });
    assert_eq!(*lock.read().unwrap(), 1);
}

#[test]
fn a_thread_never_waits_for_itself() {
    let lock = RwLock::new(0_u32).unwrap();
    let reader = lock.read().unwrap();
    assert!(matches!(lock.write(), Err(LockError::Deadlock)));
    assert!(matches!(lock.write_timeout(SOON), Err(LockError::Deadlock)));
    assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
    let again = lock.read().unwrap();
    drop(reader);
    assert!(matches!(lock.write(), Err(LockError::Deadlock)), "the other guard is there");
    drop(again);
    let writer = lock.write().unwrap();
    assert!(matches!(lock.read(), Err(LockError::Deadlock)));
    assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
    assert!(matches!(lock.write(), Err(LockError::Deadlock)));
    assert_eq!(format!("{lock:?}"), "RwLock(locked by this thread)");
    drop(writer);
    assert_eq!(format!("{lock:?}"), "RwLock(0, 0 readers)");
}

#[test]
fn a_panic_poisons_if_it_writes() {
    let lock = RwLock::new(1_u32).unwrap();
    let reads = AssertUnwindSafe(|| {
        let _guard = lock.read().unwrap();
        panic!("on purpose");
    });
    catch_unwind(reads).unwrap_err();
    assert!(!lock.is_poisoned());
    let writes = AssertUnwindSafe(|| {
        *lock.write().unwrap() = 2;
        let mut guard = lock.write().unwrap();
        *guard = 9;
        panic!("on purpose");
    });
    catch_unwind(writes).unwrap_err();
    assert_eq!(*lock.read().unwrap_err().into_poisoned().unwrap(), 9);
    *lock.write().unwrap_err().into_poisoned().unwrap() = 3;
    lock.clear_poison();
    assert_eq!(*lock.read().unwrap(), 3);
}

#[test]
fn the_limits_of_readers_and_one_above() {
    let lock = RwLock::new(0_u8).unwrap();
    let take = |count: usize| (0..count).map(|_| lock.read().unwrap()).collect::<Vec<_>>();
    let threads = READERS_MAX / READS_MAX;
    assert_eq!(threads * READS_MAX, READERS_MAX);
    let gates = [std::sync::Barrier::new(threads + 1), std::sync::Barrier::new(threads + 1)];
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let hold = || {
                let guards = take(READS_MAX);
                assert!(matches!(lock.read(), Err(LockError::TooManyReaders)), "one thread");
                gates.iter().for_each(|gate| _ = gate.wait());
                drop(guards);
            };
            std::thread::Builder::new().spawn_scoped(scope, hold).unwrap();
        }
        gates[0].wait();
        let refused = lock.read().map(drop).map_err(LockError::discard);
        let writer = lock.try_write().map(drop).map_err(LockError::discard);
        gates[1].wait();
        assert_eq!(refused, Err(LockError::TooManyReaders), "all threads");
        assert_eq!(writer, Err(LockError::WouldBlock));
    });
    assert_eq!(*lock.write().unwrap(), 0);
    drop(take(READS_MAX));
}

#[test]
fn values_of_every_alignment_fit() {
    assert_eq!(*RwLock::new('x').unwrap().read().unwrap(), 'x');
    assert_eq!(*RwLock::new([3_u8; 3]).unwrap().read().unwrap(), [3; 3]);
    assert_eq!(*RwLock::new(u128::MAX).unwrap().read().unwrap(), u128::MAX);
    assert_eq!(RwLock::new([7_u64; 10_000]).unwrap().read().unwrap()[9_999], 7);
}
