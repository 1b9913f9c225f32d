//! Values and arrays: no change is lost or half seen, with the lock and without it.

use mp_sys::testing::plain::Plain;
use mp_sys::testing::spawner::Spawner;
use mp_sys::testing::{PATIENCE, bodies, eventually};
use shm_core::{Array, RawArray, RawValue, Value};

bodies! {
    no_increment_of_a_value_is_lost,
    large_values_are_whole,
    no_change_under_the_guard_of_an_array_is_lost,
    ranges_of_an_array_are_whole,
    single_elements_beside_each_other,
    reads_beside_guards_are_whole,
    reads_never_go_back,
    a_read_shows_what_was_written_before,
    atomics_lose_nothing,
    a_store_shows_what_was_written_before,
    elements_without_a_lock_are_whole,
}

const WORKERS: usize = 4;
const ROUNDS: u64 = 2_000;
/// Longer than what is copied in a loop: see `mp_sys::copy`.
const LONG: usize = 100;

fn no_increment_of_a_value_is_lost<S: Spawner>() {
    let (updated, locked) = (Value::new(0_u64).unwrap(), Value::new(0_u64).unwrap());
    let beside = Plain::new();
    S::all(WORKERS, |worker| {
        for _ in 0..ROUNDS {
            updated.update(|n| n + 1).unwrap();
            let mut guard = if worker == 0 { locked.lock_timeout(PATIENCE) } else { locked.lock() }.unwrap();
            *guard += 1;
            beside.add(1);
        }
    });
    assert_eq!(updated.get(), Ok(4 * ROUNDS));
    assert_eq!(locked.get(), Ok(4 * ROUNDS));
    assert_eq!(beside.get(), 4 * ROUNDS);
}

fn large_values_are_whole<S: Spawner>() {
    let value = Value::new([0_u64; LONG]).unwrap();
    let whole = |value: [u64; LONG]| value.iter().all(|&word| word == value[0]);
    S::all(WORKERS, |worker| {
        for round in 0..ROUNDS / 4 {
            match worker {
                0 => value.set([round; LONG]).unwrap(),
                1 => assert!(whole(value.replace([round; LONG]).unwrap())),
                2 => assert!(whole(value.update(|old| old.map(|word| word + 1)).unwrap())),
                _ => {
                    assert!(whole(value.get().unwrap()));
                    value.lock().unwrap().iter_mut().for_each(|word| *word ^= 1);
                }
            }
        }
    });
    assert!(whole(value.get().unwrap()));
}

fn no_change_under_the_guard_of_an_array_is_lost<S: Spawner>() {
    let array = Array::<u32>::zeroed(LONG).unwrap();
    S::all(WORKERS, |worker| {
        for _ in 0..ROUNDS / 4 {
            let mut guard = if worker == 0 { array.lock_timeout(PATIENCE) } else { array.lock() }.unwrap();
            guard.iter_mut().for_each(|element| *element += 1);
        }
    });
    let expected = u32::try_from(ROUNDS).unwrap();
    assert_eq!(array.to_vec(), Ok(vec![expected; LONG]));
}

fn ranges_of_an_array_are_whole<S: Spawner>() {
    let array = Array::<u64>::zeroed(LONG).unwrap();
    S::all(WORKERS, |worker| {
        let mut read = [0; LONG];
        for round in 0..ROUNDS / 4 {
            match worker {
                0 => array.write_all(&[round; LONG]).unwrap(),
                1 => array.fill(round).unwrap(),
                2 => {
                    array.read_into(0, &mut read).unwrap();
                    assert!(read.iter().all(|&element| element == read[0]), "{read:?}");
                }
                _ => {
                    let half = array.read(LONG / 2..LONG).unwrap();
                    assert!(half.iter().all(|&element| element == half[0]), "{half:?}");
                }
            }
        }
    });
}

fn single_elements_beside_each_other<S: Spawner>() {
    let small = Array::<u8>::zeroed(WORKERS).unwrap();
    let large = Array::<[u64; 3]>::zeroed(WORKERS).unwrap();
    S::all(WORKERS, |worker| {
        for round in 1..=ROUNDS {
            let byte = u8::try_from(round % 251).unwrap();
            small.set(worker, byte).unwrap();
            large.set(worker, [round; 3]).unwrap();
            assert_eq!(small.get(worker), Ok(byte), "nobody else writes here");
            let [first, .., last] = large.get((worker + 1) % WORKERS).unwrap();
            assert_eq!(first, last);
        }
    });
    assert_eq!(large.to_vec(), Ok(vec![[ROUNDS; 3]; WORKERS]));
}

/// Holders of guards leave equal halves, and break them while they change them in place.
fn reads_beside_guards_are_whole<S: Spawner>() {
    let small = Value::new(0_u64).unwrap();
    let bytes = Value::new([0_u8; 6]).unwrap();
    let large = Value::new([0_u64; 5]).unwrap();
    let array = Array::<[u16; 3]>::zeroed(LONG).unwrap();
    let whole = |word: u64| word >> 32 == word & u64::from(u32::MAX);
    S::all(WORKERS, |worker| {
        for round in 0..ROUNDS {
            if worker == 0 {
                let mut guard = small.lock().unwrap();
                *guard ^= 1;
                *guard ^= 1 << 32;
                drop(guard);
                bytes.lock().unwrap().iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                large.lock().unwrap().iter_mut().for_each(|word| *word += 1);
                array.lock().unwrap().as_flattened_mut().iter_mut().for_each(|word| *word ^= 1);
                array.fill([u16::try_from(round).unwrap(); 3]).unwrap();
            } else {
                assert!(whole(small.get().unwrap()));
                let bytes = bytes.get().unwrap();
                assert_eq!(bytes, [bytes[0]; 6]);
                let large = large.get().unwrap();
                assert_eq!(large, [large[0]; 5]);
                let element = array.get(LONG - 1).unwrap();
                assert_eq!(element, [element[0]; 3]);
                let range = array.read(1..LONG - 1).unwrap();
                assert!(range.as_flattened().iter().all(|&word| word == range[0][0]), "{range:?}");
            }
        }
    });
}

/// Elements are incremented one after the other. A range never shows a later one ahead of an earlier one, and no read is
/// older than the previous one.
fn reads_never_go_back<S: Spawner>() {
    let (small, large) = (Value::new(0_u64).unwrap(), Value::new([0_u64; 9]).unwrap());
    let (whole, odd) = (Array::<u32>::zeroed(8).unwrap(), Array::<[u32; 3]>::zeroed(8).unwrap());
    S::all(WORKERS, |worker| {
        let mut before = [0; 4];
        for round in 1..=ROUNDS {
            if worker == 0 {
                let count = u32::try_from(round).unwrap();
                small.update(|count| count + 1).unwrap();
                large.set([round; 9]).unwrap();
                (0..8).for_each(|index| whole.set(index, count).unwrap());
                (0..8).for_each(|index| odd.set(index, [count; 3]).unwrap());
                continue;
            }
            let large = large.get().unwrap();
            assert_eq!(large, [large[0]; 9]);
            let whole = whole.to_vec().unwrap();
            assert!(whole.is_sorted_by(|first, second| first >= second), "{whole:?}");
            let odd = odd.to_vec().unwrap();
            assert!(odd.is_sorted_by(|first, second| first >= second), "{odd:?}");
            assert!(odd.iter().all(|element| *element == [element[0]; 3]), "{odd:?}");
            let now = [small.get().unwrap(), large[0], whole[7].into(), odd[7][0].into()];
            assert!(before.iter().zip(now).all(|(before, now)| *before <= now), "{now:?} after {before:?}");
            before = now;
        }
    });
    assert_eq!(small.get(), Ok(ROUNDS));
}

/// A reader of a value sees what was written before the value was stored, whatever its size.
fn a_read_shows_what_was_written_before<S: Spawner>() {
    let (small, large) = (Value::new(0_u32).unwrap(), Value::new([0_u64; 2]).unwrap());
    let guarded = Value::new(0_u64).unwrap();
    let array = Array::<u32>::zeroed(2).unwrap();
    let words = [Plain::new(), Plain::new(), Plain::new(), Plain::new()];
    S::all(2, |worker| {
        if worker == 0 {
            words[0].set(1);
            small.set(1).unwrap();
            words[1].set(2);
            large.set([1; 2]).unwrap();
            words[2].set(3);
            *guarded.lock().unwrap() = 1;
            words[3].set(4);
            array.set(1, 1).unwrap();
        } else {
            eventually("the small value is stored", || small.get() == Ok(1));
            assert_eq!(words[0].get(), 1);
            eventually("the large value is stored", || large.get() == Ok([1; 2]));
            assert_eq!(words[1].get(), 2);
            eventually("the value is changed in place", || guarded.get() == Ok(1));
            assert_eq!(words[2].get(), 3);
            eventually("the element is stored", || array.get(1) == Ok(1));
            assert_eq!(words[3].get(), 4);
        }
    });
}

fn atomics_lose_nothing<S: Spawner>() {
    let (added, exchanged) = (RawValue::new(0_u64).unwrap(), RawValue::new(0_i64).unwrap());
    let floats = RawArray::<f32>::zeroed(2).unwrap();
    S::all(WORKERS, |_| {
        for _ in 0..ROUNDS {
            added.fetch_add(1);
            floats.fetch_add(1, 1.0).unwrap();
            let mut current = exchanged.load();
            while let Err(found) = exchanged.compare_exchange(current, current - 1) {
                current = found;
            }
        }
    });
    assert_eq!(added.load(), 4 * ROUNDS);
    assert_eq!(exchanged.load(), -i64::try_from(4 * ROUNDS).unwrap());
    assert_eq!(floats.to_vec(), [0.0, 8_000.0]);
}

/// `store` releases and `load` acquires, in a value and in an element.
fn a_store_shows_what_was_written_before<S: Spawner>() {
    let value = RawValue::new(0_u64).unwrap();
    let elements = RawArray::<u32>::zeroed(2).unwrap();
    let words = [Plain::new(), Plain::new()];
    S::all(2, |worker| {
        if worker == 0 {
            words[0].set(1);
            value.store(1);
            eventually("the element is stored", || elements.get(1) == Ok(1));
            assert_eq!(words[1].get(), 2);
        } else {
            eventually("the value is stored", || value.load() == 1);
            assert_eq!(words[0].get(), 1);
            words[1].set(2);
            elements.set(1, 1).unwrap();
        }
    });
}

fn elements_without_a_lock_are_whole<S: Spawner>() {
    let array = RawArray::<u64>::zeroed(LONG).unwrap();
    // A mixture of two stores would have two different halves.
    let whole = |element: &u64| element >> 32 == element & u64::from(u32::MAX);
    S::all(WORKERS, |worker| {
        let mut read = [0; LONG];
        for round in 0..ROUNDS / 4 {
            let element = round << 32 | round;
            match worker {
                0 => array.write_all(&[element; LONG]).unwrap(),
                1 => (0..LONG).for_each(|index| array.set(index, element).unwrap()),
                2 => {
                    array.read_into(0, &mut read).unwrap();
                    assert!(read.iter().all(whole), "{read:?}");
                }
                _ => assert!((0..LONG).all(|index| whole(&array.get(index).unwrap()))),
            }
        }
    });
}
