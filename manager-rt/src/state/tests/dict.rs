//! A dict behaves like a list of pairs, and transactions on it can be undone.

use proptest::prelude::*;

use super::containers::{failing, id, payload, raw};
use super::*;
use crate::limits::{ENTRIES_AT_ONCE_MAX, PAGE_BYTES, PAGE_ITEMS_MAX};
use crate::proto::{DictOp, Number, Part};

type Model = Vec<(Payload, Payload)>;

const KEYS: [&[u8]; 5] = [b"", b"k", b"key", b"a key of more than 22 bytes", b"a key of more than 23 bytes"];

fn ops() -> impl Strategy<Value = DictOp<Raw<'static>>> {
    let key = || prop::sample::select(KEYS.to_vec()).prop_map(raw);
    // Encoded numbers, and a value that is not a number.
    let value = || prop::sample::select(vec![&[0][..], &[1], &[127], &[0x80, 1], &[0xff]]).prop_map(raw);
    let some = || prop::option::of(value());
    let one = Number::U64(1);
    prop_oneof![
        2 => key().prop_map(DictOp::Get),
        6 => (key(), value()).prop_map(|(key, value)| DictOp::Insert(key, value)),
        2 => (key(), value()).prop_map(|(key, value)| DictOp::InsertNew(key, value)),
        2 => (key(), value()).prop_map(|(key, value)| DictOp::Claim(key, value)),
        4 => key().prop_map(DictOp::Remove),
        3 => (key(), value()).prop_map(|(key, value)| DictOp::Store(key, value)),
        2 => key().prop_map(DictOp::Delete),
        1 => key().prop_map(DictOp::Contains),
        2 => (key(), value()).prop_map(|(key, value)| DictOp::GetOrInsert(key, value)),
        2 => Just(DictOp::PopItem),
        2 => prop::collection::vec((key(), value()), 0..4).prop_map(DictOp::Extend),
        1 => Just(DictOp::Len),
        1 => Just(DictOp::Clear),
        3 => key().prop_map(move |key| DictOp::FetchAdd(key, one)),
        3 => prop::collection::vec(key().prop_map(move |key| (key, one)), 0..4)
            .prop_map(DictOp::FetchAddMany),
        4 => (key(), some(), some())
            .prop_map(|(key, expected, new)| DictOp::CompareExchange { key, expected, new }),
    ]
}

fn place(model: &Model, key: Raw<'_>) -> Option<usize> {
    model.iter().position(|entry| entry.0.raw() == key)
}

fn get(model: &Model, key: Raw<'_>) -> Option<Payload> {
    Some(model[place(model, key)?].1.clone())
}

fn set(model: &mut Model, key: Raw<'_>, value: Payload) -> Option<Payload> {
    match place(model, key) {
        Some(at) => Some(std::mem::replace(&mut model[at].1, value)),
        None => {
            model.push((Payload::copy(key), value));
            None
        }
    }
}

fn remove(model: &mut Model, key: Raw<'_>) -> Option<Payload> {
    place(model, key).map(|at| model.remove(at).1)
}

fn add(model: &mut Model, key: Raw<'_>) -> Answer<Payload> {
    let before = get(model, key).unwrap_or_else(|| payload(&[0]));
    let number: u64 = postcard::from_bytes(before.raw().bytes).map_err(|_| Fault::NoNumber)?;
    set(model, key, payload(&postcard::to_allocvec(&(number + 1)).unwrap()));
    Ok(Reply::Before(before))
}

/// Runs an operation of a dict on a list of pairs.
fn run(model: &mut Model, op: &DictOp<Raw<'_>>) -> Answer<Payload> {
    Ok(match op {
        DictOp::Get(key) => Reply::Option(get(model, *key)),
        DictOp::Insert(key, value) => Reply::Option(set(model, *key, Payload::copy(*value))),
        DictOp::InsertNew(key, value) => match get(model, *key) {
            Some(found) => Reply::Found(Some(found)),
            None => {
                set(model, *key, Payload::copy(*value));
                Reply::Bool(true)
            }
        },
        DictOp::Claim(key, _) if get(model, *key).is_some() => return Err(Fault::Exists),
        DictOp::Claim(key, value) | DictOp::Store(key, value) => {
            set(model, *key, Payload::copy(*value));
            Reply::Done
        }
        DictOp::Remove(key) => Reply::Option(remove(model, *key)),
        DictOp::Delete(key) => Reply::Bool(remove(model, *key).is_some()),
        DictOp::Contains(key) => Reply::Bool(get(model, *key).is_some()),
        DictOp::GetOrInsert(key, value) => Reply::Value(get(model, *key).unwrap_or_else(|| {
            set(model, *key, Payload::copy(*value));
            Payload::copy(*value)
        })),
        DictOp::PopItem => Reply::Entry(model.pop()),
        DictOp::Extend(entries) => {
            entries.iter().for_each(|(key, value)| {
                set(model, *key, Payload::copy(*value));
            });
            Reply::Done
        }
        DictOp::Len => Reply::Count(model.len().try_into().unwrap()),
        DictOp::Clear => {
            model.clear();
            Reply::Done
        }
        DictOp::FetchAdd(key, _) => add(model, *key)?,
        DictOp::FetchAddMany(keys) => {
            for (key, _) in keys {
                add(model, *key)?;
            }
            Reply::Done
        }
        DictOp::CompareExchange { key, expected, new } => {
            let found = get(model, *key);
            if found != expected.map(Payload::copy) {
                return Ok(Reply::Found(found));
            }
            match new {
                Some(new) => set(model, *key, Payload::copy(*new)),
                None => remove(model, *key),
            };
            Reply::Bool(true)
        }
        _ => return Err(Fault::Unsupported),
    })
}

/// Reads all entries, two at a time.
fn contents(world: &mut World, client: ClientId, dict: ObjectId) -> Model {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = Op::Dict(DictOp::Page { after, max: 2, part: Part::Items });
        let Ok(Reply::Entries { entries, place }) = world.ask(client, dict, page) else { panic!() };
        if entries.is_empty() {
            return all;
        }
        all.extend(entries);
        after = Some(place);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_dict_behaves_like_a_list_of_pairs(
        transactions in prop::collection::vec((prop::collection::vec(ops(), 1..6), 0..3), 0..40)
    ) {
        let mut world = World::new();
        let client = world.client();
        let dict = world.create(client, Spec::Dict);
        let fails = failing(client, &mut world);
        let mut model = Model::new();
        for (ops, luck) in transactions {
            world.tidy();
            let before = world.counts();
            let mut next = model.clone();
            let expected: Result<Vec<_>, _> = ops.iter().map(|op| run(&mut next, op)).collect();
            let mut steps: Vec<_> = ops.into_iter().map(|op| Step { object: dict, op: Op::Dict(op) }).collect();
            let expected = if luck == 0 {
                steps.push(fails.clone());
                expected.and(Err(Fault::NoNumber))
            } else {
                expected.map(Reply::Transaction)
            };
            let commits = expected.is_ok();
            let answer = match &*steps {
                // A single operation does the same outside a transaction.
                [Step { op, .. }] => world.ask(client, dict, op.clone()).map(|reply| Reply::Transaction(vec![reply])),
                _ => world.transact(client, steps),
            };
            assert_eq!(answer, expected);
            if commits {
                model = next;
            } else {
                assert_eq!(world.counts(), before);
                world.audit();
            }
            assert_eq!(contents(&mut world, client, dict), model);
        }
        world.end(&[client]);
    }
}

#[test]
fn limits_hold() {
    let mut world = World::new();
    let client = world.client();
    let dict = world.create(client, Spec::Dict);
    let before = world.counts();
    let numbers: Vec<_> = (0..=u32::try_from(ENTRIES_AT_ONCE_MAX).unwrap()).map(u32::to_le_bytes).collect();
    let limit = Err(Fault::TooMany { limit: ENTRIES_AT_ONCE_MAX.try_into().unwrap() });
    let entries = |len: usize| numbers[..len].iter().map(|key| (raw(key), raw(b"v"))).collect();
    let sums = |len: usize| numbers[..len].iter().map(|key| (raw(key), Number::U8(1))).collect();
    for op in [DictOp::Extend(entries(numbers.len())), DictOp::FetchAddMany(sums(numbers.len()))] {
        assert_eq!(world.ask(client, dict, Op::Dict(op)), limit);
    }
    assert_eq!(world.counts(), before);
    world.audit();
    for op in [DictOp::Extend(entries(ENTRIES_AT_ONCE_MAX)), DictOp::FetchAddMany(sums(ENTRIES_AT_ONCE_MAX))]
    {
        assert_eq!(world.ask(client, dict, Op::Dict(op)), Ok(Reply::Done));
    }
    world.ask(client, dict, Op::Dict(DictOp::Insert(raw(b"one more"), raw(b"v")))).unwrap();
    let page = |after, part| Op::Dict(DictOp::Page { after, max: u64::MAX, part });
    let Ok(Reply::Values { values, version }) = world.ask(client, dict, page(None, Part::Keys)) else {
        panic!()
    };
    assert_eq!(u64::try_from(values.len()).unwrap(), PAGE_ITEMS_MAX);
    let last = Reply::Values { values: vec![payload(b"v")], version: version + 1 };
    assert_eq!(world.ask(client, dict, page(Some(version), Part::Values)), Ok(last));
    let end = Reply::Entries { entries: Vec::new(), place: version + 1 };
    assert_eq!(world.ask(client, dict, page(Some(version + 1), Part::Items)), Ok(end));
    world.end(&[client]);
}

#[test]
fn a_page_is_limited_in_bytes() {
    let mut world = World::new();
    let client = world.client();
    let dict = world.create(client, Spec::Dict);
    let half = vec![7; PAGE_BYTES / 2];
    for key in [b"a", b"b", b"c"] {
        world.ask(client, dict, Op::Dict(DictOp::Insert(raw(key), raw(&half)))).unwrap();
    }
    for (part, expected) in [(Part::Keys, 3), (Part::Values, 2), (Part::Items, 1)] {
        let page = Op::Dict(DictOp::Page { after: None, max: 9, part });
        let len = match world.ask(client, dict, page) {
            Ok(Reply::Values { values, .. }) => values.len(),
            Ok(Reply::Entries { entries, .. }) => entries.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(len, expected, "{part:?}");
    }
    world.end(&[client]);
}

#[test]
fn an_entry_that_does_not_fit_changes_nothing() {
    // There is room for five long keys and values, apart from the client and the dict.
    const LEN: usize = 30_000;
    let [a, b, c, old, new] = [b'a', b'b', b'c', b'1', b'2'].map(|byte| vec![byte; LEN]);
    let mut world = World::with(Limits { memory_bytes: LEN * 11 / 2, ..Limits::default() });
    let client = world.client();
    let dict = world.create(client, Spec::Dict);
    let insert = |key, value| Op::Dict(DictOp::Insert(raw(key), raw(value)));
    assert_eq!(world.ask(client, dict, insert(&a, &old)), Ok(Reply::Option(None)));
    let before = (world.counts(), contents(&mut world, client, dict));
    let extend = DictOp::Extend([&a, &b, &c].map(|key| (raw(key), raw(&new))).to_vec());
    assert_eq!(world.ask(client, dict, Op::Dict(extend)).unwrap_err().full(), Some(Room::Memory));
    assert_eq!((world.counts(), contents(&mut world, client, dict)), before);
    world.audit();
    // A second entry fits; of a third one, the value fits but not the key.
    assert_eq!(world.ask(client, dict, insert(&b, &old)), Ok(Reply::Option(None)));
    let full = world.state.info();
    assert_eq!(world.ask(client, dict, insert(&c, &old)).unwrap_err().full(), Some(Room::Memory));
    assert_eq!(world.state.info(), full);
    drop(before);
    world.end(&[client]);
}

#[test]
fn keys_and_values_keep_the_objects_they_refer_to() {
    let mut world = World::new();
    let client = world.client();
    let dict = world.create(client, Spec::Dict);
    let locks = [(); 3].map(|()| world.create(client, Spec::Lock));
    let ids = locks.map(id);
    let [a, b, c] = [0, 1, 2].map(|at| Raw { bytes: b"p", ids: &ids[at] });
    let fails = failing(client, &mut world);
    world.ask(client, dict, Op::Dict(DictOp::Extend(vec![(a, b), (b, c)]))).unwrap();
    let before = (world.counts(), contents(&mut world, client, dict));
    // The pages carried references.
    for lock in [locks[0], locks[1], locks[1], locks[2], locks[0], locks[1], locks[2]] {
        world.detach(client, lock);
    }
    assert_eq!(world.state.info().objects, 5, "dict, value and three locks");
    let changes = vec![
        DictOp::Insert(a, raw(b"")),
        DictOp::Remove(b),
        DictOp::InsertNew(c, a),
        DictOp::Remove(c),
        DictOp::Store(a, b),
        DictOp::Store(b, c),
        DictOp::Delete(b),
        DictOp::Claim(c, a),
        DictOp::GetOrInsert(b, a),
        DictOp::PopItem,
        DictOp::Clear,
        DictOp::CompareExchange { key: b, expected: None, new: Some(c) },
    ];
    let changes: Vec<_> = changes.into_iter().map(|op| Step { object: dict, op: Op::Dict(op) }).collect();
    let mut failed = changes.clone();
    failed.push(fails);
    assert_eq!(world.transact(client, failed), Err(Fault::NoNumber));
    assert_eq!((world.counts(), contents(&mut world, client, dict)), before);
    world.transact(client, changes).unwrap();
    assert_eq!(world.state.info().objects, 5, "the answers carried references");
    for lock in locks {
        (0..9).for_each(|_| world.detach(client, lock));
    }
    assert_eq!(world.state.info().objects, 4, "the entry keeps its key and its value");
    assert_eq!(world.ask(client, dict, Op::Dict(DictOp::Insert(b, a))), Err(Fault::UnknownObject));
    let unset = DictOp::CompareExchange { key: b, expected: Some(c), new: None };
    assert_eq!(world.ask(client, dict, Op::Dict(unset)), Ok(Reply::Bool(true)));
    assert_eq!(world.state.info().objects, 2);
    drop(before);
    world.end(&[client]);
}
