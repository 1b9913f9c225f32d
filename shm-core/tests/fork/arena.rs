//! Where objects lie: nothing is handed out twice, and nothing stays behind.

use mp_sys::testing::{eventually, spawn, succeeded, tests};
use shm_core::{RawArray, RawValue, Value, memory_mapped};

tests! {
    a_child_and_its_parent_never_allocate_the_same_bytes,
    what_a_child_may_know_is_not_reused,
    making_and_dropping_keeps_memory_bounded,
    forking_beside_values_keeps_memory_bounded,
    large_arrays_go_at_once,
    dropping_in_a_child_takes_nothing_from_the_parent,
}

const CHUNK: u64 = 1 << 20;

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

fn what_a_child_may_know_is_not_reused() {
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
    // A hundred million in a release build, where one takes some 70 ns.
    let rounds = if cfg!(debug_assertions) { 1_000_000 } else { 100_000_000 };
    for round in 0..rounds {
        drop(Value::new(round).unwrap());
    }
    assert_eq!(memory_mapped(), CHUNK);
    // Many at once, of several sizes: the chunks go when all that lies in them went.
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
    // 60 times 300 KiB were known to a child, so no slot was used twice: the chunks went instead.
    assert!(memory_mapped() <= 3 * CHUNK, "{} bytes mapped", memory_mapped());
    assert_eq!(alive.get(), Ok(60));
}

fn large_arrays_go_at_once() {
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
