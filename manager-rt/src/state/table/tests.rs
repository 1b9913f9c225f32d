//! A table with small blocks and segments behaves like a list of pairs, and keeps its invariants.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

type Small = Table<String, u32, 4, 4>;
type Model = Vec<(u64, String, u32)>;

#[derive(Clone, Copy, Debug)]
enum Op {
    Insert(u8),
    Remove(u8),
    /// Removes an entry, inserts this many, and puts the entry back.
    RemoveAndRestore(u8, u8),
    PopLast,
    GetMut(u8),
    Page(u8, usize),
    Take,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        30 => any::<u8>().prop_map(Op::Insert),
        14 => any::<u8>().prop_map(Op::Remove),
        4 => any::<(u8, u8)>().prop_map(|(key, others)| Op::RemoveAndRestore(key, others % 8)),
        3 => Just(Op::PopLast),
        2 => any::<u8>().prop_map(Op::GetMut),
        2 => (any::<u8>(), 0_usize..40).prop_map(|(after, n)| Op::Page(after, n)),
        1 => (0_u8..4).prop_map(|die| if die == 0 { Op::Take } else { Op::PopLast }),
    ];
    prop::collection::vec(op, 0..300)
}

fn key(number: u8) -> String {
    format!("key {number}")
}

/// Fails unless the invariants in the documentation of the modules hold.
fn check(table: &Small) {
    let len = table.len();
    let mut slots = HashSet::new();
    let mut before = None;
    for (place, slot) in table.order.after(None) {
        let entry = table.slots.get(slot).expect("the order names slots that are taken");
        assert_eq!(entry.place, place);
        assert!(before < Some(place) && place < table.order.next_place(), "places ascend");
        before = Some(place);
        assert_eq!(table.find(entry.key.as_str()), Some(slot), "the index finds each entry");
        assert!(slots.insert(slot), "each slot is at one place");
    }
    assert_eq!(slots.len(), len);
    assert_eq!(table.iter().count(), len);
    table.index.check(len);
    table.slots.check();
}

/// Inserts into the model, in place or at the end, and returns the previous value.
fn model_insert(model: &mut Model, next: &mut u64, key: String, value: u32) -> Option<u32> {
    if let Some(entry) = model.iter_mut().find(|entry| entry.1 == key) {
        return Some(mem::replace(&mut entry.2, value));
    }
    model.push((*next, key, value));
    *next += 1;
    None
}

fn model_remove(model: &mut Model, key: &str) -> Option<(String, u32, u64)> {
    let at = model.iter().position(|entry| entry.1 == key)?;
    let (place, key, value) = model.remove(at);
    Some((key, value, place))
}

fn model_restore(model: &mut Model, place: u64, key: String, value: u32) -> Result<(), (String, u32)> {
    if model.iter().any(|entry| entry.0 == place || entry.1 == key) {
        return Err((key, value));
    }
    let at = model.partition_point(|entry| entry.0 < place);
    model.insert(at, (place, key, value));
    Ok(())
}

fn step(table: &mut Small, model: &mut Model, next: &mut u64, op: Op, value: u32) {
    match op {
        Op::Insert(number) => {
            let replaced = model_insert(model, next, key(number), value);
            assert_eq!(table.insert(key(number), value), Ok(replaced));
        }
        Op::Remove(number) => {
            assert_eq!(table.remove(key(number).as_str()), model_remove(model, &key(number)));
        }
        Op::RemoveAndRestore(number, others) => {
            let removed = table.remove(key(number).as_str());
            assert_eq!(removed, model_remove(model, &key(number)));
            for other in 0..others {
                let other = number.wrapping_add(other);
                let replaced = model_insert(model, next, key(other), value);
                assert_eq!(table.insert(key(other), value), Ok(replaced));
            }
            if let Some((key, value, place)) = removed {
                let expected = model_restore(model, place, key.clone(), value);
                assert_eq!(table.restore(place, key, value), expected);
            }
        }
        Op::PopLast => {
            assert_eq!(table.pop_last(), model.pop().map(|(place, key, value)| (key, value, place)));
        }
        Op::GetMut(number) => {
            let expected = model.iter_mut().find(|entry| entry.1 == key(number)).map(|entry| &mut entry.2);
            let found = table.get_mut(key(number).as_str());
            assert_eq!(found, expected);
            found.into_iter().chain(expected).for_each(|place| *place = value);
        }
        Op::Page(after, n) => {
            let after = (*next * u64::from(after) / 255).checked_sub(1);
            let expected = model.iter().filter(|entry| Some(entry.0) > after).take(n);
            let page = table.page(after, n).map(|(place, key, value)| (place, key.clone(), *value));
            assert!(page.eq(expected.cloned()));
        }
        Op::Take => {
            let mut taken = table.take();
            check(&taken);
            while let Some((key, value, place)) = taken.pop_last() {
                assert_eq!(model.pop(), Some((place, key, value)));
            }
            assert_eq!(*model, []);
            assert_eq!(taken.slots.memory(), 0);
        }
    }
}

proptest! {
    #[test]
    fn a_table_behaves_like_a_list_of_pairs(ops in ops()) {
        let (mut table, mut model, mut next) = (Small::new(), Model::new(), 0);
        for (&op, value) in ops.iter().zip(0..) {
            step(&mut table, &mut model, &mut next, op, value);
            check(&table);
            prop_assert_eq!(table.len(), model.len());
        }
        for number in 0..=255 {
            let expected = model.iter().find(|entry| entry.1 == key(number)).map(|entry| &entry.2);
            prop_assert_eq!(table.get(key(number).as_str()), expected);
            prop_assert_eq!(table.contains(key(number).as_str()), expected.is_some());
        }
        prop_assert!(table.iter().eq(model.iter().map(|(_, key, value)| (key, value))));
    }
}

#[test]
fn pages_show_each_entry_once_while_others_come_and_go() {
    let mut table = Table::<u64, u64, 4, 4>::default();
    for key in 0..500 {
        table.insert(key, key).unwrap();
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page: Vec<(u64, u64)> = table.page(after, 7).map(|(place, &key, _)| (place, key)).collect();
        let Some(&(last, key)) = page.last() else { break };
        seen.extend(page.iter().map(|&(_, key)| key));
        after = Some(last);
        table.remove(&key); // behind the walk
        table.remove(&(key + 1)); // before it
        if key < 100 {
            table.insert(1000 + key, 0).unwrap(); // at the end
        }
    }
    let mut once = seen.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), seen.len());
    // Each page of seven has one entry removed before it is read.
    assert!(seen.iter().filter(|&&key| key < 500).count() >= 500 - 500 / 8 - 1);
    assert!(seen.iter().any(|&key| key >= 1000), "entries that were added at the end are seen too");
}

#[test]
fn one_entry_above_the_limit_comes_back() {
    let mut table = Table::<u32, &str, 4, 4, 9>::new();
    for key in 0..9 {
        assert_eq!(table.insert(key, "within"), Ok(None));
    }
    assert_eq!(table.insert(9, "above"), Err((9, "above")));
    assert_eq!(table.insert(8, "replaced"), Ok(Some("within")));
    let (key, value, place) = table.remove(&3).unwrap();
    assert_eq!(table.insert(9, "in its stead"), Ok(None));
    assert_eq!(table.restore(place, key, value), Err((3, "within")));
    assert_eq!(table.pop_last(), Some((9, "in its stead", 9)));
    assert_eq!(table.restore(place, key, value), Ok(()));
    assert_eq!(table.len(), 9);
}

#[test]
fn restoring_never_takes_the_place_or_the_key_of_another() {
    let mut table = Table::<u32, u32, 4, 4>::new();
    table.insert(1, 10).unwrap();
    let (key, value, place) = table.remove(&1).unwrap();
    table.insert(1, 11).unwrap();
    assert_eq!(table.restore(place, key, value), Err((1, 10)), "the key was inserted again");
    assert_eq!(table.restore(1, 2, 20), Err((2, 20)), "the place is the new entry's");
    assert_eq!(table.restore(7, 2, 20), Ok(()));
    assert_eq!(table.insert(3, 30), Ok(None));
    assert_eq!(table.page(None, 9).map(|(place, ..)| place).collect::<Vec<_>>(), [1, 7, 8]);
}

#[test]
fn memory_is_freed_piece_by_piece() {
    let mut table = Table::<u32, [u64; 4]>::new();
    for key in 0..100_000 {
        table.insert(key, [0; 4]).unwrap();
    }
    assert_eq!(format!("{table:?}"), "Table { len: 100000, index: Index { segments: 98, .. }, .. }");
    let full = table.slots.memory();
    for key in 0..50_000 {
        table.remove(&key);
    }
    assert!(table.slots.memory() <= full / 2 + 256);
    for key in 50_000..99_000 {
        table.remove(&key);
    }
    assert_eq!(format!("{table:?}"), "Table { len: 1000, index: Index { segments: 3, .. }, .. }");
    for key in 99_000..100_000 {
        table.remove(&key);
    }
    assert_eq!(table.slots.memory(), 0);
    assert_eq!(format!("{table:?}"), "Table { len: 0, index: Index { segments: 0, .. }, .. }");
}

#[test]
fn the_memory_of_a_table_grows_and_shrinks_with_it() {
    const LEN: u64 = 100_000;
    let mut table = Table::<u64, u64>::new();
    assert_eq!(table.bytes(), 0);
    table.insert(0, 0).unwrap();
    assert!(table.bytes() < 1_000, "{} bytes for one entry", table.bytes());
    for key in 0..LEN {
        table.insert(key, key).unwrap();
    }
    let each = table.bytes() / usize::try_from(LEN).unwrap();
    assert!((32..=64).contains(&each), "{each} bytes for an entry");
    for key in 0..LEN {
        table.remove(&key).unwrap();
    }
    let left = table.bytes();
    assert!(left < 32_000, "{left} bytes for the spine of an empty table");
}
