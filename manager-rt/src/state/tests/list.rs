//! A list behaves like a `Vec`, and transactions on it can be undone.

use proptest::prelude::*;

use super::containers::{failing, id, long_list, payload, raw};
use super::*;
use crate::limits::{ORDER_ITEMS_MAX, PAGE_ITEMS_MAX, SCAN_ITEMS_MAX, VALUES_AT_ONCE_MAX};
use crate::proto::{ListOp, Scan};

type Model = (Vec<Payload>, u64);

/// Returns one of a few values. Some of them are stored in separate memory.
fn bytes(number: u8) -> &'static [u8] {
    const VALUES: [&[u8]; 5] =
        [b"", b"1", b"two", b"a value of thirty-three bytes, no", b"a value of thirty-three bytes, so"];
    VALUES[usize::from(number) % VALUES.len()]
}

fn scan(number: u8, from: u64) -> Scan<Raw<'static>> {
    Scan { value: raw(bytes(number)), from, version: None }
}

fn ops() -> impl Strategy<Value = ListOp<Raw<'static>>> {
    let value = || any::<u8>().prop_map(|number| raw(bytes(number)));
    let at = || 0_u64..12;
    prop_oneof![
        6 => value().prop_map(ListOp::Push),
        2 => prop::collection::vec(value(), 0..4).prop_map(ListOp::Extend),
        2 => at().prop_map(ListOp::Get),
        3 => (at(), value()).prop_map(|(at, value)| ListOp::Set(at, value)),
        4 => (at(), value()).prop_map(|(at, value)| ListOp::Insert(at, value)),
        3 => at().prop_map(ListOp::Remove),
        2 => (at(), value()).prop_map(|(at, value)| ListOp::Store(at, value)),
        2 => at().prop_map(ListOp::Delete),
        2 => Just(ListOp::Pop),
        2 => (any::<u8>(), at()).prop_map(|(number, from)| ListOp::RemoveValue(scan(number, from))),
        2 => (any::<u8>(), at()).prop_map(|(number, from)| ListOp::IndexOf(scan(number, from))),
        2 => (any::<u8>(), at()).prop_map(|(number, from)| ListOp::Count(scan(number, from))),
        1 => Just(ListOp::Len),
        1 => Just(ListOp::Clear),
        3 => Just(ListOp::Reverse),
        2 => (at(), at()).prop_map(|(one, other)| ListOp::Swap(one, other)),
        3 => (at(), 0_u64..9).prop_map(|(at, max)| ListOp::Page { at, max }),
        2 => (at(), value(), value())
            .prop_map(|(at, expected, new)| ListOp::CompareExchange { at, expected, new }),
    ]
}

/// Runs an operation of a list on a `Vec`.
fn run(model: &mut Model, op: &ListOp<Raw<'_>>) -> Answer<Payload> {
    let reply = look(model, op);
    if let Some(reply) = reply {
        return reply;
    }
    let (items, version) = model;
    let len = items.len();
    let check = |at: u64| {
        let missing = Fault::Index { index: at, len: len.try_into().unwrap() };
        usize::try_from(at).ok().filter(|at| *at < len).ok_or(missing)
    };
    let reply = match op {
        ListOp::Push(item) => {
            items.push(Payload::copy(*item));
            Reply::Done
        }
        ListOp::Extend(more) => {
            items.extend(more.iter().map(|item| Payload::copy(*item)));
            Reply::Done
        }
        ListOp::Set(at, new) => Reply::Value(std::mem::replace(&mut items[check(*at)?], Payload::copy(*new))),
        ListOp::Store(at, new) => {
            items[check(*at)?] = Payload::copy(*new);
            Reply::Done
        }
        ListOp::Delete(at) => {
            items.remove(check(*at)?);
            Reply::Done
        }
        ListOp::Insert(at, item) => {
            if *at != u64::try_from(len).unwrap() {
                check(*at)?;
            }
            items.insert(usize::try_from(*at).unwrap(), Payload::copy(*item));
            Reply::Done
        }
        ListOp::Remove(at) => Reply::Value(items.remove(check(*at)?)),
        ListOp::Pop => Reply::Value(items.pop().ok_or(Fault::Empty)?),
        ListOp::RemoveValue(Scan { value, from, .. }) => {
            let found = find(items, *value, *from);
            if let Some(at) = found {
                items.remove(at.try_into().unwrap());
                *version += 1;
            }
            return Ok(Reply::Scanned { found, next: None, version: *version });
        }
        ListOp::Clear => {
            items.clear();
            Reply::Done
        }
        ListOp::Reverse => {
            items.reverse();
            Reply::Done
        }
        ListOp::Swap(one, other) => {
            items.swap(check(*one)?, check(*other)?);
            Reply::Done
        }
        ListOp::CompareExchange { at, expected, new } => {
            let at = check(*at)?;
            if items[at] != Payload::copy(*expected) {
                return Ok(Reply::Found(Some(items[at].clone())));
            }
            items[at] = Payload::copy(*new);
            Reply::Bool(true)
        }
        _ => return Err(Fault::Unsupported),
    };
    *version += 1;
    Ok(reply)
}

/// Runs an operation that changes nothing.
fn look((items, version): &Model, op: &ListOp<Raw<'_>>) -> Option<Answer<Payload>> {
    let (len, version) = (u64::try_from(items.len()).unwrap(), *version);
    Some(match op {
        ListOp::Get(at) => items
            .get(usize::try_from(*at).unwrap())
            .map(|item| Reply::Value(item.clone()))
            .ok_or(Fault::Index { index: *at, len }),
        ListOp::IndexOf(Scan { value, from, .. }) => {
            Ok(Reply::Scanned { found: find(items, *value, *from), next: None, version })
        }
        ListOp::Count(Scan { value, from, .. }) => {
            let from = usize::try_from(*from).unwrap();
            let found = items.iter().skip(from).filter(|item| item.raw() == *value).count();
            Ok(Reply::Scanned { found: Some(found.try_into().unwrap()), next: None, version })
        }
        ListOp::Len => Ok(Reply::Len { len, version }),
        ListOp::Page { at, max } => {
            let [at, max] = [*at, *max].map(|number| usize::try_from(number).unwrap());
            Ok(Reply::Values { values: items.iter().skip(at).take(max).cloned().collect(), version })
        }
        _ => return None,
    })
}

fn find(items: &[Payload], value: Raw<'_>, from: u64) -> Option<u64> {
    let from = usize::try_from(from).unwrap();
    let found = items.iter().enumerate().skip(from).find(|(_, item)| item.raw() == value)?;
    Some(found.0.try_into().unwrap())
}

fn contents(world: &mut World, client: ClientId, list: ObjectId) -> Answer<Payload> {
    world.ask(client, list, Op::List(ListOp::Page { at: 0, max: u64::MAX }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_list_behaves_like_a_vec(
        transactions in prop::collection::vec((prop::collection::vec(ops(), 1..6), 0..3), 0..40),
    ) {
        let mut world = World::new();
        let client = world.client();
        let list = world.create(client, Spec::List);
        let fails = failing(client, &mut world);
        let mut model: Model = (Vec::new(), 0);
        for (ops, luck) in transactions {
            world.tidy();
            let before = world.counts();
            let mut next = model.clone();
            let expected: Result<Vec<_>, _> = ops.iter().map(|op| run(&mut next, op)).collect();
            let mut steps: Vec<_> = ops.into_iter().map(|op| Step { object: list, op: Op::List(op) }).collect();
            let expected = if luck == 0 {
                steps.push(fails.clone());
                expected.and(Err(Fault::NoNumber))
            } else {
                expected.map(Reply::Transaction)
            };
            let commits = expected.is_ok();
            let answer = match &*steps {
                // A single operation does the same outside a transaction.
                [Step { op, .. }] => world.ask(client, list, op.clone()).map(|reply| Reply::Transaction(vec![reply])),
                _ => world.transact(client, steps),
            };
            assert_eq!(answer, expected);
            if commits {
                model = next;
            } else {
                assert_eq!(world.counts(), before);
                world.audit();
            }
            let (values, version) = model.clone();
            assert_eq!(contents(&mut world, client, list), Ok(Reply::Values { values, version }));
        }
        world.end(&[client]);
    }
}

fn reorder(order: &[u64], version: u64) -> Op<Raw<'static>> {
    Op::List(ListOp::Reorder { version, order: order.to_vec() })
}

#[test]
fn an_order_names_each_item_once() {
    let mut world = World::new();
    let client = world.client();
    let list = world.create(client, Spec::List);
    let items = vec![raw(b"a"), raw(b"b"), raw(b"c")];
    world.ask(client, list, Op::List(ListOp::Extend(items))).unwrap();
    world.ask(client, list, Op::List(ListOp::Reverse)).unwrap();
    let before = contents(&mut world, client, list);
    for (order, version, fault) in [
        (&[0, 1, 1][..], 2, Fault::Malformed),
        (&[0, 1, 3], 2, Fault::Malformed),
        (&[0, 1, u64::MAX], 2, Fault::Malformed),
        (&[0, 1], 2, Fault::Malformed),
        (&[0, 1, 2, 3], 2, Fault::Malformed),
        (&[0, 1, 2], 1, Fault::Changed),
    ] {
        assert_eq!(world.ask(client, list, reorder(order, version)), Err(fault), "{order:?}");
        assert_eq!(contents(&mut world, client, list), before);
    }
    let fails = failing(client, &mut world);
    let steps = vec![reorder(&[2, 0, 1], 2), Op::List(ListOp::Push(raw(b"d")))];
    let mut steps: Vec<_> = steps.into_iter().map(|op| Step { object: list, op }).collect();
    steps.push(fails);
    assert_eq!(world.transact(client, steps), Err(Fault::NoNumber));
    assert_eq!(contents(&mut world, client, list), before);
    // c b a: the item at 2, then those at 0 and 1.
    assert_eq!(world.ask(client, list, reorder(&[2, 0, 1], 2)), Ok(Reply::Done));
    let values = [b"a", b"c", b"b"].map(|bytes| payload(bytes)).to_vec();
    assert_eq!(contents(&mut world, client, list), Ok(Reply::Values { values, version: 3 }));
    world.audit();
    world.end(&[client]);
}

#[test]
fn limits_hold() {
    let mut world = World::new();
    let client = world.client();
    let list = world.create(client, Spec::List);
    let extend = |len| Op::List(ListOp::Extend(vec![raw(b"x"); len]));
    let limit = VALUES_AT_ONCE_MAX.try_into().unwrap();
    assert_eq!(world.ask(client, list, extend(VALUES_AT_ONCE_MAX + 1)), Err(Fault::TooMany { limit }));
    assert_eq!(world.ask(client, list, extend(VALUES_AT_ONCE_MAX)), Ok(Reply::Done));
    let Ok(Reply::Values { values, .. }) = contents(&mut world, client, list) else { panic!() };
    assert_eq!(u64::try_from(values.len()).unwrap(), PAGE_ITEMS_MAX);

    let long = long_list(&mut world, client, ORDER_ITEMS_MAX);
    let version = u64::try_from(ORDER_ITEMS_MAX.div_ceil(VALUES_AT_ONCE_MAX)).unwrap();
    let mut order: Vec<u64> = (0..u64::try_from(ORDER_ITEMS_MAX).unwrap()).rev().collect();
    assert_eq!(world.ask(client, long, reorder(&order, version)), Ok(Reply::Done));
    order.push(0);
    let limit = ORDER_ITEMS_MAX.try_into().unwrap();
    assert_eq!(world.ask(client, long, reorder(&order, version + 1)), Err(Fault::TooMany { limit }));
    world.end(&[client]);
}

#[test]
fn a_search_continues_unless_the_list_changed() {
    let mut world = World::new();
    let client = world.client();
    let list = long_list(&mut world, client, SCAN_ITEMS_MAX);
    let version = u64::try_from(SCAN_ITEMS_MAX / VALUES_AT_ONCE_MAX).unwrap() + 1;
    let limit = u64::try_from(SCAN_ITEMS_MAX).unwrap();
    let of = |bytes, from, version| Scan { value: raw(bytes), from, version };
    let count = Op::List(ListOp::Count(of(b"x", 0, Some(version - 1))));
    let all = Reply::Scanned { found: Some(limit), next: None, version: version - 1 };
    assert_eq!(world.ask(client, list, count.clone()), Ok(all), "as many as one search looks at");
    world.ask(client, list, Op::List(ListOp::Push(raw(b"y")))).unwrap();
    assert_eq!(world.ask(client, list, count), Err(Fault::Changed));
    let find = |from, version| Op::List(ListOp::IndexOf(of(b"y", from, version)));
    let more = Reply::Scanned { found: None, next: Some(limit), version };
    assert_eq!(world.ask(client, list, find(0, None)), Ok(more.clone()));
    let remove = |from, version| Op::List(ListOp::RemoveValue(of(b"y", from, version)));
    assert_eq!(world.ask(client, list, remove(0, None)), Ok(more));
    let found = Reply::Scanned { found: Some(limit), next: None, version };
    assert_eq!(world.ask(client, list, find(limit, Some(version))), Ok(found));
    let removed = Reply::Scanned { found: Some(limit), next: None, version: version + 1 };
    assert_eq!(world.ask(client, list, remove(limit, Some(version))), Ok(removed));
    assert_eq!(world.ask(client, list, remove(limit, Some(version))), Err(Fault::Changed));
    world.end(&[client]);
}

#[test]
fn items_keep_the_objects_they_refer_to() {
    let mut world = World::new();
    let client = world.client();
    let list = world.create(client, Spec::List);
    let locks = [(); 3].map(|()| world.create(client, Spec::Lock));
    let ids = locks.map(id);
    let [a, b, c] = [0, 1, 2].map(|at| Raw { bytes: b"p", ids: &ids[at] });
    let fails = failing(client, &mut world);
    let list_op = |op| Step { object: list, op: Op::List(op) };
    world.ask(client, list, Op::List(ListOp::Extend(vec![a, b]))).unwrap();
    world.ask(client, list, Op::List(ListOp::Insert(1, c))).unwrap();
    locks.iter().for_each(|lock| world.detach(client, *lock));
    assert_eq!(world.state.info().objects, 5, "list, value and three locks");
    let before = (world.counts(), contents(&mut world, client, list));
    locks.iter().for_each(|lock| world.detach(client, *lock));

    let gone = vec![
        list_op(ListOp::Set(0, raw(b""))),
        list_op(ListOp::Remove(1)),
        list_op(ListOp::Pop),
        list_op(ListOp::Insert(0, c)),
        list_op(ListOp::Store(0, a)),
        list_op(ListOp::Delete(0)),
        list_op(ListOp::Clear),
        list_op(ListOp::Push(a)),
    ];
    let mut failed = gone.clone();
    failed.push(fails.clone());
    assert_eq!(world.transact(client, failed), Err(Fault::NoNumber));
    assert_eq!((world.counts(), contents(&mut world, client, list)), before);
    locks.iter().for_each(|lock| world.detach(client, *lock));

    world.transact(client, gone).unwrap();
    assert_eq!(world.state.info().objects, 5, "the answers carried references, and one lock is stored");
    locks.iter().for_each(|lock| world.detach(client, *lock));
    assert_eq!(world.state.info().objects, 3);
    let unknown = ListOp::Extend(vec![a, b]);
    assert_eq!(world.ask(client, list, Op::List(unknown)), Err(Fault::UnknownObject), "all items or none");
    world.ask(client, list, Op::List(ListOp::Clear)).unwrap();
    assert_eq!(world.state.info().objects, 2);
    drop(before);
    world.end(&[client]);
}

#[test]
fn many_references_are_released_in_steps() {
    let mut world = World::new();
    world.leave_the_rest();
    let client = world.client();
    let list = world.create(client, Spec::List);
    for _ in 0..2_000 {
        let lock = world.create(client, Spec::Lock);
        world.ask(client, list, Op::List(ListOp::Push(Raw { bytes: b"p", ids: &id(lock) }))).unwrap();
        world.detach(client, lock);
    }
    world.ask(client, list, Op::List(ListOp::Clear)).unwrap();
    let left = world.state.info().objects;
    assert!(left > 1_000, "{left}: not all in one step");
    world.tidy();
    assert_eq!(world.state.info().objects, 1);
    world.end(&[client]);
}

#[test]
fn a_long_list_is_reordered_in_pieces() {
    let mut world = World::new();
    let client = world.client();
    let [list, other] = [world.create(client, Spec::List), world.create(client, Spec::List)];
    let lock = world.create(client, Spec::Lock);
    let proxy = Raw { bytes: b"p", ids: &id(lock) };
    world.ask(client, list, Op::List(ListOp::Extend(vec![raw(b"b"), proxy, raw(b"a")]))).unwrap();
    world.detach(client, lock);
    let gather =
        |version, order: &[u64]| Op::List(ListOp::Gather { from: list, version, order: order.to_vec() });
    assert_eq!(world.ask(client, other, gather(0, &[0])), Err(Fault::Changed));
    assert_eq!(world.ask(client, other, gather(1, &[2, 3])), Err(Fault::Index { index: 3, len: 3 }));
    assert_eq!(world.ask(client, other, gather(1, &[2, 0])), Ok(Reply::Done));
    // A failed transaction takes the copies back.
    let fails = failing(client, &mut world);
    let steps = vec![Step { object: other, op: gather(1, &[1, 1]) }, fails];
    assert_eq!(world.transact(client, steps), Err(Fault::NoNumber));
    assert_eq!(world.ask(client, other, gather(1, &[1])), Ok(Reply::Done));
    let exchange = |version| Op::List(ListOp::Exchange { with: other, version });
    assert_eq!(world.ask(client, list, exchange(2)), Err(Fault::Changed));
    let step = Step { object: list, op: exchange(1) };
    assert_eq!(world.transact(client, vec![step]), Err(Fault::NotInTransaction));
    assert_eq!(world.ask(client, list, exchange(1)), Ok(Reply::Done));
    assert_eq!(world.ask(client, list, gather(2, &[])), Ok(Reply::Done), "one change");
    let Ok(Reply::Values { values, .. }) = contents(&mut world, client, list) else { panic!() };
    let bytes: Vec<_> = values.iter().map(|value| value.raw().bytes).collect();
    assert_eq!(bytes, [&b"a"[..], b"b", b"p"]);
    drop(values);
    world.ask(client, list, Op::List(ListOp::Exchange { with: list, version: 3 })).unwrap();
    world.detach(client, lock);
    world.ask(client, other, Op::List(ListOp::Clear)).unwrap();
    assert_eq!(world.state.info().objects, 4, "the new order keeps the object");
    world.ask(client, list, Op::List(ListOp::Clear)).unwrap();
    assert_eq!(world.state.info().objects, 3);
    world.end(&[client]);
}
