//! Transactions: all of it happens, or nothing.

use std::sync::Arc;

use manager_rt::proto::{Fault, JoinableQueueOp, ObjectId, Op, Payload, QueueOp, Raw, Reply, Spec, Step};
use manager_rt::{Backend, CallError, GetError, InProcess, Manager, ObjectError, TransactionError};
use mp_sys::testing::eventually;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::There;
use crate::alike::{array_op, dict_op, list_op, make, namespace_op, queue_op, value_op, without_place};
use crate::deaths::PATIENCE;
use crate::server::Server;

const CASES: u32 = 60;
/// Operations of a transaction.
const STEPS: usize = 5;
/// Transactions of a case.
const TRANSACTIONS: usize = 8;

/// Runs operations as one. The values in them are lent.
fn run(backend: &dyn Backend, steps: &[(ObjectId, Op<Payload>)]) -> Result<Vec<Reply<Payload>>, CallError> {
    let steps: Vec<_> = steps.iter().map(|(object, op)| Step { object: *object, op: op.clone() }).collect();
    let bytes = postcard::to_stdvec(&steps).unwrap();
    let steps: Vec<Step<Raw<'_>>> = postcard::from_bytes(&bytes).unwrap();
    backend.transaction(1, steps)
}

fn element(byte: u8) -> Payload {
    Payload::copy(Raw::plain(&[byte]))
}

fn specs() -> [Spec<Payload>; 6] {
    let array = Spec::Array((0..4).map(element).collect());
    [Spec::List, Spec::Dict, Spec::Namespace, Spec::Value(element(5)), array, Spec::Queue(3)]
}

/// An operation, and the index of its object.
fn step() -> impl Strategy<Value = (usize, Op<Payload>)> {
    let queue = queue_op().prop_filter("this cannot be undone", |op| !matches!(op, QueueOp::Close));
    prop_oneof![
        list_op().prop_map(|op| (0, Op::List(op))),
        dict_op().prop_map(|op| (1, Op::Dict(op))),
        namespace_op().prop_map(|op| (2, Op::Namespace(op))),
        value_op().prop_map(|op| (3, Op::Value(op))),
        array_op().prop_map(|op| (4, Op::Array(op))),
        queue.prop_map(|op| (5, Op::Queue(op))),
    ]
}

/// Runs the same transactions in Redis and in this process. With `refused`, each ends with an operation that is refused in Redis, so nothing
/// in it may change.
fn compare(refused: bool) {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let there: Manager = There::new(&server).connect();
    let empty = make(&**there.backend(), Spec::Queue(0));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let transactions = prop::collection::vec(prop::collection::vec(step(), 1..=STEPS), TRANSACTIONS);
    let outcome = runner.run(&transactions, |transactions| {
        let here: Arc<dyn Backend> = Arc::new(InProcess::new().unwrap());
        let backend = there.backend();
        let objects = specs().map(|spec| (make(&*here, spec.clone()), make(&**backend, spec)));
        for transaction in transactions {
            let kinds: Vec<_> = transaction.iter().map(|(at, _)| specs()[*at].kind()).collect();
            let plain = |replies: Vec<Reply<Payload>>| -> Vec<_> {
                replies.into_iter().zip(&kinds).map(|(reply, kind)| without_place(reply, *kind)).collect()
            };
            let of = |side: fn((ObjectId, ObjectId)) -> ObjectId| -> Vec<_> {
                transaction.iter().map(|(at, op)| (side(objects[*at]), op.clone())).collect()
            };
            let shown = format!("{transaction:?}");
            if refused {
                let before = server.cli(&["debug", "digest"]);
                let mut steps = of(|(_, there)| there);
                steps.push((empty, Op::Queue(QueueOp::Get)));
                prop_assert!(run(&**backend, &steps).is_err(), "{}", shown);
                prop_assert_eq!(server.cli(&["debug", "digest"]), before, "{}", shown);
            }
            // A transaction that several operations refuse may name any of the reasons.
            let expected = run(&*here, &of(|(here, _)| here)).map(plain).map_err(drop);
            let found = run(&**backend, &of(|(_, there)| there)).map(plain).map_err(drop);
            prop_assert_eq!(found, expected, "{}", shown);
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn transactions_are_alike() {
    compare(false);
}

#[test]
fn a_transaction_that_is_refused_leaves_no_trace() {
    compare(true);
}

/// The consumer is served by an operation that is undone, and goes on waiting.
#[test]
fn who_waits_gets_nothing_from_a_transaction_that_is_refused() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let (one, other) = (there.connect(), there.connect());
    let (queue, full) = (one.named("q").queue::<u8>().unwrap(), one.bounded_queue::<u8>(1).unwrap());
    full.put(&0).unwrap();
    std::thread::scope(|scope| {
        let got = scope.spawn(|| other.named("q").queue::<u8>().unwrap().get_timeout(PATIENCE));
        eventually("it waits", || one.info().unwrap().waiters == 1);
        for n in 0..20 {
            let refused = one.transaction(|t| (t.on(&queue).try_put(&n), t.on(&full).try_put(&n)));
            assert_eq!(refused, Err(TransactionError::Refused(Fault::Full)));
            assert_eq!(one.info().unwrap().waiters, 1);
        }
        one.transaction(|t| t.on(&queue).try_put(&77)).unwrap();
        assert_eq!(got.join().unwrap(), Ok(77));
    });
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
}

#[test]
fn a_transaction_survives_forgotten_scripts_and_a_full_memory() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]);
    let manager = There::new(&server).connect();
    let (list, sum) = (manager.list::<u32>().unwrap(), manager.value(&0_u32).unwrap());
    for n in 0..10 {
        assert_eq!(server.cli(&["script", "flush"]), "OK");
        assert_eq!(manager.transaction(|t| (t.on(&list).push(&n), t.on(&sum).fetch_add(1))), Ok(((), n)));
    }
    assert_eq!(server.cli(&["config", "set", "maxmemory", "1"]), "OK");
    let full = manager.transaction(|t| (t.on(&sum).get(), t.on(&list).push(&7)));
    assert_eq!(full, Err(TransactionError::Refused(Fault::NoSpace)));
    // It begins with a removal.
    assert_eq!(manager.transaction(|t| (t.on(&list).pop(), t.on(&sum).set(&3))), Ok((9, ())));
    assert_eq!((list.len(), sum.get()), (Ok(9), Ok(3)));
}

/// What was begun by a session that is lost is not part of anything.
#[test]
fn what_needs_a_session_or_waits_is_no_part_of_a_transaction() {
    let server = Server::start(&[]);
    let manager = There::new(&server).connect();
    let backend = &**manager.backend();
    let tasks = make(backend, Spec::JoinableQueue { maxsize: 0, max_deliveries: 1 });
    for op in [JoinableQueueOp::Get, JoinableQueueOp::Join, JoinableQueueOp::Close] {
        let refused = run(backend, &[(tasks, Op::JoinableQueue(op))]);
        assert_eq!(refused, Err(CallError::Fault(Fault::NotInTransaction)));
    }
    let gone = run(backend, &[(ObjectId(1), Op::Queue(QueueOp::Len))]);
    assert_eq!(gone, Err(CallError::Fault(Fault::UnknownObject)));
    let other = Manager::in_process().unwrap().value(&1).unwrap();
    let error = manager.transaction(|t| t.on(&other).set(&2)).unwrap_err();
    assert_eq!(error, TransactionError::Object(ObjectError::OtherManager));
}
