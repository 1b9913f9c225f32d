//! What a call without an answer in its time returns.

use super::*;
use crate::proto::{ConditionOp, EventOp, Fault, JoinableQueueOp, QueueOp, SemaphoreOp};

const MOMENT: Wait = Wait::For(1_000_000);
const OBJECT: ObjectId = ObjectId(5);

impl Peer {
    /// Receives the question for a sign of life, and returns the number of the call.
    fn ping(&mut self) -> u64 {
        let (head, body) = self.frame().unwrap();
        assert_eq!((head.kind, Control::of(&body)), (FrameKind::Call, Some(Control::Ping)));
        head.call
    }
}

/// Checks what a call returns that gets no answer, and that it is given up.
fn without_an_answer(remote: &Remote, peer: &mut Peer, op: Op<Raw<'_>>, outcome: CallError) {
    assert_eq!(ask(remote, OBJECT, op, MOMENT), Err(outcome));
    let (call, op) = peer.call();
    assert_eq!(peer.control().1, Control::Cancel { call }, "{op:?}");
}

#[test]
fn a_call_that_only_takes_something_has_timed_out() {
    let (remote, mut peer) = Fake::new().connected();
    let takes = [
        Op::Lock(LockOp::Acquire { lease: 0 }),
        Op::Semaphore(SemaphoreOp::Acquire),
        Op::Semaphore(SemaphoreOp::Take),
        Op::Event(EventOp::Wait),
        Op::Queue(QueueOp::Get),
        Op::Queue(QueueOp::GetMany(3)),
        Op::JoinableQueue(JoinableQueueOp::Get),
        Op::JoinableQueue(JoinableQueueOp::Join),
    ];
    for op in takes {
        without_an_answer(&remote, &mut peer, op, Fault::TimedOut.into());
    }
}

#[test]
fn a_call_that_may_have_changed_something_has_an_unknown_outcome() {
    let (remote, mut peer) = Fake::new().connected();
    let put = Op::Queue(QueueOp::Put(Raw::plain(b"item")));
    without_an_answer(&remote, &mut peer, put, CallError::OutcomeUnknown);
}

/// Waits for a notification for a moment, and lets the test play the server.
fn wait_for_notification(serve: impl FnOnce(&mut Peer, u64)) -> Result<Reply<Payload>, CallError> {
    let (remote, mut peer) = Fake::new().connected();
    std::thread::scope(|scope| {
        let wait = ConditionOp::Wait { lock: OBJECT, token: 7 };
        let waiter = scope.spawn(|| ask(&remote, ObjectId(6), Op::Condition(wait), MOMENT));
        let (call, _) = peer.call();
        serve(&mut peer, call);
        waiter.join().unwrap()
    })
}

#[test]
fn a_wait_for_a_notification_goes_on_while_the_server_lives() {
    let outcome = wait_for_notification(|peer, wait| {
        let sign = peer.ping();
        peer.answer(sign, Ok(Reply::Done));
        // The lock is free much later.
        peer.stream.set_read_timeout(Some(Duration::from_millis(800))).unwrap();
        assert!(peer.stream.read(&mut [0]).is_err(), "the client asks once, and then waits");
        peer.answer(wait, granted(8));
    });
    assert_eq!(outcome, granted(8).map_err(CallError::from));
}

#[test]
fn the_answer_may_come_before_the_sign_of_life() {
    let outcome = wait_for_notification(|peer, wait| {
        let sign = peer.ping();
        peer.answer(wait, granted(8));
        peer.answer(sign, Ok(Reply::Done));
    });
    assert_eq!(outcome, granted(8).map_err(CallError::from));
}

#[test]
fn a_wait_for_a_notification_is_given_up_if_the_server_shows_no_sign_of_life() {
    let outcome = wait_for_notification(|peer, wait| {
        let sign = peer.ping();
        assert_eq!(peer.control().1, Control::Cancel { call: sign });
        assert_eq!(peer.control().1, Control::Cancel { call: wait });
    });
    assert_eq!(outcome, Err(CallError::OutcomeUnknown));
}

#[test]
fn what_connecting_has_taken_of_the_timeout_is_not_waited_for_again() {
    let fake = Fake::new();
    let (remote, peer) = fake.connected();
    drop(peer);
    std::thread::scope(|scope| {
        let op = Op::Event(EventOp::Wait);
        let whole = u64::try_from(PATIENCE.as_nanos()).unwrap();
        let caller = scope.spawn(move || ask(&remote, OBJECT, op, Wait::For(whole)));
        let mut peer = fake.accept(EPOCH);
        let (head, call) = peer.next_of(FrameKind::Call);
        assert!(matches!(call.wait, Wait::For(left) if left < whole), "{:?}", call.wait);
        peer.answer(head.call, Ok(Reply::Done));
        assert_eq!(caller.join().unwrap(), Ok(Reply::Done));
    });
}
