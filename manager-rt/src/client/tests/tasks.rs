//! Calls of tasks, which are polled by hand, and a server that does what each test needs.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;

use super::*;
use crate::backend::Pending;
use crate::client::asynchronous::Driver;
use crate::client::calls::UNTAKEN_ANSWERS_MAX;
use crate::limits::ACKNOWLEDGED_BYTES_MIN;
use crate::proto::QueueOp;

const QUEUE: ObjectId = ObjectId(9);

/// A runtime whose event loop runs only when the test says so.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn poll(pending: &mut Pending) -> Poll<Result<Reply<Payload>, CallError>> {
    pending.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn get(remote: &Arc<Remote>) -> Pending {
    let op = Op::Queue(QueueOp::Get);
    Arc::clone(remote).call_async(Call { object: QUEUE, thread: 1, wait: Wait::Forever, op })
}

fn item(byte: u8) -> Answer<Payload> {
    Ok(Reply::Value(Payload::copy(Raw::plain(&[byte]))))
}

/// Runs a call of a thread, which reads everything before its own answer.
fn read_all(remote: &Remote, peer: &mut Peer) -> u64 {
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| ask(remote, ObjectId::MANAGER, Op::Manager(ManagerOp::Names), Wait::No));
        let (head, _) = peer.next_of(FrameKind::Call);
        peer.answer(head.call, Ok(Reply::Done));
        assert_eq!(asked.join().unwrap(), Ok(Reply::Done));
        head.read
    })
}

#[test]
fn an_answer_counts_as_read_when_its_task_takes_it() {
    let (remote, mut peer) = Fake::new().connected();
    let runtime = runtime();
    let _inside = runtime.enter();
    let (mut first, mut second) = (get(&remote), get(&remote));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    let (one, _) = peer.call();
    let (two, _) = peer.call();
    peer.answer(two, item(2));
    assert_eq!(read_all(&remote, &mut peer), 0);
    peer.answer(one, item(1));
    assert_eq!(read_all(&remote, &mut peer), 0, "the first answer was not taken");
    assert_eq!(poll(&mut second), Poll::Ready(Ok(item(2).unwrap())));
    let (head, control) = peer.control();
    assert_eq!((head.read, control), (2, Control::Taken { first: two, last: two }));
    read_all(&remote, &mut peer);
    assert_eq!(read_all(&remote, &mut peer), 2, "the third answer was not taken");
    drop(first);
    assert_eq!(peer.control().1, Control::Cancel { call: one });
    let (head, control) = peer.control();
    assert_eq!((head.read, control), (2, Control::Reject { call: one }));
    assert!(read_all(&remote, &mut peer) > 2);
}

#[test]
fn long_items_that_tasks_have_taken_are_reported_at_once() {
    let (remote, mut peer) = Fake::new().connected();
    let runtime = runtime();
    let _inside = runtime.enter();
    let long = Reply::Value(Payload::copy(Raw::plain(&[7; ACKNOWLEDGED_BYTES_MIN])));
    let mut asked = get(&remote);
    assert!(poll(&mut asked).is_pending());
    let (call, _) = peer.call();
    peer.answer(call, Ok(long.clone()));
    assert_eq!(read_all(&remote, &mut peer), 0);
    assert_eq!(read_all(&remote, &mut peer), 0, "it was not taken");
    assert_eq!(poll(&mut asked), Poll::Ready(Ok(long)));
    let (head, control) = peer.control();
    assert_eq!((head.read, control), (3, Control::Ping));
}

#[test]
fn an_answer_is_given_back_after_the_limit_and_not_before() {
    let (remote, mut peer) = Fake::new().connected();
    let runtime = runtime();
    let _inside = runtime.enter();
    let mut forgotten = get(&remote);
    assert!(poll(&mut forgotten).is_pending());
    let (one, _) = peer.call();
    peer.answer(one, item(1));
    // The answer itself is the first that arrives.
    for _ in 1..UNTAKEN_ANSWERS_MAX {
        assert_eq!(read_all(&remote, &mut peer), 0);
    }
    assert_eq!(read_all(&remote, &mut peer), 0, "as many as are allowed");
    assert_eq!(peer.control().1, Control::Cancel { call: one });
    assert_eq!(peer.control().1, Control::Reject { call: one });
    assert!(read_all(&remote, &mut peer) > UNTAKEN_ANSWERS_MAX);
    assert!(poll(&mut forgotten).is_pending(), "it is sent again");
    let (again, op) = peer.call();
    assert_eq!(op, Op::Queue(QueueOp::Get));
    peer.answer(again, item(2));
    read_all(&remote, &mut peer);
    assert_eq!(poll(&mut forgotten), Poll::Ready(Ok(item(2).unwrap())));
}

#[test]
fn a_wait_for_a_notification_is_not_sent_again() {
    let (remote, mut peer) = Fake::new().connected();
    let runtime = runtime();
    let _inside = runtime.enter();
    let op = Op::Condition(ConditionOp::Wait { lock: ObjectId(5), token: 1 });
    let wait = Call { object: ObjectId(6), thread: 1, wait: Wait::Forever, op };
    let mut forgotten = Arc::clone(&remote).call_async(wait);
    assert!(poll(&mut forgotten).is_pending());
    let (one, _) = peer.call();
    peer.answer(one, granted(2));
    for _ in 0..=UNTAKEN_ANSWERS_MAX {
        read_all(&remote, &mut peer);
    }
    assert!(read_all(&remote, &mut peer) > UNTAKEN_ANSWERS_MAX, "it counts as read");
    drop(forgotten);
    assert_eq!(peer.notice(), Op::Condition(ConditionOp::Notify(1)), "another waiter is notified");
    assert_eq!(peer.notice(), Op::Lock(LockOp::Release { token: 2 }));
}

/// The outbox has a limit, above which calls wait without being sent. Dropping one of these has no effect.
#[test]
fn calls_wait_until_there_is_room() {
    const TASKS: u64 = 64;
    let (remote, mut peer) = Fake::new().connected();
    let runtime = runtime();
    let value = vec![7; 64 << 10];
    let put = || {
        let op = Op::Queue(QueueOp::Put(Raw::plain(&value)));
        Arc::clone(&remote).call_async(Call { object: QUEUE, thread: 1, wait: Wait::Forever, op })
    };
    runtime.block_on(async {
        let mut unsent = put();
        let tasks: Vec<_> = (0..TASKS).map(|_| put()).map(tokio::spawn).collect();
        tokio::task::yield_now().await;
        let outbox = || remote.local().present().unwrap().waiting_bytes();
        assert!((256 << 10..512 << 10).contains(&outbox()), "{}", outbox());
        let before = outbox();
        assert!(poll(&mut unsent).is_pending());
        drop(unsent);
        assert_eq!(outbox(), before);
        let server = std::thread::Builder::new().name("a server".into());
        let server = server.spawn(move || {
            for _ in 0..TASKS {
                let (call, op) = peer.call();
                assert!(matches!(op, Op::Queue(QueueOp::Put(_))));
                peer.answer(call, Ok(Reply::Done));
            }
            peer
        });
        for task in tasks {
            let outcome = tokio::time::timeout(PATIENCE, task).await;
            assert_eq!(outcome.unwrap().unwrap(), Ok(Reply::Done));
        }
        drop(server.unwrap().join().unwrap());
    });
}

/// As on a runtime with more threads: the driver runs before its starter has told the connection.
#[test]
fn a_driver_that_runs_too_early_writes_what_the_socket_does_not_accept_later() {
    let (remote, mut peer) = Fake::new().connected();
    let value = vec![7; 2 << 20];
    runtime().block_on(async {
        let connection = remote.local().present().unwrap();
        let driver = Driver::new(&connection).unwrap().unwrap();
        let key = driver.key;
        let driver = tokio::spawn(driver.run(remote.me.clone()));
        tokio::task::yield_now().await;
        connection.add_driver(key, Handle::current().id(), driver.abort_handle());
        let op = Op::Queue(QueueOp::Put(Raw::plain(&value)));
        let put = Arc::clone(&remote).call_async(Call { object: QUEUE, thread: 1, wait: Wait::Forever, op });
        let server = std::thread::Builder::new().spawn(move || {
            let (call, _) = peer.call();
            peer.answer(call, Ok(Reply::Done));
            peer
        });
        assert_eq!(tokio::time::timeout(PATIENCE, put).await.unwrap(), Ok(Reply::Done));
        drop(server.unwrap().join().unwrap());
    });
}

#[test]
fn the_end_of_the_server_ends_all_calls() {
    let (remote, mut peer) = Fake::new().connected();
    runtime().block_on(async {
        let waiting = tokio::spawn(get(&remote));
        tokio::task::yield_now().await;
        peer.call();
        peer.close();
        assert_eq!(waiting.await.unwrap(), Err(CallError::OutcomeUnknown));
        drop(peer);
        let next = pin!(get(&remote)).await;
        assert_eq!(next, Err(CallError::ServerGone));
    });
}
