//! Shortages by limits that the test sets, never by real exhaustion.

use std::sync::Barrier;

use mp_sys::testing::leaks::Snapshot;
use mp_sys::testing::{spawn, succeeded, tests};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shm_core::{
    Array, MemoryError, NameError, RawArray, RawValue, Value, memory_limit, memory_mapped, set_memory_limit,
};

tests! {
    the_memory_limit_and_one_byte_above,
    a_file_size_limit_raises_no_signal,
    no_free_descriptor,
    lengths_that_overflow,
    the_limit_counts_what_is_mapped,
    threads_that_reserve_at_once_stay_within_the_limit,
    the_memory_of_a_named_object_is_counted,
}

const MIB: usize = 1 << 20;
/// A large object has a page before it.
const PAGE: usize = 4096;

fn is_no_space<T>(outcome: &Result<T, MemoryError>) -> bool {
    matches!(outcome, Err(MemoryError::NoSpace { .. }))
}

fn the_memory_limit_and_one_byte_above() {
    assert_eq!(memory_limit(), None, "unless MP_SHM_MAX is set");
    set_memory_limit(Some(8 << 20));
    let outcome = RawArray::<u8>::zeroed(8 * MIB - PAGE + 1);
    // A mapping has whole pages.
    let expected = MemoryError::NoSpace { wanted: (8 << 20) + 4096, available: 8 << 20 };
    assert_eq!(outcome.unwrap_err(), expected);
    assert_eq!(
        expected.to_string(),
        "no space for 8392704 bytes of shared memory: 8388608 bytes are available"
    );
    assert_eq!(memory_mapped(), 0, "nothing was made");
    let whole = RawArray::<u8>::zeroed(8 * MIB - PAGE).unwrap();
    whole.fill(1);
    assert!(is_no_space(&Value::new(1_u8)), "the limit is used up");
    drop(whole);
    let value = Value::new(1_u8).unwrap();
    assert!(is_no_space(&Array::<u64>::zeroed(MIB)), "a chunk for the value, and then 8 MiB");
    assert_eq!(value.get(), Ok(1), "usable afterwards");
}

/// Writing beyond RLIMIT_FSIZE would raise SIGXFSZ, which kills the process.
fn a_file_size_limit_raises_no_signal() {
    let limit = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: Some(2 << 20), maximum: limit.maximum }).unwrap();
    let refused = RawArray::<u8>::zeroed(2 * MIB - PAGE + 1).map(drop);
    assert!(matches!(refused, Err(MemoryError::FileSizeLimit { limit: 0x20_0000, .. })), "{refused:?}");
    let len = 2 * MIB - PAGE;
    assert_eq!(RawArray::<u8>::zeroed(len).map(|array| array.len()), Ok(len));
}

fn no_free_descriptor() {
    let before = Snapshot::take();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), maximum: limit.maximum }).unwrap();
    let outcome = Value::new(1_u8).map(drop);
    setrlimit(Resource::Nofile, limit).unwrap();
    assert_eq!(outcome, Err(MemoryError::OutOfDescriptors));
    assert!(before.leaked_since().is_none());
    assert_eq!(Value::new(1_u8).unwrap().get(), Ok(1));
}

fn lengths_that_overflow() {
    assert!(is_no_space(&RawArray::<u64>::zeroed(usize::MAX)));
    assert!(is_no_space(&RawArray::<u64>::zeroed(usize::MAX / 8)));
    assert!(is_no_space(&Array::<u64>::zeroed(usize::MAX)));
    assert!(is_no_space(&Array::<u8>::zeroed(usize::MAX)));
    assert!(is_no_space(&Array::<[u64; 9]>::zeroed(usize::MAX / 72)));
    assert_eq!(memory_mapped(), 0);
}

fn the_limit_counts_what_is_mapped() {
    let first = RawArray::<u8>::zeroed(3 * MIB).unwrap();
    assert_eq!(memory_mapped(), (3 << 20) + 4096);
    set_memory_limit(Some(1 << 20));
    assert!(is_no_space(&RawArray::<u8>::zeroed(MIB)), "a limit below what is there allows nothing more");
    assert_eq!(first.get(3 * MIB - 1), Ok(0));
    set_memory_limit(None);
    assert_eq!(RawArray::<u8>::zeroed(MIB).map(|array| array.len()), Ok(MIB));
}

/// Each of them would fit alone.
fn threads_that_reserve_at_once_stay_within_the_limit() {
    const THREADS: usize = 16;
    const FIT: usize = 5;
    let one = u64::try_from(MIB).unwrap();
    for spare in [0, one - 1] {
        set_memory_limit(Some(one * u64::try_from(FIT).unwrap() + spare));
        let start = Barrier::new(THREADS);
        let make = || {
            start.wait();
            RawArray::<u8>::zeroed(MIB - PAGE)
        };
        let made: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|made| made.is_ok()).count(), FIT);
        assert_eq!(made.iter().filter(|made| is_no_space(made)).count(), THREADS - FIT);
        assert_eq!(memory_mapped(), one * u64::try_from(FIT).unwrap());
        drop(made);
        assert_eq!(memory_mapped(), 0, "everything was given back");
    }
}

fn the_memory_of_a_named_object_is_counted() {
    let name = format!("test-{}-counts", rustix::process::getpid().as_raw_nonzero());
    let made = RawValue::new(0_u8).unwrap();
    let opened = RawValue::new(false).unwrap();
    // Another process made it, so this one has no mapping of it yet.
    let maker = spawn(|| {
        let array = RawArray::<u8>::create(&name, MIB - PAGE).unwrap();
        made.store(1);
        mp_sys::testing::eventually("it was opened", || opened.load());
        drop(array);
    });
    mp_sys::testing::eventually("it was made", || made.load() == 1);
    let before = memory_mapped();
    let one = u64::try_from(MIB).unwrap();
    set_memory_limit(Some(before + one - 1));
    let refused = RawArray::<u8>::open(&name).map(drop);
    let expected = MemoryError::NoSpace { wanted: one, available: one - 1 };
    assert_eq!(refused, Err(NameError::Memory(expected)));
    assert_eq!(memory_mapped(), before);
    set_memory_limit(Some(before + one));
    let array = RawArray::<u8>::open(&name).unwrap();
    assert_eq!(memory_mapped(), before + one);
    let again = RawArray::<u8>::open(&name).unwrap();
    assert_eq!(memory_mapped(), before + one, "mapped once, counted once");
    assert!(is_no_space(&RawArray::<u8>::zeroed(MIB)));
    drop((array, again));
    assert_eq!(memory_mapped(), before);
    opened.store(true);
    succeeded(&maker);
}
