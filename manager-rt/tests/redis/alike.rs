//! Random operations on an object in Redis and on one in this process have the same answers.

use std::sync::Arc;

use manager_rt::proto::{
    ArrayOp, Call, DictOp, Fault, Kind, ListOp, ManagerOp, NamespaceOp, Number, ObjectId, Op, Part, Payload,
    QueueOp, Raw, Reply, Scan, Spec, ValueOp, Wait,
};
use manager_rt::{Backend, CallError, InProcess, Manager};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::There;
use crate::server::Server;

const CASES: u32 = 60;
const STEPS: usize = 40;

/// Few different values, among them numbers of all lengths, and one with a proxy inside.
fn value() -> impl Strategy<Value = Payload> {
    let number = prop_oneof![
        Just(0_i128),
        Just(-1),
        Just(i128::MAX),
        Just(i128::MIN),
        Just(i64::MAX.into()),
        Just(i64::MIN.into()),
        -300_i128..300
    ];
    prop_oneof![
        number.prop_map(|number| Payload::copy(Raw::plain(&postcard::to_stdvec(&number).unwrap()))),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(|bytes| Payload::copy(Raw::plain(&bytes))),
        any::<f64>().prop_map(|number| Payload::copy(Raw::plain(&number.to_le_bytes()))),
    ]
}

fn key() -> impl Strategy<Value = Payload> {
    (0_u8..6).prop_map(|key| Payload::copy(Raw::plain(&[key])))
}

fn number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<u8>().prop_map(Number::U8),
        any::<u16>().prop_map(Number::U16),
        any::<u32>().prop_map(Number::U32),
        any::<u64>().prop_map(Number::U64),
        any::<u128>().prop_map(Number::U128),
        any::<i8>().prop_map(Number::I8),
        any::<i16>().prop_map(Number::I16),
        any::<i32>().prop_map(Number::I32),
        any::<i64>().prop_map(Number::I64),
        any::<i128>().prop_map(Number::I128),
        (-9.5_f32..9.5).prop_map(Number::F32),
        (-9.5_f64..9.5).prop_map(Number::F64),
    ]
}

fn index() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0_u64..6, 1 => Just(u64::MAX), 1 => Just(1 << 53)]
}

pub(crate) fn list_op() -> impl Strategy<Value = ListOp<Payload>> {
    let scan = || {
        (value(), 0_u64..3, prop::option::of(0_u64..12)).prop_map(|(value, from, version)| Scan {
            value,
            from,
            version,
        })
    };
    prop_oneof![
        value().prop_map(ListOp::Push),
        prop::collection::vec(value(), 0..4).prop_map(ListOp::Extend),
        index().prop_map(ListOp::Get),
        (index(), value()).prop_map(|(at, value)| ListOp::Set(at, value)),
        (index(), value()).prop_map(|(at, value)| ListOp::Store(at, value)),
        (index(), value()).prop_map(|(at, value)| ListOp::Insert(at, value)),
        index().prop_map(ListOp::Remove),
        index().prop_map(ListOp::Delete),
        Just(ListOp::Pop),
        scan().prop_map(ListOp::RemoveValue),
        scan().prop_map(ListOp::IndexOf),
        scan().prop_map(ListOp::Count),
        Just(ListOp::Len),
        Just(ListOp::Clear),
        Just(ListOp::Reverse),
        (index(), index()).prop_map(|(one, other)| ListOp::Swap(one, other)),
        (0_u64..4, 0_u64..5).prop_map(|(at, max)| ListOp::Page { at, max }),
        (index(), value(), value()).prop_map(|(at, expected, new)| ListOp::CompareExchange {
            at,
            expected,
            new
        }),
        (0_u64..9, prop::collection::vec(0_u64..4, 0..4))
            .prop_map(|(version, order)| ListOp::Reorder { version, order }),
    ]
}

pub(crate) fn dict_op() -> impl Strategy<Value = DictOp<Payload>> {
    prop_oneof![
        key().prop_map(DictOp::Get),
        (key(), value()).prop_map(|(key, value)| DictOp::Insert(key, value)),
        (key(), value()).prop_map(|(key, value)| DictOp::InsertNew(key, value)),
        (key(), value()).prop_map(|(key, value)| DictOp::Claim(key, value)),
        (key(), value()).prop_map(|(key, value)| DictOp::Store(key, value)),
        (key(), value()).prop_map(|(key, value)| DictOp::GetOrInsert(key, value)),
        key().prop_map(DictOp::Remove),
        key().prop_map(DictOp::Delete),
        key().prop_map(DictOp::Contains),
        Just(DictOp::PopItem),
        prop::collection::vec((key(), value()), 0..4).prop_map(DictOp::Extend),
        Just(DictOp::Len),
        Just(DictOp::Clear),
        (key(), number()).prop_map(|(key, number)| DictOp::FetchAdd(key, number)),
        prop::collection::vec((key(), number()), 0..4).prop_map(DictOp::FetchAddMany),
        (key(), prop::option::of(value()), prop::option::of(value()))
            .prop_map(|(key, expected, new)| DictOp::CompareExchange { key, expected, new }),
        prop_oneof![Just(Part::Keys), Just(Part::Values), Just(Part::Items)].prop_map(|part| DictOp::Page {
            after: None,
            max: 9,
            part
        }),
    ]
}

pub(crate) fn namespace_op() -> impl Strategy<Value = NamespaceOp<Payload>> {
    let name = || prop::sample::select(vec!["a", "b", "c", "", "_private"]).prop_map(str::to_owned);
    prop_oneof![
        (name(), 0_u64..2).prop_map(|(name, print)| NamespaceOp::Get { name, print }),
        (name(), 0_u64..2, value()).prop_map(|(name, print, value)| NamespaceOp::Set { name, print, value }),
        name().prop_map(|name| NamespaceOp::Delete { name }),
        Just(NamespaceOp::Names),
    ]
}

pub(crate) fn value_op() -> impl Strategy<Value = ValueOp<Payload>> {
    prop_oneof![
        Just(ValueOp::Get),
        value().prop_map(ValueOp::Set),
        value().prop_map(ValueOp::Store),
        (value(), value()).prop_map(|(expected, new)| ValueOp::CompareExchange { expected, new }),
        number().prop_map(ValueOp::FetchAdd),
    ]
}

pub(crate) fn array_op() -> impl Strategy<Value = ArrayOp<Payload>> {
    prop_oneof![
        Just(ArrayOp::Len),
        index().prop_map(ArrayOp::Get),
        (index(), value()).prop_map(|(at, value)| ArrayOp::Set(at, value)),
        (index(), value()).prop_map(|(at, value)| ArrayOp::Store(at, value)),
        (0_u64..5, 0_u64..5).prop_map(|(at, max)| ArrayOp::Read { at, max }),
        (0_u64..5, prop::collection::vec(value(), 0..4))
            .prop_map(|(at, elements)| ArrayOp::Write { at, elements }),
        (index(), value(), value()).prop_map(|(at, expected, new)| ArrayOp::CompareExchange {
            at,
            expected,
            new
        }),
        (index(), number()).prop_map(|(at, number)| ArrayOp::FetchAdd(at, number)),
    ]
}

pub(crate) fn queue_op() -> impl Strategy<Value = QueueOp<Payload>> {
    prop_oneof![
        9 => value().prop_map(QueueOp::Put),
        3 => prop::collection::vec(value(), 0..5).prop_map(QueueOp::PutMany),
        8 => Just(QueueOp::Get),
        3 => (0_u64..5).prop_map(QueueOp::GetMany),
        3 => Just(QueueOp::Len),
        1 => Just(QueueOp::Capacity),
        1 => Just(QueueOp::Close),
        1 => Just(QueueOp::IsClosed),
    ]
}

/// Runs an operation. The values in it are lent.
fn run(backend: &dyn Backend, object: ObjectId, op: Op<Payload>) -> Result<Reply<Payload>, CallError> {
    let call = postcard::to_stdvec(&Call { object, thread: 1, wait: Wait::No, op }).unwrap();
    let call: Call<Raw<'_>> = postcard::from_bytes(&call).unwrap();
    backend.call(call)
}

pub(crate) fn make(backend: &dyn Backend, spec: Spec<Payload>) -> ObjectId {
    let op = Op::Manager(ManagerOp::Create { spec, print: 7 });
    match run(backend, ObjectId::MANAGER, op).unwrap() {
        Reply::Object { id, created: true } => id,
        reply => panic!("{reply:?}"),
    }
}

/// The places of entries are each engine's own business.
pub(crate) fn without_place(reply: Reply<Payload>, kind: Kind) -> Reply<Payload> {
    match reply {
        Reply::Entries { entries, .. } => Reply::Entries { entries, place: 0 },
        Reply::Values { values, .. } if kind == Kind::Dict => Reply::Values { values, version: 0 },
        reply => reply,
    }
}

fn compare(spec: impl Fn() -> Spec<Payload>, op: impl Strategy<Value = Op<Payload>>) {
    let server = Server::start(&[]);
    let there: Manager = There::new(&server).connect();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let ops = prop::collection::vec(op, STEPS);
    let outcome = runner.run(&ops, |ops| {
        let here: Arc<dyn Backend> = Arc::new(InProcess::new().unwrap());
        let there = there.backend();
        let (one, other) = (make(&*here, spec()), make(&**there, spec()));
        for op in ops {
            let shown = format!("{op:?}");
            let kind = spec().kind();
            let expected = run(&*here, one, op.clone()).map(|reply| without_place(reply, kind));
            let found = run(&**there, other, op).map(|reply| without_place(reply, kind));
            prop_assert_eq!(found, expected, "{}", shown);
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn lists_are_alike() {
    compare(|| Spec::List, list_op().prop_map(Op::List));
}

#[test]
fn dicts_are_alike() {
    compare(|| Spec::Dict, dict_op().prop_map(Op::Dict));
}

#[test]
fn namespaces_are_alike() {
    compare(|| Spec::Namespace, namespace_op().prop_map(Op::Namespace));
}

#[test]
fn values_are_alike() {
    compare(|| Spec::Value(Payload::copy(Raw::plain(b"\x05"))), value_op().prop_map(Op::Value));
}

#[test]
fn arrays_are_alike() {
    let element = |byte| Payload::copy(Raw::plain(&[byte]));
    compare(move || Spec::Array((0..4).map(element).collect()), array_op().prop_map(Op::Array));
}

#[test]
fn queues_are_alike() {
    for capacity in [0, 3] {
        compare(move || Spec::Queue(capacity), queue_op().prop_map(Op::Queue));
    }
}

/// Every type of number, from every edge.
#[test]
fn sums_wrap_as_those_of_atomics_do() {
    let server = Server::start(&[]);
    let manager = There::new(&server).connect();
    macro_rules! check {
        ($($type:ident),+) => {$({
            let edges = [$type::MIN, $type::MIN + 1, 0, 1, 2, 63, 64, 100, $type::MAX - 1, $type::MAX];
            let sum = manager.value(&$type::MIN).unwrap();
            for stored in edges {
                for added in edges {
                    sum.set(&stored).unwrap();
                    assert_eq!(sum.fetch_add(added), Ok(stored));
                    assert_eq!(sum.get(), Ok(stored.wrapping_add(added)), "{stored} + {added}");
                }
            }
        })+};
    }
    check!(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128);
}

#[test]
fn a_value_of_another_type_is_no_number() {
    let server = Server::start(&[]);
    let manager = There::new(&server).connect();
    let backend = &**manager.backend();
    let (key, id) = (Payload::copy(Raw::plain(&[1])), make(backend, Spec::Dict));
    for stored in [&[0xff; 12][..], &[], &[0x80], &[1, 2]] {
        let store = DictOp::Store(key.clone(), Payload::copy(Raw::plain(stored)));
        run(backend, id, Op::Dict(store)).unwrap();
        let add = Op::Dict(DictOp::FetchAdd(key.clone(), Number::U64(1)));
        assert_eq!(run(backend, id, add), Err(CallError::Fault(Fault::NoNumber)), "{stored:?}");
    }
}
