//! The memory of objects: no bytes are used twice, and no memory is leaked.

use mp_sys::testing::{Random, eventually, spawn, succeeded, tests};
use shm_core::{RawArray, RawValue, Value, memory_mapped};

tests! {
    a_child_and_its_parent_never_allocate_the_same_bytes,
    memory_that_a_child_may_know_is_not_reused,
    making_and_dropping_keeps_memory_bounded,
    forking_beside_values_keeps_memory_bounded,
    large_arrays_are_unmapped_at_once,
    dropping_in_a_child_takes_nothing_from_the_parent,
    remaining_values_do_not_keep_dropped_arrays,
    remaining_values_do_not_keep_dropped_values,
    remaining_values_do_not_keep_arrays_that_a_child_knew,
    objects_in_any_order_take_four_times_their_bytes_at_most,
}

const CHUNK: u64 = 1 << 20;
const PAGE: u64 = 4096;

fn a_child_and_its_parent_never_allocate_the_same_bytes() {
    let before = Value::new(0_u64).unwrap();
    let turn = RawValue::new(0_u8).unwrap();
    let child = spawn(|| {
        let theirs: Vec<Value<u64>> = (0..1000).map(|_| Value::new(1).unwrap()).collect();
        turn.store(1);
        eventually("the parent has allocated", || turn.load() == 2);
        assert!(theirs.iter().all(|value| value.get() == Ok(1)));
    });
    eventually("the child has allocated", || turn.load() == 1);
    let mine: Vec<Value<u64>> = (0..1000).map(|_| Value::new(2).unwrap()).collect();
    turn.store(2);
    succeeded(&child);
    assert!(mine.iter().all(|value| value.get() == Ok(2)));
    assert_eq!(before.get(), Ok(0));
}

fn memory_that_a_child_may_know_is_not_reused() {
    let turn = RawValue::new(0_u8).unwrap();
    let shared = Value::new(7_u64).unwrap();
    let child = spawn(|| {
        eventually("the parent has dropped and allocated", || turn.load() == 1);
        assert_eq!(shared.get(), Ok(7));
    });
    drop(shared);
    let others: Vec<Value<u64>> = (0..1000).map(|_| Value::new(8).unwrap()).collect();
    turn.store(1);
    succeeded(&child);
    drop(others);
}

fn making_and_dropping_keeps_memory_bounded() {
    let alive = Value::new(1_u64).unwrap();
    // A hundred million in a release build, where one takes about 70 ns.
    let rounds = if cfg!(debug_assertions) { 1_000_000 } else { 100_000_000 };
    for round in 0..rounds {
        drop(Value::new(round).unwrap());
    }
    assert_eq!(memory_mapped(), 2 * PAGE, "the chunk's header, and a page of objects");
    // Many at once, of several sizes: a chunk is unmapped when all objects in it were dropped.
    let many: Vec<Value<[u64; 30]>> = (0..10_000).map(|_| Value::new([1; 30]).unwrap()).collect();
    let arrays: Vec<RawArray<u8>> = (0..200).map(|n| RawArray::zeroed(n * 100).unwrap()).collect();
    assert!(memory_mapped() > 5 * CHUNK);
    drop((many, arrays));
    assert!(memory_mapped() <= 2 * CHUNK, "{} bytes mapped", memory_mapped());
    assert_eq!(alive.get(), Ok(1));
}

fn forking_beside_values_keeps_memory_bounded() {
    let alive = Value::new(0_u64).unwrap();
    for _ in 0..60 {
        let known: Vec<Value<[u8; 500]>> = (0..300).map(|_| Value::new([1; 500]).unwrap()).collect();
        succeeded(&spawn(|| {
            alive.update(|n| n + 1).unwrap();
            assert_eq!(known[299].get(), Ok([1; 500]));
        }));
    }
    // A child knew 60 times 300 KiB, so no slot was used twice. The chunks were unmapped instead.
    assert!(memory_mapped() <= 3 * CHUNK, "{} bytes mapped", memory_mapped());
    assert_eq!(alive.get(), Ok(60));
}

fn large_arrays_are_unmapped_at_once() {
    let small = Value::new(0_u8).unwrap();
    let before = memory_mapped();
    let large = RawArray::<u64>::zeroed(1 << 20).unwrap();
    assert_eq!(memory_mapped(), before + (8 << 20) + 4096, "and a page that says what lies there");
    succeeded(&spawn(|| large.set((1 << 20) - 1, 5).unwrap()));
    assert_eq!(large.get((1 << 20) - 1), Ok(5));
    drop(large);
    assert_eq!(memory_mapped(), before);
    drop(small);
}

fn dropping_in_a_child_takes_nothing_from_the_parent() {
    let kept = Value::new(3_u64).unwrap();
    let array = RawArray::from_slice(&[1_u8; 1 << 19]).unwrap();
    let shared = std::cell::Cell::new(Some((kept, array)));
    succeeded(&spawn(|| drop(shared.take())));
    let (kept, array) = shared.take().unwrap();
    assert_eq!(kept.get(), Ok(3));
    assert_eq!(array.get((1 << 19) - 1), Ok(1));
}

/// How much is kept for the next objects, whatever is in use.
const KEPT: u64 = 4 * CHUNK;

#[track_caller]
fn takes_little(values: &[Value<u64>]) {
    let mapped = memory_mapped();
    // Each value may use a page of its own, and the words of that page another one.
    let most = u64::try_from(values.len()).unwrap() * 2 * PAGE + KEPT;
    assert!(mapped <= most, "{} values keep {mapped} bytes", values.len());
    for (n, value) in (0..).zip(values) {
        assert_eq!(value.get(), Ok(n));
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn remaining_values_do_not_keep_dropped_arrays() {
    let before = descriptors();
    let (mut values, mut arrays) = (Vec::new(), Vec::new());
    for n in 0..100 {
        values.push(Value::new(n).unwrap());
        arrays.extend((0..3).map(|_| RawArray::from_slice(&[1_u8; 250_000]).unwrap()));
    }
    assert!(memory_mapped() > 75 * CHUNK);
    drop(arrays);
    takes_little(&values);
    // One descriptor and one mapping for each chunk: those of the values, and the newest one of arrays.
    assert!(descriptors() <= before + 2, "{} descriptors for {before}", descriptors());
}

fn remaining_values_do_not_keep_dropped_values() {
    let mut values = Vec::new();
    let others: Vec<Value<u64>> = (0..20)
        .flat_map(|n| {
            values.push(Value::new(n).unwrap());
            (0..16_000).map(|_| Value::new(0).unwrap())
        })
        .collect();
    assert!(memory_mapped() > 20 * CHUNK);
    drop(others);
    takes_little(&values);
    // The room is used again, also for other sizes.
    let mapped = memory_mapped();
    let others: Vec<Value<[u64; 8]>> = (0..20_000).map(|_| Value::new([7; 8]).unwrap()).collect();
    assert!(memory_mapped() - mapped <= 20_000 * 256 * 5 / 4, "{} bytes more", memory_mapped() - mapped);
    assert!(others.iter().all(|other| other.get() == Ok([7; 8])));
    drop(others);
    takes_little(&values);
}

fn remaining_values_do_not_keep_arrays_that_a_child_knew() {
    let mut values = Vec::new();
    for n in 0..40 {
        values.push(Value::new(n).unwrap());
        let arrays = [(); 3].map(|()| RawArray::from_slice(&[1_u8; 250_000]).unwrap());
        succeeded(&spawn(|| arrays.iter().for_each(|array| array.set(0, 2).unwrap())));
        assert!(arrays.iter().all(|array| array.get(0) == Ok(2)));
    }
    takes_little(&values);
}

fn objects_in_any_order_take_four_times_their_bytes_at_most() {
    let mut random = Random::new();
    let seed = random.seed();
    let mut live: Vec<RawArray<u8>> = Vec::new();
    let mut bytes = 0;
    for phase in 0..8 {
        // Grows to some MiB, and shrinks again.
        let makes = if phase % 2 == 0 { 3 } else { 1 };
        for step in 0..8_000 {
            if random.below(4) < makes || live.is_empty() {
                // Up to 128 KiB: many small ones, few large ones.
                let bits = 6 + random.below(12).min(random.below(12));
                let len = usize::try_from((1 << bits) - random.below(1 << (bits - 1))).unwrap();
                bytes += len;
                live.push(RawArray::from_slice(&vec![1_u8; len]).unwrap());
            } else {
                let count = u64::try_from(live.len()).unwrap();
                bytes -= live.swap_remove(usize::try_from(random.below(count)).unwrap()).len();
            }
            let mapped = memory_mapped();
            let most = u64::try_from(4 * bytes).unwrap() + KEPT;
            assert!(
                mapped <= most,
                "{mapped} bytes for {bytes} in use, MP_SEED={seed}, phase {phase}, step {step}"
            );
        }
    }
    drop(live);
    shm_core::release_unused_memory();
    assert_eq!(memory_mapped(), 0);
}
