//! Handles that are dropped while their lock is held. The last drop frees the memory, unless the guard was forgotten.

use std::fs;
use std::mem::forget;
use std::sync::Barrier;
use std::thread::{Builder, Scope};

use mp_sys::testing::{spawn, spawn_holding, succeeded, tests};
use mp_sys::travel;
use shm_core::{Array, ArrayError, LockError, NameError, Value};

tests! {
    a_lock_that_is_held_stays_mapped_when_two_handles_go_at_once,
    a_handle_dropped_while_another_thread_holds_the_lock_leaks_nothing,
    a_handle_that_a_child_drops_while_its_parent_holds_the_lock_leaks_nothing,
    a_forgotten_guard_keeps_its_memory_and_is_found_by_name,
    a_forgotten_guard_keeps_memory_that_came_in_a_message,
}

/// The number of rounds, since two threads have to meet within a few instructions.
const ROUNDS: usize = 300;
/// Large enough to get its own mapping.
const BYTES: usize = 1 << 20;

fn name(of: &str) -> String {
    format!("test-{}-{of}", rustix::process::getpid().as_raw_nonzero())
}

fn start<'scope>(scope: &'scope Scope<'scope, '_>, body: impl FnOnce() + Send + 'scope) {
    Builder::new().spawn_scoped(scope, body).unwrap();
}

/// Mappings of files with a name.
fn mapped_names() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("/dev/shm/")).count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Returns another handle, as it arrives in a message.
fn through_a_message(array: &Array<u8>) -> Array<u8> {
    let (bytes, luggage) = travel::encode(253, || postcard::to_stdvec(array).unwrap());
    let files = luggage.descriptors.iter().map(|file| file.try_clone().unwrap()).collect();
    travel::decode(files, || postcard::from_bytes(&bytes)).0.unwrap()
}

fn a_lock_that_is_held_stays_mapped_when_two_handles_go_at_once() {
    succeeded(&spawn(|| {
        let other = Value::new(0_u64).unwrap();
        for round in 0..ROUNDS {
            let name = name(&format!("twins-{round}"));
            let one = Value::create(&name, 1_u64).unwrap();
            let two = Value::<u64>::open(&name).unwrap();
            forget(one.lock().unwrap());
            let go = Barrier::new(2);
            std::thread::scope(|scope| {
                for handle in [one, two] {
                    let go = &go;
                    start(scope, move || {
                        go.wait();
                        drop(handle);
                    });
                }
            });
            assert_eq!(mapped_names(), round + 1, "the lock is held, so it stays mapped");
            // Walks the list of held locks, which includes this one.
            drop(other.lock().unwrap());
        }
    }));
}

fn a_handle_dropped_while_another_thread_holds_the_lock_leaks_nothing() {
    let name = name("inside");
    let fresh = || Array::<u8>::zeroed(BYTES).unwrap();
    let pairs: [&dyn Fn() -> [Array<u8>; 2]; 2] = [
        &|| {
            let one = fresh();
            [through_a_message(&one), one]
        },
        &|| [Array::create(&name, BYTES).unwrap(), Array::open(&name).unwrap()],
    ];
    for pair in pairs {
        let before = (shm_core::memory_mapped(), descriptors());
        let [one, two] = pair();
        let held = one.lock().unwrap();
        std::thread::scope(|scope| start(scope, move || drop(two)));
        drop(held);
        drop(one);
        assert_eq!((shm_core::memory_mapped(), descriptors()), before);
    }
    assert_eq!(Array::<u8>::open(&name).unwrap_err(), NameError::NotFound);
}

fn a_handle_that_a_child_drops_while_its_parent_holds_the_lock_leaks_nothing() {
    let array = Array::<u8>::zeroed(BYTES).unwrap();
    let held = array.lock().unwrap();
    succeeded(&spawn_holding(|| {
        let before = shm_core::memory_mapped();
        let twin = through_a_message(&array);
        drop(twin);
        assert_eq!(shm_core::memory_mapped(), before);
    }));
    drop(held);
    let before = shm_core::memory_mapped();
    let array = std::cell::Cell::new(Some(array));
    succeeded(&spawn(|| {
        drop(array.take());
        assert!(shm_core::memory_mapped() < before);
    }));
}

fn a_forgotten_guard_keeps_its_memory_and_is_found_by_name() {
    succeeded(&spawn(|| {
        let name = name("forgotten");
        let value = Value::create(&name, 5_u64).unwrap();
        forget(value.lock().unwrap());
        drop(value);
        let again = Value::<u64>::open(&name).unwrap();
        assert_eq!(again.get(), Err(LockError::Deadlock), "one lock, at one address");
        assert_eq!(mapped_names(), 1);
        drop(again);
        assert_eq!(mapped_names(), 1);
    }));
}

fn a_forgotten_guard_keeps_memory_that_came_in_a_message() {
    succeeded(&spawn(|| {
        let array = Array::<u8>::zeroed(BYTES).unwrap();
        let (bytes, luggage) = travel::encode(253, || postcard::to_stdvec(&array).unwrap());
        let files = || luggage.descriptors.iter().map(|file| file.try_clone().unwrap()).collect();
        let arrive = || travel::decode(files(), || postcard::from_bytes::<Array<u8>>(&bytes)).0.unwrap();
        forget(arrive().lock().unwrap());
        drop(array);
        let mapped = shm_core::memory_mapped();
        assert!(mapped >= u64::try_from(BYTES).unwrap());
        let outcome = arrive().get(0);
        assert!(matches!(outcome, Err(ArrayError::Lock(LockError::Deadlock))), "one lock: {outcome:?}");
        assert_eq!(shm_core::memory_mapped(), mapped);
    }));
}
