//! A sequence in chunks of four and of 16 behaves like a `VecDeque`, and keeps its invariants.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// One call. Its index is taken modulo a little more than the length, so that it is sometimes past the end.
#[derive(Clone, Copy, Debug)]
enum Op {
    Push,
    PushFront,
    Pop,
    PopFront,
    Insert(usize),
    Remove(usize),
    Replace(usize),
    Swap(usize, usize),
    GetMut(usize),
    Range(usize, usize),
    Extend(usize),
    Take,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => Just(Op::Push),
        5 => Just(Op::PushFront),
        3 => Just(Op::Pop),
        3 => Just(Op::PopFront),
        12 => any::<usize>().prop_map(Op::Insert),
        10 => any::<usize>().prop_map(Op::Remove),
        2 => any::<usize>().prop_map(Op::Replace),
        2 => any::<(usize, usize)>().prop_map(|(one, other)| Op::Swap(one, other)),
        2 => any::<usize>().prop_map(Op::GetMut),
        2 => (any::<usize>(), 0_usize..40).prop_map(|(at, n)| Op::Range(at, n)),
        2 => (0_usize..40).prop_map(Op::Extend),
        1 => Just(Op::Take),
    ];
    prop::collection::vec(op, 0..400)
}

/// Fails unless the invariants in the documentation of the module hold.
fn check<const LIMIT: usize>(sequence: &Sequence<u32, LIMIT>) {
    let lens: Vec<usize> = sequence.chunks.iter().map(VecDeque::len).collect();
    assert!(lens.iter().all(|&len| (1..=LIMIT).contains(&len)), "1: {lens:?}");
    assert_eq!(lens, sequence.lens.iter().map(|&len| usize::from(len)).collect::<Vec<_>>(), "2");
    assert_eq!(lens.iter().sum::<usize>(), sequence.len(), "2");
    let inner = lens.get(1..lens.len().saturating_sub(1)).unwrap_or_default();
    assert_eq!(inner.iter().filter(|&&len| len < LIMIT).count(), sequence.loose, "3: {lens:?}");
    assert!(
        sequence.chunks.iter().all(|chunk| chunk.capacity() <= LIMIT.max(4)),
        "a chunk outgrew its limit"
    );
}

fn run<const LIMIT: usize>(ops: &[Op]) {
    let mut sequence = Sequence::<u32, LIMIT>::new();
    let mut model = VecDeque::new();
    for (&op, value) in ops.iter().zip(0_u32..) {
        step(&mut sequence, &mut model, op, value);
        check(&sequence);
        assert_eq!(sequence.len(), model.len());
    }
    assert!(sequence.range(0, usize::MAX).eq(model.iter()));
    assert!((0..model.len() + 2).all(|at| sequence.get(at) == model.get(at)));
}

fn step<const LIMIT: usize>(
    sequence: &mut Sequence<u32, LIMIT>,
    model: &mut VecDeque<u32>,
    op: Op,
    value: u32,
) {
    let past_len = model.len() + 2;
    match op {
        Op::Push => {
            sequence.push(value);
            model.push_back(value);
        }
        Op::PushFront => {
            sequence.push_front(value);
            model.push_front(value);
        }
        Op::Pop => assert_eq!(sequence.pop(), model.pop_back()),
        Op::PopFront => assert_eq!(sequence.pop_front(), model.pop_front()),
        Op::Insert(at) => {
            let at = at % past_len;
            let fits = at <= model.len();
            assert_eq!(sequence.insert(at, value), if fits { Ok(()) } else { Err(value) });
            if fits {
                model.insert(at, value);
            }
        }
        Op::Remove(at) => assert_eq!(sequence.remove(at % past_len), model.remove(at % past_len)),
        Op::Replace(at) => {
            let expected = model.get_mut(at % past_len).map(|place| mem::replace(place, value));
            assert_eq!(sequence.replace(at % past_len, value), expected.ok_or(value));
        }
        Op::Swap(one, other) => {
            let (one, other) = (one % past_len, other % past_len);
            let fits = one.max(other) < model.len();
            assert_eq!(sequence.swap(one, other), fits);
            if fits {
                model.swap(one, other);
            }
        }
        Op::GetMut(at) => {
            let (one, other) = (sequence.get_mut(at % past_len), model.get_mut(at % past_len));
            assert_eq!(one, other);
            one.into_iter().chain(other).for_each(|place| *place = value);
        }
        Op::Range(at, n) => {
            let at = at % past_len;
            let range = sequence.range(at, n);
            assert_eq!(range.len(), n.min(model.len().saturating_sub(at)));
            assert!(range.eq(model.iter().skip(at).take(n)));
            let before = if at < model.len() { at + 1 } else { 0 };
            assert!(sequence.backwards_from(at).eq(model.iter().take(before).rev()));
        }
        Op::Extend(n) => {
            sequence.extend((0..n).map(|_| value));
            model.extend((0..n).map(|_| value));
        }
        Op::Take => {
            let taken = sequence.take();
            check(&taken);
            assert!(taken.range(0, usize::MAX).eq(mem::take(model).iter()));
        }
    }
}

proptest! {
    #[test]
    fn is_a_vec_deque_in_chunks_of_four(ops in ops()) {
        run::<4>(&ops);
    }

    #[test]
    fn is_a_vec_deque_in_chunks_of_sixteen(ops in ops()) {
        run::<16>(&ops);
    }
}

#[test]
fn items_pushed_at_both_ends_are_found_by_division() {
    let mut sequence = Sequence::<u32, 4>::new();
    for value in 0..50 {
        sequence.push(value);
        sequence.push_front(1000 + value);
    }
    for _ in 0..5 {
        sequence.pop();
        sequence.pop_front();
    }
    check(&sequence);
    assert_eq!(sequence.loose, 0);
}

#[test]
fn many_lengths_are_added_up_on_both_sides_of_the_wrap_of_the_spine() {
    let mut sequence: Sequence<u32, 4> = (0..4000).collect();
    let mut model: VecDeque<u32> = (0..4000).collect();
    for value in 0..900 {
        sequence.push_front(value);
        model.push_front(value);
        sequence.insert(1234 + value as usize, value).unwrap();
        model.insert(1234 + value as usize, value);
    }
    check(&sequence);
    assert!(sequence.loose > 0);
    assert!((0..model.len()).all(|at| sequence.get(at) == model.get(at)));
}

#[test]
fn removing_frees_memory() {
    let mut sequence: Sequence<u32, 16> = (0..16_000).collect();
    let mut step = 0;
    while sequence.len() > 1000 {
        step = (step + 7919) % sequence.len();
        sequence.remove(step);
    }
    check(&sequence);
    assert!(sequence.chunks.len() <= 2 * 1000 / 8 + 3, "{sequence:?}");
    while sequence.pop().is_some() {}
    assert_eq!(sequence.chunks.len(), 0);
}

#[test]
fn the_debug_text_does_not_grow_with_the_items() {
    let sequence: Sequence<u32> = (0..100_000).collect();
    assert_eq!(format!("{sequence:?}"), "Sequence { len: 100000, chunks: 196, .. }");
    assert_eq!(format!("{:?}", sequence.range(5, 7)), "Range { left: 7, .. }");
}

#[test]
fn the_memory_of_a_sequence_grows_and_shrinks_with_it() {
    const LEN: usize = 100_000;
    let mut sequence = Sequence::<u64>::new();
    assert_eq!(sequence.bytes(), 0);
    sequence.push(1);
    assert!(sequence.bytes() <= 300, "{} bytes for one item", sequence.bytes());
    sequence.extend(1..u64::try_from(LEN).unwrap());
    let items = LEN * size_of::<u64>();
    let bytes = sequence.bytes();
    assert!(bytes >= items && bytes < items + items / 8, "{bytes} for {items}");
    while sequence.len() > 10 {
        sequence.pop_front().unwrap();
    }
    assert!(sequence.bytes() <= 2 * 512 * size_of::<u64>() + 1_000, "{}", sequence.bytes());
    while sequence.pop().is_some() {}
    assert_eq!(sequence.bytes(), 0);
}
