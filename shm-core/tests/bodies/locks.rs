//! Locks and permits: one holder at a time, and the next one sees what the previous one has written.

use mp_sys::testing::plain::Plain;
use mp_sys::testing::spawner::Spawner;
use mp_sys::testing::{PATIENCE, bodies};
use shm_core::{BoundedSemaphore, Lock, LockError, LockGuard, RLock, RawValue, RwLock, Semaphore};

bodies! {
    a_lock_lets_one_in,
    an_rlock_lets_one_in,
    an_rwlock_lets_many_read_or_one_write,
    a_semaphore_of_one_lets_one_in,
    a_bounded_semaphore_lets_as_many_in_as_it_has,
    permits_hand_over_what_was_written_before,
}

const WORKERS: usize = 4;
const ROUNDS: u64 = 2_000;

/// Takes the lock in the way of `worker`. Each way uses other calls of the C library.
fn take(lock: &Lock, worker: usize) -> LockGuard<'_> {
    match worker % 3 {
        0 => lock.lock().unwrap(),
        1 => lock.lock_timeout(PATIENCE).unwrap(),
        _ => loop {
            match lock.try_lock() {
                Ok(guard) => return guard,
                Err(LockError::WouldBlock) => std::thread::yield_now(),
                Err(error) => panic!("{error:?}"),
            }
        },
    }
}

fn a_lock_lets_one_in<S: Spawner>() {
    let lock = Lock::new().unwrap();
    let count = Plain::new();
    S::all(WORKERS, |worker| {
        for _ in 0..ROUNDS {
            let _held = take(&lock, worker);
            count.add(1);
        }
    });
    assert_eq!(count.get(), 4 * ROUNDS);
}

fn an_rlock_lets_one_in<S: Spawner>() {
    let lock = RLock::new().unwrap();
    let count = Plain::new();
    S::all(WORKERS, |worker| {
        for _ in 0..ROUNDS {
            let outer = if worker == 0 { lock.lock_timeout(PATIENCE) } else { lock.lock() }.unwrap();
            count.add(1);
            let inner = lock.lock().unwrap();
            count.add(1);
            drop(outer);
            // Still held: the order of the guards does not matter.
            count.add(1);
            drop(inner);
        }
    });
    assert_eq!(count.get(), 3 * 4 * ROUNDS);
}

/// Two threads write a word outside the lock and the value under it, and two threads read both.
fn an_rwlock_lets_many_read_or_one_write<S: Spawner>() {
    let lock = RwLock::new([0_u64; 9]).unwrap();
    let count = Plain::new();
    S::all(WORKERS, |worker| {
        for round in 0..ROUNDS {
            if worker < 2 {
                let mut value = lock.write_timeout(PATIENCE).unwrap();
                value.iter_mut().for_each(|word| *word += 1);
                count.add(1);
            } else if round % 2 == 0 {
                let value = lock.read().unwrap();
                assert_eq!(*value, [count.get(); 9]);
                let again = lock.read_timeout(PATIENCE).unwrap();
                assert_eq!(*again, *value);
            } else if let Ok(value) = lock.try_read() {
                assert_eq!(*value, [count.get(); 9]);
            }
        }
    });
    assert_eq!(count.get(), 2 * ROUNDS);
}

fn a_semaphore_of_one_lets_one_in<S: Spawner>() {
    let semaphore = Semaphore::new(1).unwrap();
    let count = Plain::new();
    S::all(WORKERS, |worker| {
        for _ in 0..ROUNDS {
            let permit =
                if worker == 0 { semaphore.acquire_timeout(PATIENCE).unwrap() } else { semaphore.acquire() };
            count.add(1);
            drop(permit);
        }
    });
    assert_eq!(count.get(), 4 * ROUNDS);
    assert_eq!(semaphore.available(), 1);
}

fn a_bounded_semaphore_lets_as_many_in_as_it_has<S: Spawner>() {
    let seats = BoundedSemaphore::new(2).unwrap();
    let inside = RawValue::new(0_u32).unwrap();
    let most = RawValue::new(0_u32).unwrap();
    S::all(WORKERS, |_| {
        for _ in 0..ROUNDS {
            let _permit = seats.acquire();
            most.fetch_max(inside.fetch_add(1) + 1);
            inside.fetch_sub(1);
        }
    });
    assert!((1..=2).contains(&most.load()), "{} inside", most.load());
    assert_eq!(seats.available(), 2);
    assert!(seats.add_permits(1).is_err(), "nobody has one");
}

/// A ring of two places, as in textbooks: permits count the free and the full ones.
fn permits_hand_over_what_was_written_before<S: Spawner>() {
    let (free, full) = (Semaphore::new(2).unwrap(), Semaphore::new(0).unwrap());
    let places = [Plain::new(), Plain::new()];
    let items = || (1..=ROUNDS).zip(places.iter().cycle());
    S::all(2, |worker| {
        for (item, place) in items() {
            if worker == 0 {
                free.acquire().forget();
                place.set(item);
                full.add_permits(1).unwrap();
            } else {
                full.acquire_timeout(PATIENCE).unwrap().forget();
                assert_eq!(place.get(), item, "in order");
                free.add_permits(1).unwrap();
            }
        }
    });
    assert_eq!((free.available(), full.available()), (2, 0));
}
