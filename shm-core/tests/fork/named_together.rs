//! `open_or_create`: processes that start together get one object, even if some of them are killed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mp_sys::testing::{PATIENCE, Random, assert_woken, eventually, kill, spawn, succeeded, tests};
use shm_core::{
    Array, Barrier, BarrierError, BoundedSemaphore, Condition, Event, Lock, NameError, RLock, RawArray,
    RawValue, RwLock, Semaphore, SemaphoreError, SharedMemory, Value,
};

tests! {
    every_object_is_opened_or_created,
    an_existing_object_does_not_call_init,
    all_who_start_together_get_one_object,
    strangers_that_start_together_meet_at_a_barrier,
    killed_creators_block_nobody,
    another_size_is_an_error,
    another_type_is_an_error,
    an_init_that_panics_makes_nothing,
}

fn name(of: &str) -> String {
    format!("test-{}-{of}", rustix::process::getpid().as_raw_nonzero())
}

fn exists(name: &str) -> bool {
    std::fs::exists(format!("/dev/shm/mp.{name}")).unwrap()
}

/// Opens or creates twice, and checks through the second handle what the first one did.
fn twice<O>(of: &str, make: impl Fn(&str) -> O, change: impl Fn(&O), is_changed: impl Fn(&O) -> bool) {
    let name = name(of);
    let first = make(&name);
    assert!(!is_changed(&first), "{of}: it is new");
    change(&first);
    // In a process that knows only the name.
    succeeded(&spawn(|| assert!(is_changed(&make(&name)), "{of}")));
    drop(first);
    assert!(!exists(&name), "{of}: the name goes with the last holder");
}

fn every_object_is_opened_or_created() {
    twice("v", |n| Value::open_or_create(n, || 7_u32).unwrap(), |v| v.set(8).unwrap(), |v| v.get() == Ok(8));
    twice("rv", |n| RawValue::open_or_create(n, || 7_u32).unwrap(), |v| v.store(8), |v| v.load() == 8);
    let array = |n: &str| Array::open_or_create(n, || vec![[7_u8; 3]; 9]).unwrap();
    twice("a", array, |a| a.set(8, [8; 3]).unwrap(), |a| a.to_vec().unwrap()[7..] == [[7; 3], [8; 3]]);
    let raw_array = |n: &str| RawArray::open_or_create(n, || vec![7_u64; 9]).unwrap();
    twice("ra", raw_array, |a| a.set(8, 8).unwrap(), |a| a.to_vec()[7..] == [7, 8]);
    let memory = |n: &str| SharedMemory::open_or_create(n, 9).unwrap();
    twice("m", memory, |m| m.write_at(8, &[8]).unwrap(), |m| m.to_vec()[7..] == [0, 8]);
    let rwlock = |n: &str| RwLock::open_or_create(n, || 7_u8).unwrap();
    twice("rw", rwlock, |l| *l.write().unwrap() = 8, |l| *l.read().unwrap() == 8);
    // Nobody holds the lock when the second process looks, so poison serves as the visible effect.
    let poison = |lock: &Lock| {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _guard = lock.lock();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(panicked.is_err());
    };
    twice("l", |n| Lock::open_or_create(n).unwrap(), poison, Lock::is_poisoned);
    let spare = |n: &str| Semaphore::open_or_create(n, 2).unwrap();
    twice("s", spare, |s| s.acquire().forget(), |s| s.available() == 1);
    let bounded = |n: &str| BoundedSemaphore::open_or_create(n, 2).unwrap();
    twice("bs", bounded, |s| s.acquire().forget(), |s| s.available() == 1);
    twice("e", |n| Event::open_or_create(n).unwrap(), Event::set, Event::is_set);
    let barrier = |n: &str| Barrier::open_or_create(n, 2).unwrap();
    twice("b", barrier, |b| b.abort().unwrap(), |b| b.is_broken().unwrap());
    reentrant_locks_and_conditions();
}

/// These have no effect left after the guard is dropped.
fn reentrant_locks_and_conditions() {
    let names = ["rlock", "condition"].map(name);
    let [rlock_name, condition_name] = &names;
    let rlock = RLock::open_or_create(rlock_name).unwrap();
    let condition = Condition::open_or_create(condition_name).unwrap();
    let waiter = spawn(|| {
        let rlock = RLock::open_or_create(rlock_name).unwrap();
        drop(rlock.lock_timeout(PATIENCE).unwrap());
        let lock = Lock::new().unwrap();
        let condition = Condition::open_or_create(condition_name).unwrap();
        drop(condition.wait_timeout(lock.lock().unwrap(), PATIENCE).unwrap());
    });
    eventually("the other one waits", || condition.n_waiting() == 1);
    assert_eq!(condition.notify_all(), 1);
    succeeded(&waiter);
    drop((rlock, condition));
    assert!(!names.iter().any(|name| exists(name)));
}

fn an_existing_object_does_not_call_init() {
    let name = name("found");
    let calls = Cell::new(0);
    let init = || {
        calls.set(calls.get() + 1);
        7_u32
    };
    let first = Value::open_or_create(&name, init).unwrap();
    assert_eq!((calls.get(), first.get()), (1, Ok(7)));
    let second = Value::open_or_create(&name, init).unwrap();
    assert_eq!((calls.get(), second.get()), (1, Ok(7)));
}

fn all_who_start_together_get_one_object() {
    const RACERS: u64 = 4;
    const FIRST: u64 = 1 << 32;
    let gate = RawValue::new(0_u64).unwrap();
    let name = name("together");
    for _ in 0..50 {
        gate.store(0);
        let race = |racer: u64| {
            gate.fetch_add(1);
            eventually("all are there", || gate.load() >= RACERS);
            let found = RawValue::open_or_create(&name, || racer * FIRST).unwrap();
            found.fetch_add(1);
            // A process with a separate object would wait in vain.
            eventually("all count in one object", || found.load() % FIRST == RACERS);
            gate.fetch_add(1);
            eventually("all have seen it", || gate.load() == 2 * RACERS);
        };
        let racers: Vec<_> = (0..RACERS).map(|racer| spawn(|| race(racer))).collect();
        racers.iter().for_each(succeeded);
        assert!(!exists(&name));
    }
}

fn strangers_that_start_together_meet_at_a_barrier() {
    let name = name("barrier");
    for _ in 0..20 {
        let party = || {
            let barrier = Barrier::open_or_create(&name, 3).unwrap();
            barrier.wait_timeout(PATIENCE).unwrap();
            // The first process must not drop the last handle while another one still looks for the name.
            barrier.wait_timeout(PATIENCE).unwrap();
            assert_woken();
        };
        let parties = [(); 3].map(|()| spawn(party));
        parties.iter().for_each(succeeded);
    }
}

/// Kills at random moments, while others need the name. `xtask/tests/crash` kills at each step.
fn killed_creators_block_nobody() {
    let name = name("killed");
    let mut random = Random::new();
    for _ in 0..200 {
        let begun = RawValue::new(0_u32).unwrap();
        let creators = [(); 2].map(|()| {
            spawn(|| {
                begun.fetch_add(1);
                loop {
                    drop(Value::open_or_create(&name, || [7_u64; 100]).unwrap());
                }
            })
        });
        eventually("they work", || begun.load() == 2);
        random.pause(200_000);
        kill(&creators[0]);
        let found = Value::open_or_create(&name, || [7_u64; 100]).unwrap();
        assert_eq!(found.get(), Ok([7; 100]));
        kill(&creators[1]);
    }
    drop(Value::open_or_create(&name, || [7_u64; 100]));
    assert!(!exists(&name));
}

fn another_size_is_an_error() {
    let (barrier, memory) = (name("barrier"), name("memory"));
    let _made = (Barrier::create(&barrier, 2).unwrap(), SharedMemory::create(&memory, 10).unwrap());
    let refused = Barrier::open_or_create(&barrier, 3).unwrap_err();
    let says = format!("the name {barrier:?} belongs to an object with 2 parties, not 3");
    assert!(refused.to_string().contains(&says), "{refused}");
    let of_barrier = NameError::OtherSize { name: barrier.clone(), found: 2, expected: 3, unit: "parties" };
    assert_eq!(refused, BarrierError::Name(of_barrier));
    assert_eq!(Barrier::open_or_create(&barrier, 2).unwrap().parties(), 2);
    for len in [9, 11] {
        let refused = SharedMemory::open_or_create(&memory, len).unwrap_err();
        let says = format!("the name {memory:?} belongs to an object with 10 bytes, not {len}");
        assert_eq!(refused.to_string(), says);
    }
    assert_eq!(SharedMemory::open_or_create(&memory, 10).unwrap().len(), 10);
}

fn another_type_is_an_error() {
    let name = name("type");
    let _made = Value::create(&name, 1_u32).unwrap();
    let init = || panic!("nothing is made");
    assert!(matches!(Value::<i32>::open_or_create(&name, init), Err(NameError::WrongType { .. })));
    assert!(matches!(RawValue::<u32>::open_or_create(&name, || 0), Err(NameError::WrongType { .. })));
    assert!(matches!(Lock::open_or_create(&name), Err(NameError::WrongType { .. })));
    let refused = Semaphore::open_or_create(&name, 1).unwrap_err();
    assert!(matches!(refused, SemaphoreError::Name(NameError::WrongType { .. })), "{refused}");
    assert_eq!(Value::open_or_create("a/b", || 1_u8).unwrap_err(), NameError::BadName);
    // Another program's file.
    let foreign = self::name("foreign");
    let path = format!("/dev/shm/mp.{foreign}");
    std::fs::write(&path, [0; 5000]).unwrap();
    assert!(Lock::open_or_create(&foreign).is_err());
    assert!(exists(&foreign), "it is not removed");
    std::fs::remove_file(path).unwrap();
}

fn an_init_that_panics_makes_nothing() {
    let name = name("panics");
    let panicked =
        catch_unwind(|| Value::<u8>::open_or_create(&name, || std::panic::resume_unwind(Box::new(()))));
    assert!(panicked.is_err());
    assert!(!exists(&name));
    assert_eq!(Value::open_or_create(&name, || 2_u8).unwrap().get(), Ok(2));
}
