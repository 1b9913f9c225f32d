//! SIGKILL at random moments: the next process goes on, gets an error, and nothing is half changed without one.

use mp_sys::child::ChildProcess;
use mp_sys::testing::{Random, eventually, kill, spawn, succeeded, tests};
use shm_core::{Array, Lock, LockError, RawValue, Value};

tests! {
    a_killed_holder_never_breaks_two_fields_without_poison,
    set_and_update_never_tear,
    single_elements_never_tear,
    a_killed_waiter_delays_nobody,
    many_writers_and_random_deaths,
}

const KILLS: u32 = 300;
/// A worker is killed within this many nanoseconds after it started working.
const MOMENT_MAX: u64 = 300_000;

/// Starts `work` in a loop in a child, kills it at a random moment, and lets `check` look.
fn killed_at_random(work: impl Fn(u64), check: impl Fn(u32)) {
    let mut random = Random::new();
    let working = RawValue::new(0_u64).unwrap();
    for round in 0..KILLS {
        let seed = random.seed();
        working.store(0);
        let child = spawn(|| {
            for step in 1_u64.. {
                work(step);
                working.store(step);
            }
        });
        eventually("the child works", || working.load() > 0);
        random.pause(MOMENT_MAX);
        kill(&child);
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(round)));
        assert!(checked.is_ok(), "round {round}, MP_SEED={seed}");
    }
}

/// Two fields that must be equal: a guard that changes one after the other.
fn a_killed_holder_never_breaks_two_fields_without_poison() {
    let pair = Value::new([0_u64; 2]).unwrap();
    let lock = Lock::new().unwrap();
    let told = RawValue::new(0_u32).unwrap();
    let work = |_| {
        let mut guard = pair.lock().unwrap();
        guard[0] += 1;
        std::hint::black_box(&mut guard);
        guard[1] += 1;
        drop(guard);
        drop(lock.lock().unwrap());
    };
    killed_at_random(work, |_| {
        match pair.lock() {
            Ok(guard) => assert_eq!(guard[0], guard[1], "not poisoned, so whole"),
            Err(LockError::Poisoned(mut guard)) => {
                told.fetch_add(1);
                guard[1] = guard[0];
                pair.clear_poison();
            }
            Err(other) => panic!("{other}"),
        }
        if lock.lock().is_err() {
            assert!(lock.is_poisoned());
            lock.clear_poison();
        }
        assert_eq!(pair.get().map(|[a, b]| a == b), Ok(true));
    });
    assert!(told.load() > 0, "of {KILLS} kills at random moments, some hit a holder");
}

fn set_and_update_never_tear() {
    let small = Value::new(0_u64).unwrap();
    let large = Value::new([0_u64; 64]).unwrap();
    let odd = Value::new([0_u8; 13]).unwrap();
    let work = |step: u64| {
        small.set(step).unwrap();
        large.set([step; 64]).unwrap();
        large.update(|old| old.map(|n| n + 1)).unwrap();
        large.replace([step + 2; 64]).unwrap();
        odd.set([step.to_le_bytes()[0]; 13]).unwrap();
    };
    killed_at_random(work, |_| {
        let all = large.get().unwrap();
        assert!(all.iter().all(|&n| n == all[0]), "{all:?}");
        let bytes = odd.get().unwrap();
        assert!(bytes.iter().all(|&n| n == bytes[0]), "{bytes:?}");
        small.get().unwrap();
    });
}

fn single_elements_never_tear() {
    let odd = Array::<[u8; 5]>::zeroed(100).unwrap();
    let wide = Array::<[u64; 4]>::zeroed(100).unwrap();
    let work = |step: u64| {
        let index = usize::try_from(step % 100).unwrap();
        odd.set(index, [step.to_le_bytes()[0]; 5]).unwrap();
        wide.set(index, [step; 4]).unwrap();
    };
    killed_at_random(work, |_| {
        for element in odd.to_vec().unwrap() {
            assert_eq!(element, [element[0]; 5]);
        }
        for element in wide.to_vec().unwrap() {
            assert_eq!(element, [element[0]; 4]);
        }
    });
}

/// One process holds the lock and two wait. One of the two is killed, and the other gets the lock when it is released.
fn a_killed_waiter_delays_nobody() {
    let value = Value::new(0_u32).unwrap();
    let go = RawValue::new(0_u32).unwrap();
    for _ in 0..50 {
        go.store(0);
        let holder = spawn(|| {
            let _guard = value.lock().unwrap();
            go.fetch_add(1);
            eventually("the waiter was killed", || go.load() == 4);
        });
        eventually("the holder holds", || go.load() == 1);
        let waiter = || {
            go.fetch_add(1);
            *value.lock().unwrap() += 1;
        };
        let (first, second) = (spawn(waiter), spawn(waiter));
        eventually("both wait", || go.load() == 3);
        kill(&first);
        go.fetch_add(1);
        succeeded(&holder);
        succeeded(&second);
    }
    assert_eq!(value.get(), Ok(50));
}

/// Six writers keep an invariant over an array, and are killed and replaced all the time.
fn many_writers_and_random_deaths() {
    let array = Array::<u64>::zeroed(16).unwrap();
    let repairs = RawValue::new(0_u64).unwrap();
    let write = || loop {
        let mut guard = match array.lock() {
            Ok(guard) => guard,
            Err(LockError::Poisoned(mut guard)) => {
                guard.fill(0);
                array.clear_poison();
                repairs.fetch_add(1);
                guard
            }
            Err(other) => panic!("{other}"),
        };
        assert!(guard.iter().all(|&n| n == guard[0]), "unpoisoned, so whole");
        for element in guard.iter_mut() {
            *element += 1;
        }
    };
    let mut random = Random::new();
    let mut writers: Vec<ChildProcess> = (0..6).map(|_| spawn(write)).collect();
    for _ in 0..KILLS {
        random.pause(MOMENT_MAX);
        let victim = usize::try_from(random.below(6)).unwrap();
        kill(&writers[victim]);
        writers[victim] = spawn(write);
    }
    for writer in &writers {
        // No process stopped by itself: there was no panic and no error.
        assert_eq!(writer.wait(mp_sys::deadline::Deadline::after(std::time::Duration::ZERO)), Ok(None));
        kill(writer);
    }
    assert!(repairs.load() > 0, "of {KILLS} kills at random moments, some hit a holder");
}
