//! Several calls in one frame do what the same calls do one by one.

use mp_sys::testing::Random;

use super::*;
use crate::count::{count_of, index_of};
use crate::proto::{ArrayOp, DictOp, ListOp, Number};
use crate::wire::together::{Together, Whose};

const KEYS: [&[u8]; 4] = [b"a", b"b", b"c", b"a key that is not stored in place"];

impl World {
    /// Sends calls in one frame, and returns their answers.
    fn ask_together(
        &mut self,
        client: ClientId,
        object: ObjectId,
        ops: &[Op<Raw<'_>>],
    ) -> Vec<Answer<Payload>> {
        let mut body = postcard::to_allocvec(&Whose { object, thread: 1 }).unwrap();
        ops.iter().for_each(|op| body.extend(postcard::to_allocvec(op).unwrap()));
        let (mut together, mut left) = (Together::of(&body).unwrap(), u16::try_from(ops.len()).unwrap());
        let mut answers = Vec::new();
        while left > 0 {
            let (call, now, frame) = (self.calls + 1, self.now, &Bytes::new());
            let caller = Caller { client, call, now, frame, is_settled: true };
            let mut effects = Effects::default();
            let done = match self.state.apply_together(caller, (&mut together, left), &mut effects) {
                Heard::Done => left,
                Heard::Partly { done, left } => {
                    assert_eq!(left, together.rest_len());
                    done
                }
                Heard::Unsettled => panic!("nothing is left to do"),
            };
            let answered = effects.answers.remove(0);
            assert_eq!((answered.call, effects.answers.len()), (call, 0));
            answers.push(answered.answer);
            answers.extend(answered.more);
            self.calls += u64::from(done);
            left -= done;
            self.tidy_unless_left();
        }
        assert_eq!(answers.len(), ops.len());
        answers
    }
}

fn random_op<'v>(object: usize, random: &mut Random, values: &'v [Vec<u8>]) -> Op<Raw<'v>> {
    let mut below = |count: usize| index_of(random.below(count_of(count)));
    let key = Raw::plain(KEYS[below(KEYS.len())]);
    let value = Raw::plain(&values[below(values.len())]);
    let other = Raw::plain(&values[below(values.len())]);
    let index = count_of(below(6));
    match object {
        0 => Op::Dict(match below(12) {
            0 => DictOp::Get(key),
            1 => DictOp::Insert(key, value),
            2 => DictOp::InsertNew(key, value),
            3 => DictOp::Claim(key, value),
            4 => DictOp::Remove(key),
            5 => DictOp::Contains(key),
            6 => DictOp::GetOrInsert(key, value),
            7 => DictOp::Len,
            8 => DictOp::FetchAdd(key, Number::U8(3)),
            9 => DictOp::CompareExchange { key, expected: Some(value), new: Some(other) },
            10 => DictOp::Store(key, value),
            _ => DictOp::Delete(key),
        }),
        1 => Op::List(match below(6) {
            0 => ListOp::Push(value),
            1 => ListOp::Get(index),
            2 => ListOp::Set(index, value),
            3 => ListOp::Store(index, value),
            4 => ListOp::Len,
            _ => ListOp::CompareExchange { at: index, expected: value, new: other },
        }),
        2 => Op::Array(match below(6) {
            0 => ArrayOp::Len,
            1 => ArrayOp::Get(index),
            2 => ArrayOp::Set(index, value),
            3 => ArrayOp::CompareExchange { at: index, expected: value, new: other },
            4 => ArrayOp::FetchAdd(index, Number::U8(1)),
            _ => ArrayOp::Store(index, value),
        }),
        _ => Op::Value(match below(5) {
            0 => ValueOp::Get,
            1 => ValueOp::Set(value),
            2 => ValueOp::CompareExchange { expected: value, new: other },
            3 => ValueOp::FetchAdd(Number::U8(1)),
            _ => ValueOp::Store(value),
        }),
    }
}

/// Returns a world with one object of each kind that has light operations.
fn world(limits: Limits) -> (World, ClientId, [ObjectId; 4]) {
    let mut world = World::with(limits);
    let client = world.client();
    let elements = vec![Raw::plain(b"\x01"); 4];
    let specs = [Spec::Dict, Spec::List, Spec::Array(elements), Spec::Value(Raw::plain(b"\x05"))];
    let objects = specs.map(|spec| world.create(client, spec));
    (world, client, objects)
}

#[test]
fn calls_of_one_frame_do_what_the_same_calls_do_one_by_one() {
    let values = [vec![1], vec![200], b"a value that is not stored in place".to_vec(), vec![7; 9_000]];
    for seed in 0..40 {
        let mut random = Random::seeded(seed);
        let (mut single, client, objects) = world(Limits::default());
        let (mut joined, other, others) = world(Limits::default());
        if seed % 2 == 0 {
            // Not every call is a step of its own.
            single.leave_the_rest();
            joined.leave_the_rest();
        }
        for _ in 0..40 {
            let kind = index_of(random.below(4));
            let count = 1 + random.below(30);
            let ops: Vec<_> = (0..count).map(|_| random_op(kind, &mut random, &values)).collect();
            let expected: Vec<_> =
                ops.iter().map(|op| single.ask(client, objects[kind], op.clone())).collect();
            assert_eq!(joined.ask_together(other, others[kind], &ops), expected, "seed {seed}");
            single.tidy();
            joined.tidy();
            assert_eq!(single.counts(), joined.counts());
        }
        let operations = |world: &World| world.state.changes().operations;
        assert_eq!(operations(&joined), operations(&single), "each of them counts");
    }
}

#[test]
fn an_operation_without_memory_is_undone_and_those_around_it_are_not() {
    let limits = Limits { memory_bytes: 40_000, ..Limits::default() };
    let (mut world, client, [dict, ..]) = world(limits);
    world.leave_the_rest();
    let long = vec![7; 30_000];
    let store = |key: &'static [u8], value| Op::Dict(DictOp::Store(Raw::plain(key), Raw::plain(value)));
    // Shorter than what travels alone, but the state machine does not mind.
    let ops = [store(b"a", &long), store(b"b", &long), store(b"c", b"short"), Op::Dict(DictOp::Len)];
    let answers = world.ask_together(client, dict, &ops);
    assert!(matches!(answers[1], Err(Fault::NoRoom { .. })), "{answers:?}");
    assert_eq!((&answers[0], &answers[2], &answers[3]), (&DONE, &DONE, &Ok(Reply::Count(2))));
}

#[test]
fn an_object_that_an_operation_drops_cannot_be_stored_by_the_next_one() {
    let (mut world, client, [dict, ..]) = world(Limits::default());
    world.leave_the_rest();
    let inside = world.create(client, Spec::Event);
    let ids = inside.0.to_le_bytes();
    let proxy = || Raw { bytes: b"proxy", ids: &ids };
    world.ask(client, dict, Op::Dict(DictOp::Store(Raw::plain(b"a"), proxy()))).unwrap();
    let detach = ManagerOp::Detach { references: vec![(inside, 1)], lingers: false };
    world.ask(client, ObjectId::MANAGER, Op::Manager(detach)).unwrap();
    let ops = [
        Op::Dict(DictOp::Delete(Raw::plain(b"a"))),
        Op::Dict(DictOp::Store(Raw::plain(b"b"), proxy())),
        Op::Dict(DictOp::Len),
    ];
    let expected = [Ok(Reply::Bool(true)), Err(Fault::UnknownObject), Ok(Reply::Count(0))];
    assert_eq!(world.ask_together(client, dict, &ops), expected);
}

#[test]
fn much_work_is_divided() {
    let (mut world, client, [_, list, ..]) = world(Limits::default());
    world.leave_the_rest();
    let items = vec![Raw::plain(b"x"); 4_000];
    for _ in 0..200 {
        world.ask(client, list, Op::List(ListOp::Extend(items.clone()))).unwrap();
    }
    let get = Op::List(ListOp::Get(700_000));
    world.ask(client, list, get.clone()).unwrap();
    let one = world.state.units();
    let count = u16::try_from(work::STEP_UNITS / one + 1).unwrap();
    let mut body = postcard::to_allocvec(&Whose { object: list, thread: 1 }).unwrap();
    (0..count).for_each(|_| body.extend(postcard::to_allocvec(&get).unwrap()));
    let caller = Caller { client, call: 1, now: 0, frame: &Bytes::new(), is_settled: true };
    let mut effects = Effects::default();
    let heard = world.state.apply_together(caller, (&mut Together::of(&body).unwrap(), count), &mut effects);
    let units = world.state.units();
    assert!(units <= work::STEP_UNITS / 2 + one, "{heard:?} took {units} units");
    assert!(matches!(heard, Heard::Partly { .. }), "{heard:?}");
}
