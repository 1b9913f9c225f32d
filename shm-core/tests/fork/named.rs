//! Objects with a name: others find them, they disappear with the last holder, and a sweep removes them after a kill.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Barrier;
use std::thread::Builder;

use mp_sys::testing::{Random, eventually, hang, kill, spawn, succeeded, tests};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shm_core::{
    Array, Lock, LockError, NameError, RLock, RawArray, RawValue, SharedMemory, Value, named,
    set_memory_limit,
};

tests! {
    every_object_is_found_by_its_name,
    the_name_disappears_with_the_last_holder,
    the_name_disappears_with_a_brief_holder,
    a_forked_child_keeps_the_name,
    objects_of_a_killed_process_are_not_found,
    the_wrong_type_is_an_error,
    an_error_says_what_was_found_and_what_was_expected,
    bad_names,
    one_creator_wins,
    two_handles_in_one_process_are_one_lock,
    the_opener_learns_that_a_holder_died,
    shortage_leaves_no_name,
    a_file_that_is_no_segment,
    a_segment_that_others_can_change,
    a_second_handle_is_dropped_under_the_first_ones_guard,
    unlink_frees_the_name_and_keeps_the_object,
    kills_while_creating_leave_nothing_half_made,
}

/// Returns a name for this test run only, so that parallel runs do not collide.
fn name(of: &str) -> String {
    format!("test-{}-{of}", rustix::process::getpid().as_raw_nonzero())
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm/mp.{name}"))
}

/// Runs in a process that inherited none of the objects, and knows only the names.
fn stranger(body: impl FnOnce()) {
    succeeded(&spawn(body));
}

fn every_object_is_found_by_its_name() {
    let names = ["value", "large", "raw", "array", "raw-array", "lock", "memory"].map(name);
    let made = RawValue::new(0_u8).unwrap();
    let maker = spawn(|| {
        let [value, large, raw, array, raw_array, lock, memory] = &names;
        let objects = (
            Value::create(value, 7_u32).unwrap(),
            Value::create(large, [7_u64; 50]).unwrap(),
            RawValue::create(raw, 'ß').unwrap(),
            Array::<f64>::create(array, 100).unwrap(),
            RawArray::<[u8; 3]>::create(raw_array, 5).unwrap(),
            Lock::create(lock).unwrap(),
            SharedMemory::create(memory, 10_000).unwrap(),
        );
        objects.3.set(99, 0.5).unwrap();
        objects.4.set(4, [1, 2, 3]).unwrap();
        objects.6.write_at(9_997, b"end").unwrap();
        made.store(1);
        eventually("the strangers have looked", || made.load() == 2);
        assert_eq!(objects.0.get(), Ok(8));
    });
    eventually("the objects are made", || made.load() == 1);
    let [value, large, raw, array, raw_array, lock, memory] = &names;
    assert_eq!(Value::<u32>::open(value).unwrap().update(|n| n + 1), Ok(7));
    assert_eq!(Value::<[u64; 50]>::open(large).unwrap().get(), Ok([7; 50]));
    assert_eq!(RawValue::<char>::open(raw).unwrap().load(), 'ß');
    let array = Array::<f64>::open(array).unwrap();
    assert_eq!((array.len(), array.get(99)), (100, Ok(0.5)));
    assert_eq!(RawArray::<[u8; 3]>::open(raw_array).unwrap().to_vec()[4], [1, 2, 3]);
    drop(Lock::open(lock).unwrap().lock().unwrap());
    let memory = SharedMemory::open(memory).unwrap();
    assert_eq!((memory.len(), memory.read(9_996..10_000).unwrap()), (10_000, b"\0end".to_vec()));
    let known = named::names();
    assert!(names.iter().all(|name| known.contains(name)));
    made.store(2);
    succeeded(&maker);
}

fn the_name_disappears_with_the_last_holder() {
    let name = name("last");
    let first = Value::create(&name, 1_u8).unwrap();
    assert_eq!(std::fs::metadata(file(&name)).unwrap().mode() & 0o777, 0o600);
    let second = Value::<u8>::open(&name).unwrap();
    drop(first);
    assert_eq!(second.get(), Ok(1));
    stranger(|| assert_eq!(Value::<u8>::open(&name).unwrap().get(), Ok(1)));
    drop(second);
    assert!(!file(&name).exists());
    assert_eq!(Value::<u8>::open(&name).unwrap_err(), NameError::NotFound);
}

fn a_forked_child_keeps_the_name() {
    let name = name("child");
    let go = RawValue::new(0_u8).unwrap();
    let value = std::cell::Cell::new(Some(Value::create(&name, 1_u8).unwrap()));
    let child = spawn(|| {
        eventually("the parent has dropped its handle", || go.load() == 1);
        let value = value.take().unwrap();
        assert_eq!(Value::<u8>::open(&name).unwrap().get(), Ok(1));
        drop(value);
        assert!(!file(&name).exists(), "the last holder removed it");
    });
    drop(value.take());
    assert!(file(&name).exists());
    go.store(1);
    succeeded(&child);
}

fn objects_of_a_killed_process_are_not_found() {
    for look in [0, 1, 2] {
        // Any program that looks for names at this moment removes it as well.
        assert!(
            (0..100).any(|_| look_for_the_name_of_a_killed_process(look)),
            "the kernel does not know of names"
        );
    }
}

/// Returns `false` if another program was faster.
fn look_for_the_name_of_a_killed_process(look: u8) -> bool {
    let name = name("killed");
    let made = RawValue::new(false).unwrap();
    let holder = spawn(|| {
        let _value = Value::create(&name, 1_u8).unwrap();
        made.store(true);
        hang();
    });
    eventually("the object is made", || made.load());
    kill(&holder);
    let is_left = file(&name).exists();
    match look {
        0 => assert_eq!(Value::<u8>::open(&name).unwrap_err(), NameError::NotFound),
        1 => assert!(!named::names().contains(&name)),
        _ => assert_eq!(Value::create(&name, 2_u8).unwrap().get(), Ok(2)),
    }
    assert!(!file(&name).exists());
    is_left
}

fn the_wrong_type_is_an_error() {
    let name = name("type");
    let _value = Value::create(&name, 1_u32).unwrap();
    assert!(matches!(Value::<i32>::open(&name), Err(NameError::WrongType { .. })));
    assert!(matches!(Value::<u64>::open(&name), Err(NameError::WrongType { .. })));
    assert!(matches!(RawValue::<u32>::open(&name), Err(NameError::WrongType { .. })));
    assert!(matches!(Array::<u32>::open(&name), Err(NameError::WrongType { .. })));
    assert!(matches!(Lock::open(&name), Err(NameError::WrongType { .. })));
    assert_eq!(Value::<u32>::open(&name).unwrap().get(), Ok(1));
}

fn an_error_says_what_was_found_and_what_was_expected() {
    mod other {
        #[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(transparent)]
        pub(super) struct Point(u16);
    }
    #[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(transparent)]
    struct Point(u64);

    let (value, lock) = (name("value"), name("lock"));
    let _made = (Value::create(&value, 1_u64).unwrap(), Lock::create(&lock).unwrap());
    let says = |refused: Result<(), NameError>, name: &str, text: &str| {
        assert_eq!(refused.unwrap_err().to_string(), format!("the name {name:?} belongs to {text}"));
    };
    let open_value = Value::<f32>::open(&value).map(drop);
    let found = ("Value<u64>".to_owned(), "Value<f32>".to_owned());
    let expected = NameError::WrongType { name: value.clone(), found: found.0, expected: found.1 };
    assert_eq!(open_value, Err(expected));
    says(open_value, &value, "a Value<u64>, not to a Value<f32>");
    says(Array::<u64>::open(&value).map(drop), &value, "a Value<u64>, not to an Array<u64>");
    says(Lock::open(&value).map(drop), &value, "a Value<u64>, not to a Lock");
    says(RLock::open(&lock).map(drop), &lock, "a Lock, not to an RLock");
    says(SharedMemory::open(&lock).map(drop), &lock, "a Lock, not to a SharedMemory");
    let point = name("point");
    let _point = Value::create(&point, Point(1)).unwrap();
    let refused = Value::<other::Point>::open(&point).map(drop);
    says(refused, &point, "a Value<Point> with another layout, not to a Value<Point>");
}

fn bad_names() {
    let longest = "n".repeat(named::NAME_BYTES_MAX);
    assert_eq!(Value::create(&longest, 1_u8).unwrap().get(), Ok(1));
    let too_long = "n".repeat(named::NAME_BYTES_MAX + 1);
    for bad in ["", "a/b", "a\0b", &too_long] {
        assert_eq!(Value::create(bad, 1_u8).unwrap_err(), NameError::BadName, "{bad:?}");
        assert_eq!(Value::<u8>::open(bad).unwrap_err(), NameError::BadName, "{bad:?}");
        assert_eq!(named::unlink(bad).unwrap_err(), NameError::BadName, "{bad:?}");
    }
    assert_eq!(named::unlink(&name("nobody")).unwrap_err(), NameError::NotFound);
}

fn one_creator_wins() {
    let winners = RawValue::new(0_u32).unwrap();
    let gate = RawValue::new(0_u32).unwrap();
    let name = name("race");
    let race = || {
        gate.fetch_add(1);
        eventually("all are there", || gate.load() >= 4);
        match Value::create(&name, 1_u8) {
            Ok(_value) => {
                winners.fetch_add(1);
                gate.fetch_add(1);
                eventually("all have tried", || gate.load() >= 8);
            }
            Err(error) => {
                assert_eq!(error, NameError::Exists);
                gate.fetch_add(1);
            }
        }
    };
    for _ in 0..50 {
        gate.store(0);
        winners.store(0);
        let racers = [(); 4].map(|()| spawn(race));
        racers.iter().for_each(succeeded);
        assert_eq!(winners.load(), 1);
    }
}

fn two_handles_in_one_process_are_one_lock() {
    let name = name("twice");
    let first = Value::create(&name, 1_u8).unwrap();
    let second = Value::<u8>::open(&name).unwrap();
    let guard = first.lock().unwrap();
    assert!(matches!(second.lock(), Err(LockError::Deadlock)), "seen as the same lock");
    drop(guard);
    stranger(|| {
        // The mapping that the child inherited is used again.
        let third = Value::<u8>::open(&name).unwrap();
        let guard = first.lock().unwrap();
        assert!(matches!(third.get(), Err(LockError::Deadlock)));
        drop(guard);
    });
    assert_eq!(second.get(), Ok(1));
}

fn the_opener_learns_that_a_holder_died() {
    let name = name("dies");
    let value = Value::create(&name, [1_u64; 2]).unwrap();
    let holds = RawValue::new(false).unwrap();
    let holder = spawn(|| {
        let opened = Value::<[u64; 2]>::open(&name).unwrap();
        let mut guard = opened.lock().unwrap();
        guard[0] = 2;
        holds.store(true);
        hang();
    });
    eventually("the stranger holds", || holds.load());
    kill(&holder);
    assert_eq!(value.get(), Err(LockError::Poisoned([2, 1])));
}

fn shortage_leaves_no_name() {
    let name = name("shortage");
    set_memory_limit(Some(1 << 20));
    let outcome = RawArray::<u8>::create(&name, 1 << 20);
    assert!(matches!(outcome, Err(NameError::Memory(_))), "{outcome:?}");
    assert!(!file(&name).exists());
    set_memory_limit(None);
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limit.maximum }).unwrap();
    let outcome = Value::create(&name, 1_u8).map(drop);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(outcome, Err(NameError::Memory(shm_core::MemoryError::OutOfDescriptors)));
    assert!(matches!(RawArray::<u64>::create(&name, usize::MAX), Err(NameError::Memory(_))));
    assert!(!file(&name).exists());
}

/// Another program's file is neither used nor removed.
fn a_file_that_is_no_segment() {
    let name = name("foreign");
    for bytes in [0, 7, 100, 4096, 10_000] {
        let foreign = std::fs::File::create(file(&name)).unwrap();
        foreign.set_len(bytes).unwrap();
        foreign.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Value::<u8>::open(&name).unwrap_err(), NameError::WrongVersion);
        assert_eq!(Value::create(&name, 1_u8).unwrap_err(), NameError::Exists);
        assert!(file(&name).exists());
        std::fs::remove_file(file(&name)).unwrap();
    }
    std::fs::create_dir(file(&name)).unwrap();
    assert!(Value::<u8>::open(&name).is_err());
    assert!(Value::create(&name, 1_u8).is_err());
    std::fs::remove_dir(file(&name)).unwrap();
}

/// A mutex that another user can write may contain any pointers, so such a file is not opened.
fn a_segment_that_others_can_change() {
    let name = name("planted");
    let value = Value::create(&name, 1_u8).unwrap();
    for mode in [0o666, 0o660, 0o604] {
        std::fs::set_permissions(file(&name), std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(Value::<u8>::open(&name).unwrap_err(), NameError::PermissionDenied, "{mode:o}");
    }
    std::fs::set_permissions(file(&name), std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(Value::<u8>::open(&name).unwrap().get(), Ok(1));
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(file(&name), Some(65_534), None).unwrap();
        assert_eq!(Value::<u8>::open(&name).unwrap_err(), NameError::PermissionDenied);
        std::os::unix::fs::chown(file(&name), Some(0), None).unwrap();
    }
    drop(value);
}

/// The guard of one handle outlives another handle, and nothing is leaked.
fn a_second_handle_is_dropped_under_the_first_ones_guard() {
    let name = name("second");
    let first = Value::create(&name, 1_u8).unwrap();
    let second = Value::<u8>::open(&name).unwrap();
    let guard = first.lock().unwrap();
    drop(second);
    drop(guard);
    drop(first);
    assert!(!file(&name).exists());
}

fn unlink_frees_the_name_and_keeps_the_object() {
    let name = name("unlink");
    let old = Value::create(&name, 1_u8).unwrap();
    named::unlink(&name).unwrap();
    assert_eq!(Value::<u8>::open(&name).unwrap_err(), NameError::NotFound);
    let new = Value::create(&name, 2_u8).unwrap();
    drop(old);
    assert_eq!(
        Value::<u8>::open(&name).unwrap().get(),
        Ok(2),
        "dropping the old one leaves the new name alone"
    );
    drop(new);
}

fn kills_while_creating_leave_nothing_half_made() {
    let name = name("creating");
    let mut random = Random::new();
    for _ in 0..300 {
        let begun = RawValue::new(false).unwrap();
        let creator = spawn(|| {
            loop {
                begun.store(true);
                drop(Value::create(&name, [7_u64; 100]));
            }
        });
        eventually("the creator works", || begun.load());
        random.pause(300_000);
        kill(&creator);
        match Value::<[u64; 100]>::open(&name) {
            Ok(found) => panic!("the dead hold nothing: {found:?}"),
            Err(error) => assert_eq!(error, NameError::NotFound),
        }
        assert_eq!(Value::create(&name, [8_u64; 100]).unwrap().get(), Ok([8; 100]));
    }
    assert!(!file(&name).exists());
}

/// A process that opens a name as another type has the file for a moment, and may be the last one that has it.
fn the_name_disappears_with_a_brief_holder() {
    /// The number of rounds, since two threads have to meet within a few instructions.
    const ROUNDS: usize = 300;
    let name = name("last");
    for _ in 0..ROUNDS {
        let value = Value::create(&name, 1_u64).unwrap();
        let go = Barrier::new(2);
        let last_holder = || {
            go.wait();
            drop(value);
        };
        let holder_of_a_moment = || {
            go.wait();
            let error = Value::<f64>::open(&name).unwrap_err();
            assert!(matches!(error, NameError::WrongType { .. } | NameError::NotFound), "{error}");
        };
        std::thread::scope(|scope| {
            Builder::new().spawn_scoped(scope, last_holder).unwrap();
            Builder::new().spawn_scoped(scope, holder_of_a_moment).unwrap();
        });
        assert!(!file(&name).exists(), "nobody holds it any more");
    }
}
