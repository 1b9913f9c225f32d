//! An array behaves like a slice, and transactions on it can be undone.

use proptest::prelude::*;

use super::containers::{failing, id, long_list, payload, raw};
use super::*;
use crate::limits::{ARRAY_ELEMENTS_MAX, VALUES_AT_ONCE_MAX};
use crate::proto::{ArrayOp, ListOp, Number};

const LEN: u64 = 5;

fn ops() -> impl Strategy<Value = ArrayOp<Raw<'static>>> {
    // Encoded numbers, and a value that is not a number.
    let value = || prop::sample::select(vec![&[0][..], &[1], &[127], &[0x80, 1], &[0xff]]).prop_map(raw);
    let at = || 0..LEN + 2;
    prop_oneof![
        1 => Just(ArrayOp::Len),
        2 => at().prop_map(ArrayOp::Get),
        3 => (at(), value()).prop_map(|(at, value)| ArrayOp::Set(at, value)),
        2 => (at(), value()).prop_map(|(at, value)| ArrayOp::Store(at, value)),
        2 => (at(), 0..LEN + 2).prop_map(|(at, max)| ArrayOp::Read { at, max }),
        3 => (at(), prop::collection::vec(value(), 0..4))
            .prop_map(|(at, elements)| ArrayOp::Write { at, elements }),
        2 => (at(), value(), value())
            .prop_map(|(at, expected, new)| ArrayOp::CompareExchange { at, expected, new }),
        3 => at().prop_map(|at| ArrayOp::FetchAdd(at, Number::U64(1))),
    ]
}

/// Runs an operation of an array on a slice.
fn run(elements: &mut [Payload], version: &mut u64, op: &ArrayOp<Raw<'_>>) -> Answer<Payload> {
    let missing = |index| Fault::Index { index, len: LEN };
    let at = |at: u64| usize::try_from(at).ok().filter(|_| at < LEN).ok_or_else(|| missing(at));
    let reply = match op {
        ArrayOp::Len => return Ok(Reply::Count(LEN)),
        ArrayOp::Get(index) => return Ok(Reply::Value(elements[at(*index)?].clone())),
        ArrayOp::Read { at, max } => {
            let from = usize::try_from(*at).ok().filter(|_| *at <= LEN).ok_or_else(|| missing(*at))?;
            let values = elements[from..].iter().take(usize::try_from(*max).unwrap()).cloned().collect();
            return Ok(Reply::Values { values, version: *version });
        }
        ArrayOp::Set(index, new) => {
            Reply::Value(std::mem::replace(&mut elements[at(*index)?], Payload::copy(*new)))
        }
        ArrayOp::Store(index, new) => {
            elements[at(*index)?] = Payload::copy(*new);
            Reply::Done
        }
        ArrayOp::Write { at, elements: new } => {
            let from = usize::try_from(*at).unwrap();
            let places = elements.get_mut(from..from + new.len()).ok_or_else(|| missing(LEN.max(*at)))?;
            places.iter_mut().zip(new).for_each(|(place, new)| *place = Payload::copy(*new));
            Reply::Done
        }
        ArrayOp::CompareExchange { at: index, expected, new } => {
            let place = &mut elements[at(*index)?];
            if place.raw() != *expected {
                return Ok(Reply::Found(Some(place.clone())));
            }
            *place = Payload::copy(*new);
            Reply::Bool(true)
        }
        ArrayOp::FetchAdd(index, Number::U64(add)) => {
            let place = &mut elements[at(*index)?];
            let before: u64 = postcard::from_bytes(place.raw().bytes).map_err(|_| Fault::NoNumber)?;
            let sum = postcard::to_allocvec(&(before + add)).unwrap();
            Reply::Before(std::mem::replace(place, payload(&sum)))
        }
        _ => return Err(Fault::Unsupported),
    };
    *version += 1;
    Ok(reply)
}

fn contents(world: &mut World, client: ClientId, array: ObjectId) -> Answer<Payload> {
    world.ask(client, array, Op::Array(ArrayOp::Read { at: 0, max: u64::MAX }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn an_array_behaves_like_a_slice(
        transactions in prop::collection::vec((prop::collection::vec(ops(), 1..5), 0..3), 0..40),
    ) {
        let mut world = World::new();
        let client = world.client();
        let array = world.create(client, Spec::Array(vec![raw(&[0]); 5]));
        let fails = failing(client, &mut world);
        let (mut elements, mut version) = (vec![payload(&[0]); 5], 0);
        for (ops, luck) in transactions {
            let before = world.counts();
            let (mut next, mut next_version) = (elements.clone(), version);
            let expected: Result<Vec<_>, _> =
                ops.iter().map(|op| run(&mut next, &mut next_version, op)).collect();
            let mut steps: Vec<_> = ops.into_iter().map(|op| Step { object: array, op: Op::Array(op) }).collect();
            let expected = if luck == 0 {
                steps.push(fails.clone());
                expected.and(Err(Fault::NoNumber))
            } else {
                expected.map(Reply::Transaction)
            };
            let commits = expected.is_ok();
            let answer = match &*steps {
                [Step { op, .. }] => world.ask(client, array, op.clone()).map(|reply| Reply::Transaction(vec![reply])),
                _ => world.transact(client, steps),
            };
            assert_eq!(answer, expected);
            if commits {
                (elements, version) = (next, next_version);
            } else {
                assert_eq!(world.counts(), before);
            }
            let values = elements.clone();
            assert_eq!(contents(&mut world, client, array), Ok(Reply::Values { values, version }));
        }
        world.end(&[client]);
    }
}

#[test]
fn a_write_happens_completely_or_not_at_all_and_has_a_limit() {
    let mut world = World::new();
    let client = world.client();
    let list = long_list(&mut world, client, VALUES_AT_ONCE_MAX + 1);
    let array = world.create(client, Spec::ArrayOf(list));
    let before = world.counts();
    let write = |at, len| Op::Array(ArrayOp::Write { at, elements: vec![raw(b"y"); len] });
    let limit = VALUES_AT_ONCE_MAX.try_into().unwrap();
    assert_eq!(world.ask(client, array, write(0, VALUES_AT_ONCE_MAX + 1)), Err(Fault::TooMany { limit }));
    let fault = Fault::Index { index: limit + 1, len: limit + 1 };
    assert_eq!(world.ask(client, array, write(2, VALUES_AT_ONCE_MAX)), Err(fault));
    let fault = Fault::Index { index: u64::MAX, len: limit + 1 };
    assert_eq!(world.ask(client, array, write(u64::MAX, 1)), Err(fault));
    let Ok(Reply::Values { values, version: 0 }) = contents(&mut world, client, array) else { panic!() };
    assert!(values.iter().all(|value| *value == payload(b"x")), "nothing was written");
    assert_eq!(world.ask(client, array, write(1, VALUES_AT_ONCE_MAX)), Ok(Reply::Done));
    assert_eq!(world.counts(), before);
    world.end(&[client]);
}

#[test]
fn elements_keep_the_objects_they_refer_to() {
    let mut world = World::new();
    let client = world.client();
    let locks = [world.create(client, Spec::Lock), world.create(client, Spec::Lock)];
    let ids = locks.map(id);
    let [a, b] = [0, 1].map(|at| Raw { bytes: b"p", ids: &ids[at] });
    let array = world.create(client, Spec::Array(vec![a, raw(b"")]));
    let fails = failing(client, &mut world);
    let write = Step { object: array, op: Op::Array(ArrayOp::Write { at: 0, elements: vec![b, b] }) };
    let before = world.counts();
    assert_eq!(world.transact(client, vec![write.clone(), fails]), Err(Fault::NoNumber));
    assert_eq!(world.counts(), before);
    let unknown = Raw { bytes: b"", ids: &[1; 8] };
    let wrong = Op::Array(ArrayOp::Write { at: 0, elements: vec![b, unknown] });
    assert_eq!(world.ask(client, array, wrong), Err(Fault::UnknownObject));
    let wrong = Op::Manager(ManagerOp::Create { spec: Spec::Array(vec![b, unknown]), print: PRINT });
    assert_eq!(world.ask(client, ObjectId::MANAGER, wrong), Err(Fault::UnknownObject));
    assert_eq!(world.counts(), before);
    world.transact(client, vec![write]).unwrap();
    locks.iter().for_each(|lock| world.detach(client, *lock));
    assert_eq!(world.state.info().objects, 3, "the second lock is stored, but the first one no longer is");
    world.end(&[client]);
}

#[test]
fn an_array_has_a_limit() {
    let mut world = World::new();
    let client = world.client();
    let make = |spec| Op::Manager(ManagerOp::Create { spec, print: PRINT });
    let array = |len| Spec::Array(vec![raw(b"x"); len]);
    let limit = VALUES_AT_ONCE_MAX.try_into().unwrap();
    let above = make(array(VALUES_AT_ONCE_MAX + 1));
    assert_eq!(world.ask(client, ObjectId::MANAGER, above), Err(Fault::TooMany { limit }));
    world.create(client, array(VALUES_AT_ONCE_MAX));

    let list = long_list(&mut world, client, ARRAY_ELEMENTS_MAX + 1);
    let limit = ARRAY_ELEMENTS_MAX.try_into().unwrap();
    let above = make(Spec::ArrayOf(list));
    assert_eq!(world.ask(client, ObjectId::MANAGER, above), Err(Fault::TooMany { limit }));
    world.ask(client, list, Op::List(ListOp::Pop)).unwrap();
    let array = world.create(client, Spec::ArrayOf(list));
    assert!(world.state.units() < 1_000, "however long it is");
    let left = world.ask(client, list, Op::List(ListOp::Len));
    assert!(matches!(left, Ok(Reply::Len { len: 0, .. })), "{left:?}");
    assert_eq!(world.ask(client, array, Op::Array(ArrayOp::Len)), Ok(Reply::Count(limit)));
    let last = Op::Array(ArrayOp::Read { at: limit, max: 1 });
    assert_eq!(world.ask(client, array, last), Ok(Reply::Values { values: Vec::new(), version: 0 }));
    world.end(&[client]);
}

#[test]
fn an_array_that_exists_leaves_the_list_as_it_is() {
    let mut world = World::new();
    let client = world.client();
    let list = long_list(&mut world, client, 3);
    let open = |list| {
        let spec = Spec::ArrayOf(list);
        Op::Manager(ManagerOp::Open { name: "a".to_owned(), spec, print: PRINT })
    };
    let Ok(Reply::Object { id, created: true }) = world.ask(client, ObjectId::MANAGER, open(list)) else {
        panic!("it is new")
    };
    let other = long_list(&mut world, client, 4);
    let again = world.ask(client, ObjectId::MANAGER, open(other));
    assert_eq!(again, Ok(Reply::Object { id, created: false }));
    assert_eq!(world.ask(client, id, Op::Array(ArrayOp::Len)), Ok(Reply::Count(3)));
    let kept = world.ask(client, other, Op::List(ListOp::Len));
    assert!(matches!(kept, Ok(Reply::Len { len: 4, .. })), "{kept:?}");
    world.ask(client, other, Op::List(ListOp::Reverse)).unwrap();
    let create = |spec| Op::Manager(ManagerOp::Create { spec, print: PRINT });
    let reversed = world.ask(client, ObjectId::MANAGER, create(Spec::ArrayOf(other)));
    assert_eq!(reversed, Err(Fault::Malformed), "that would take a step for each item");
    let wrong = world.ask(client, ObjectId::MANAGER, create(Spec::ArrayOf(id)));
    assert_eq!(wrong, Err(Fault::WrongKind { found: crate::proto::Kind::Array }));
    world.remove(client, "a");
    world.end(&[client]);
}
