//! Queues of tasks whose workers die, and whose joiners wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use manager_rt::limits::FAILED_TASKS_MAX;
use manager_rt::proto::{Call, JoinableQueueOp, ObjectId, Op, Payload, Raw, Reply, Spec, Wait};
use manager_rt::{Backend, CallError, GetError, InProcess, JoinableQueue, Manager, ObjectError};
use mp_sys::reexec::Handed;
use mp_sys::testing::{eventually, kill};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::There;
use crate::alike::make;
use crate::deaths::{Holder, PATIENCE, heard, tell};
use crate::queues::waiters;
use crate::server::Server;

const CASES: u32 = 60;
const STEPS: usize = 40;

/// An operation, or the end of a lease: of the one with this place among those of the test.
#[derive(Debug, Clone)]
enum Step {
    Op(JoinableQueueOp<u8>),
    Done(usize),
    Requeue(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let op = prop_oneof![
        6 => (0_u8..9).prop_map(JoinableQueueOp::Put),
        2 => prop::collection::vec(0_u8..9, 0..4).prop_map(JoinableQueueOp::PutMany),
        9 => Just(JoinableQueueOp::Get),
        2 => Just(JoinableQueueOp::Len),
        1 => Just(JoinableQueueOp::Capacity),
        4 => Just(JoinableQueueOp::Unfinished),
        2 => Just(JoinableQueueOp::Join),
        2 => (0_u64..3, any::<bool>()).prop_map(|(at, take)| JoinableQueueOp::Failed { at, take }),
        1 => Just(JoinableQueueOp::Close),
        1 => Just(JoinableQueueOp::IsClosed),
    ];
    prop_oneof![
        6 => op.prop_map(Step::Op),
        1 => (0_usize..8).prop_map(Step::Done),
        2 => (0_usize..8).prop_map(Step::Requeue),
    ]
}

/// Runs a step, and returns the answer, in which a lease is its place.
fn run(
    backend: &dyn Backend,
    object: ObjectId,
    leases: &mut Vec<u64>,
    step: Step,
) -> Result<Reply<Payload>, CallError> {
    // No engine gives this number to a lease.
    let lease = |place| leases.get(place).copied().unwrap_or(u64::MAX);
    let bytes: Vec<_> = (0..9).map(|byte| [byte]).collect();
    let raw = |byte: u8| Raw::plain(&bytes[usize::from(byte)]);
    let op = match step {
        Step::Done(place) => JoinableQueueOp::Done { lease: lease(place) },
        Step::Requeue(place) => JoinableQueueOp::Requeue { lease: lease(place) },
        Step::Op(JoinableQueueOp::Put(byte)) => JoinableQueueOp::Put(raw(byte)),
        Step::Op(JoinableQueueOp::PutMany(bytes)) => {
            JoinableQueueOp::PutMany(bytes.into_iter().map(raw).collect())
        }
        Step::Op(JoinableQueueOp::Get) => JoinableQueueOp::Get,
        Step::Op(JoinableQueueOp::Join) => JoinableQueueOp::Join,
        Step::Op(JoinableQueueOp::Len) => JoinableQueueOp::Len,
        Step::Op(JoinableQueueOp::Capacity) => JoinableQueueOp::Capacity,
        Step::Op(JoinableQueueOp::Unfinished) => JoinableQueueOp::Unfinished,
        Step::Op(JoinableQueueOp::Failed { at, take }) => JoinableQueueOp::Failed { at, take },
        Step::Op(JoinableQueueOp::Close) => JoinableQueueOp::Close,
        Step::Op(_) => JoinableQueueOp::IsClosed,
    };
    let answer = backend.call(Call { object, thread: 1, wait: Wait::No, op: Op::JoinableQueue(op) })?;
    if let Reply::Leased { lease, deliveries, task } = answer {
        leases.push(lease);
        let place = u64::try_from(leases.len()).unwrap();
        return Ok(Reply::Leased { lease: place, deliveries, task });
    }
    Ok(answer)
}

#[test]
fn queues_of_tasks_are_alike() {
    let server = Server::start(&[]);
    let there: Manager = There::new(&server).connect();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&(0_u64..3, prop::collection::vec(step(), STEPS)), |(maxsize, steps)| {
        let spec = || Spec::JoinableQueue { maxsize: maxsize * 2, max_deliveries: 2 };
        let here: Arc<dyn Backend> = Arc::new(InProcess::new().unwrap());
        let there = there.backend();
        let (one, other) = (make(&*here, spec()), make(&**there, spec()));
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for step in steps {
            let shown = format!("{step:?}");
            let expected = run(&*here, one, &mut own, step.clone());
            prop_assert_eq!(run(&**there, other, &mut others, step), expected, "{}", shown);
        }
        Ok(())
    });
    outcome.unwrap();
}

fn tasks(manager: &Manager) -> JoinableQueue<u32> {
    manager.named("tasks").joinable_queue_with(0, 2).unwrap()
}

/// The main function of a process that holds three tasks.
fn hold_three(handed: Handed) -> i32 {
    let manager = Manager::connect(&heard(&handed)).unwrap();
    let queue = tasks(&manager);
    let held = [(); 3].map(|()| queue.get().unwrap());
    tell(handed.endpoint(), "held");
    heard(&handed);
    drop(held);
    0
}

/// Lets a process die that has tasks, one of them for the second time.
fn tasks_return(lease: &str, die: impl Fn(&Holder)) {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&there.leased("3600s")).unwrap();
    let queue = tasks(&manager);
    (0..5).for_each(|task| queue.put(&task).unwrap());
    queue.get().unwrap().requeue().unwrap();
    let holder = Holder::start(hold_three, &there.leased(lease));
    assert_eq!((queue.len(), queue.unfinished()), (Ok(2), Ok(5)));
    die(&holder);
    kill(&holder.child);
    eventually("the tasks return", || queue.unfinished() == Ok(4));
    let failed = queue.failed().unwrap();
    assert_eq!(failed, [Ok(0)], "it was delivered twice");
    let order: Vec<_> = [(); 4]
        .map(|()| queue.try_get().unwrap())
        .into_iter()
        .map(|task| (task.deliveries(), task.done().unwrap()))
        .collect();
    assert_eq!(order, [(2, 1), (2, 2), (1, 3), (1, 4)]);
    assert_eq!(queue.try_get().unwrap_err(), GetError::Empty);
    queue.join().unwrap();
}

#[test]
fn tasks_of_a_dead_process_return_to_the_front_in_their_order() {
    tasks_return("3600s", |_| {});
    tasks_return("1s", Holder::kill_keeper);
}

/// Nobody but the waiters looks at the queue.
fn waiters_go_on(lease: &str, die: impl Fn(&Holder)) {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = Manager::connect(&there.leased("3600s")).unwrap();
    let queue = tasks(&manager);
    (0..3).for_each(|task| queue.put(&task).unwrap());
    let holder = Holder::start(hold_three, &there.leased(lease));
    queue.close().unwrap();
    std::thread::scope(|scope| {
        let joiner = scope.spawn(|| tasks(&there.connect()).join_timeout(PATIENCE));
        let worker = scope.spawn(|| {
            let queue = tasks(&there.connect());
            let mut done = Vec::new();
            loop {
                match queue.get_timeout(PATIENCE) {
                    Ok(task) => done.push(task.done().unwrap()),
                    Err(error) => return (done, error),
                }
            }
        });
        waiters(&manager, 2);
        die(&holder);
        kill(&holder.child);
        assert_eq!(worker.join().unwrap(), (vec![0, 1, 2], GetError::Closed));
        assert_eq!(joiner.join().unwrap(), Ok(true));
    });
}

#[test]
fn workers_and_joiners_go_on_after_a_death() {
    waiters_go_on("3600s", |_| {});
    waiters_go_on("1s", Holder::kill_keeper);
}

#[test]
fn a_task_of_a_lost_session_is_not_done() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let (one, other) = (there.connect(), there.connect());
    let (queue, same) = (tasks(&one), tasks(&other));
    queue.put(&1).unwrap();
    let task = queue.get().unwrap();
    // As if its lease were over.
    let sessions = format!("{{{}}}:sessions", there.namespace());
    let session = server.cli(&["zrange", &sessions, "0", "0"]);
    server.cli(&["zadd", &sessions, "0", &session]);
    let again = same.get_timeout(PATIENCE).unwrap();
    assert_eq!((*again, again.deliveries()), (1, 2));
    let error = task.done().unwrap_err();
    assert!(matches!(error, ObjectError::Call(CallError::Fault(_))), "{error:?}");
    assert_eq!(same.unfinished(), Ok(1));
    again.done().unwrap();
    same.join().unwrap();
}

#[test]
fn failed_tasks_are_kept_up_to_the_limit_and_no_more() {
    let server = Server::start(&[]);
    let there = There::new(&server);
    let manager = there.connect();
    let queue = manager.named("tasks").joinable_queue_with::<u8>(0, 1).unwrap();
    let fail = |task: u8| {
        queue.put(&task).unwrap();
        queue.get().unwrap().requeue().unwrap();
    };
    fail(0);
    let head = server.cli(&["--scan", "--pattern", "*:o:*:f"]);
    let head = head.strip_suffix(":f").unwrap();
    // They are as many as if they had failed one by one.
    let fill = "for n = 1, ARGV[1] do redis.call('ZADD', KEYS[1] .. ':f', n, n .. ':\\0\\7') end
        redis.call('HSET', KEYS[1], 'y', ARGV[1] + 1)";
    server.cli(&["eval", fill, "1", head, &(FAILED_TASKS_MAX - 2).to_string()]);
    fail(8);
    let failed = queue.failed().unwrap();
    assert_eq!((failed.len(), &failed[0], &failed[1]), (FAILED_TASKS_MAX, &Ok(0), &Ok(7)));
    fail(9);
    let failed = queue.take_failed().unwrap();
    assert_eq!((failed.len(), &failed[0]), (FAILED_TASKS_MAX, &Ok(7)), "the oldest is dropped");
    assert_eq!(&failed[FAILED_TASKS_MAX - 2..], [Ok(8), Ok(9)]);
    assert_eq!(queue.failed().unwrap(), []);
}

/// Whatever is cut, every task is done, and the join ends.
#[test]
fn no_task_is_lost_by_cut_connections_and_forgotten_scripts() {
    const TASKS: u32 = 200;
    let server = Server::start(&[]);
    let there = There::new(&server);
    let queue = there.connect().named("tasks").joinable_queue_with::<u32>(0, u32::MAX).unwrap();
    let tasks: Vec<_> = (0..TASKS).collect();
    queue.put_many(&tasks).unwrap();
    let done: Vec<_> = tasks.iter().map(|_| AtomicU32::new(0)).collect();
    std::thread::scope(|scope| {
        let workers: Vec<_> = [(); 3]
            .into_iter()
            .map(|()| {
                let (queue, done) = (tasks_of(&there), &done);
                scope.spawn(move || {
                    loop {
                        match queue.get_timeout(Duration::from_millis(20)) {
                            Ok(task) => {
                                let number = usize::try_from(*task).unwrap();
                                if task.done().is_ok() {
                                    done[number].fetch_add(1, Ordering::SeqCst);
                                }
                            }
                            Err(GetError::TimedOut) if queue.unfinished() == Ok(0) => break,
                            Err(_) => {}
                        }
                    }
                })
            })
            .collect();
        while !workers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            server.cli(&["client", "kill", "type", "normal"]);
            server.cli(&["script", "flush"]);
        }
    });
    let twice = done.iter().filter(|count| count.load(Ordering::SeqCst) > 1).count();
    assert_eq!(twice, 0, "tasks that were done more than once");
    let queue = tasks_of(&there);
    assert!(queue.join_timeout(PATIENCE).unwrap());
    assert_eq!(queue.failed().unwrap(), []);
}

fn tasks_of(there: &There<'_>) -> JoinableQueue<u32> {
    there.connect().named("tasks").joinable_queue().unwrap()
}
