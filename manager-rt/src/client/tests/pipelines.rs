//! Pipelines: every answer reaches its call, whoever reads it, and what is given up is undone.

use super::*;
use crate::client::answer::Unreadable;
use crate::client::connection::Failure;
use crate::limits::FRAME_BYTES_MAX;
use crate::proto::{Fault, ListOp, QueueOp, Step};
use crate::wire::control::Control;
use crate::wire::recorded::Recorded;

/// More calls than one piece of a pipeline holds.
const MANY: u64 = 5_000;

fn step(op: Op<Raw<'_>>) -> Step<Raw<'_>> {
    Step { object: ObjectId(5), op }
}

fn gets(count: u64) -> Vec<Step<Raw<'static>>> {
    (0..count).map(|index| step(Op::List(ListOp::Get(index)))).collect()
}

/// Reads as many gets, and returns the numbers of the calls with the indices.
fn read_gets(peer: &mut Peer, count: u64) -> Vec<(u64, u64)> {
    let one = |_| match peer.call() {
        (call, Op::List(ListOp::Get(index))) => (call, index),
        other => panic!("{other:?}"),
    };
    (0..count).map(one).collect()
}

#[test]
fn answers_in_another_order_reach_the_calls_of_a_long_pipeline() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut calls = read_gets(&mut peer, MANY);
            calls.reverse();
            calls.into_iter().for_each(|(call, index)| peer.answer(call, Ok(Reply::Count(index))));
        });
        let answers = connection.pipeline(1, &gets(MANY), soon()).unwrap();
        assert_eq!(answers, (0..MANY).map(|index| Ok(Reply::Count(index))).collect::<Vec<_>>());
    });
    assert_eq!(connection.pipeline(1, &[], soon()), Ok(Vec::new()));
}

#[test]
fn a_thread_that_reads_hands_over_the_answers_of_a_pipeline() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let reader = scope.spawn(|| connection.call(&acquire(), Deadline::NEVER));
            let (waiting, _) = peer.call();
            let pipeline = scope.spawn(|| connection.pipeline(1, &gets(MANY), soon()));
            for (call, index) in read_gets(&mut peer, MANY) {
                peer.answer(call, Ok(Reply::Count(index)));
            }
            let expected: Vec<_> = (0..MANY).map(|index| Ok(Reply::Count(index))).collect();
            assert_eq!(pipeline.join().unwrap(), Ok(expected));
            peer.answer(waiting, granted(1));
            assert_eq!(reader.join().unwrap(), Ok(granted(1)));
        }
    });
}

#[test]
fn a_pipeline_that_is_given_up_undoes_what_arrived_and_what_arrives_later() {
    let (connection, mut peer) = Fake::new().plain();
    let lock = || Op::Lock(LockOp::Acquire { lease: 0 });
    std::thread::scope(|scope| {
        let steps = vec![step(lock()), step(lock())];
        let given_up = scope.spawn(|| {
            let steps = steps;
            connection.pipeline(3, &steps, Deadline::after(Duration::from_millis(100)))
        });
        let ((late, _), (early, _)) = (peer.call(), peer.call());
        peer.answer(early, granted(2));
        // The answer may arrive only after the time is over. Either way, each lock is released.
        let mut released = Vec::new();
        while released.len() < 2 {
            let (_, body) = peer.frame().unwrap();
            if let Some(control) = Control::of(&body) {
                assert!([late, early].map(|call| Control::Cancel { call }).contains(&control));
                if control == (Control::Cancel { call: late }) {
                    peer.answer(late, granted(1));
                    // A reader takes the late answer.
                    scope.spawn(|| drop(connection.call(&any_call(), soon())));
                    let (call, _) = peer.call();
                    peer.answer(call, Ok(Reply::Done));
                }
                continue;
            }
            match postcard::from_bytes::<Call<Payload>>(&body).unwrap().op {
                Op::Lock(LockOp::Release { token }) => released.push(token),
                other => panic!("{other:?}"),
            }
        }
        released.sort_unstable();
        assert_eq!((given_up.join().unwrap(), released), (Err(Failure::Late), vec![1, 2]));
    });
}

#[test]
fn items_of_a_pipeline_that_is_given_up_return_to_their_queue() {
    let get = || step(Op::Queue(QueueOp::Get));
    // The answers are read by the thread that waits for them, or by another one.
    for is_read_by_other in [false, true] {
        let (connection, mut peer) = Fake::new().plain();
        std::thread::scope(|scope| {
            let other =
                is_read_by_other.then(|| scope.spawn(|| connection.call(&acquire(), Deadline::NEVER)));
            let waiting = other.as_ref().map(|_| peer.call().0);
            let steps = [step(Op::List(ListOp::Len)), get(), get(), get()];
            let given_up = scope.spawn(|| {
                let steps = steps;
                connection.pipeline(3, &steps, Deadline::after(Duration::from_secs(1)))
            });
            let calls = [(); 4].map(|()| peer.call().0);
            peer.answer(calls[0], Ok(Reply::Count(0)));
            for call in &calls[1..3] {
                peer.answer(*call, Ok(Reply::Value(Payload::copy(Raw::plain(b"item")))));
            }
            // Meanwhile, the frames of others must not report them.
            let beside = scope.spawn(|| connection.call(&any_call(), soon()));
            let (head, _) = peer.next_of(FrameKind::Call);
            assert!(head.read <= 1, "{head:?}");
            peer.answer(head.call, Ok(Reply::Done));
            beside.join().unwrap().unwrap().unwrap();
            let beside = scope.spawn(|| connection.call(&any_call(), soon()));
            let (head, _) = peer.next_of(FrameKind::Call);
            assert_eq!(head.read, 1, "the items are not confirmed");
            peer.answer(head.call, Ok(Reply::Done));
            beside.join().unwrap().unwrap().unwrap();
            // The last one comes back first, so that they are in their order again.
            let expected = [
                Control::Cancel { call: calls[3] },
                Control::Reject { call: calls[2] },
                Control::Reject { call: calls[1] },
            ];
            for control in expected {
                let (head, undone) = peer.control();
                assert_eq!((head.read, undone), (1, control));
            }
            assert_eq!(given_up.join().unwrap(), Err(Failure::Late));
            let after = scope.spawn(|| connection.call(&any_call(), soon()));
            let (head, _) = peer.next_of(FrameKind::Call);
            assert_eq!(head.read, 5, "now they count");
            peer.answer(head.call, Ok(Reply::Done));
            after.join().unwrap().unwrap().unwrap();
            if let Some((other, waiting)) = other.zip(waiting) {
                peer.answer(waiting, granted(1));
                assert!(other.join().unwrap().is_ok());
            }
        });
    }
}

#[test]
fn a_pipeline_whose_rest_could_not_be_sent_does_not_wait_for_the_answers_once_more() {
    let (connection, mut peer) = Fake::new().plain();
    let long = vec![7; 8 << 20];
    let mut run = None;
    let mut portion = Recorded::by(1);
    portion.add(ObjectId(5), &Op::List(ListOp::Len));
    connection.send_portion(&mut run, &mut portion, 100, soon()).unwrap();
    assert_eq!(peer.call().1, Op::List(ListOp::Len));
    // The socket is full.
    connection.notice(1, ObjectId(5), Op::List(ListOp::Push(Raw::plain(&long))));
    portion.clear();
    portion.add(ObjectId(5), &Op::List(ListOp::Len));
    connection.send_portion(&mut run, &mut portion, 100, Deadline::after(Duration::from_millis(20))).unwrap();
    let deadline = soon();
    assert_eq!(connection.collect(run.unwrap(), deadline), Err(Failure::Late));
    assert!(!deadline.has_passed(), "it did not wait for the answer to what was not sent");
}

#[test]
fn an_operation_that_is_too_long_fails_alone() {
    let (connection, mut peer) = Fake::new().plain();
    let long = vec![0; FRAME_BYTES_MAX];
    let push = step(Op::List(ListOp::Push(Raw::plain(&long))));
    let get = || gets(1).remove(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (call, _) in read_gets(&mut peer, 2) {
                peer.answer(call, Ok(Reply::Done));
            }
        });
        let answers = connection.pipeline(1, &[get(), push, get()], soon()).unwrap();
        let limit = FRAME_BYTES_MAX as u64;
        assert_eq!(answers, [Ok(Reply::Done), Err(Fault::TooLarge { limit }), Ok(Reply::Done)]);
    });
}

#[test]
fn an_answer_that_comes_twice_ends_the_connection() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (call, _) = peer.call();
            peer.answer(call, Ok(Reply::Done));
            peer.answer(call, Ok(Reply::Done));
        });
        assert_eq!(connection.pipeline(1, &gets(2), soon()), Err(Failure::Unreadable(Unreadable::Malformed)));
    });
    assert!(!connection.is_usable());
}

#[test]
fn a_pipeline_whose_server_ends_is_neither_lost_nor_repeated() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (call, _) = peer.call();
            peer.answer(call, Ok(Reply::Done));
            peer.close();
        });
        assert_eq!(connection.pipeline(1, &gets(MANY), soon()), Err(Failure::Unknown));
    });
    assert_eq!(connection.pipeline(1, &gets(2), soon()), Err(Failure::NotSent));
}

/// Answers all calls of the next frame with the indices that they ask for, in one frame.
fn answer_together(peer: &mut Peer, place: impl Fn(u64) -> Answer<Payload>) -> u16 {
    let (head, body) = peer.frame_as_sent().unwrap();
    let FrameKind::Calls(count) = head.kind else { panic!("{head:?}") };
    let mut together = Together::of(&body).unwrap();
    let mut answers = Vec::new();
    for _ in 0..count {
        let Ok(Op::List(ListOp::Get(index))) = together.next(usize::MAX) else { panic!("a get") };
        answers.extend(postcard::to_allocvec(&place(index)).unwrap());
    }
    peer.say(FrameKind::Answers(count), head.call, &answers);
    count
}

/// A fault for each third index, and otherwise a value that is long for some.
fn answer_of(index: u64) -> Answer<Payload> {
    if index.is_multiple_of(3) {
        return Err(Fault::Index { index, len: 1 });
    }
    let len = if index.is_multiple_of(1_000) { 40_000 } else { 30 };
    Ok(Reply::Value(Payload::copy(Raw::plain(&vec![7; len]))))
}

#[test]
fn several_answers_in_a_frame_reach_their_calls() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut left = MANY;
            while left > 0 {
                left -= u64::from(answer_together(&mut peer, answer_of));
            }
        });
        let answers = connection.pipeline(1, &gets(MANY), soon()).unwrap();
        assert_eq!(answers, (0..MANY).map(answer_of).collect::<Vec<_>>());
    });
}

#[test]
fn a_thread_that_reads_hands_several_answers_of_a_frame_over() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        for _ in 0..20 {
            let reader = scope.spawn(|| connection.call(&acquire(), Deadline::NEVER));
            let (waiting, _) = peer.call();
            let pipeline = scope.spawn(|| connection.pipeline(1, &gets(MANY), soon()));
            let mut left = MANY;
            while left > 0 {
                left -= u64::from(answer_together(&mut peer, answer_of));
            }
            assert_eq!(pipeline.join().unwrap(), Ok((0..MANY).map(answer_of).collect::<Vec<_>>()));
            peer.answer(waiting, granted(1));
            assert_eq!(reader.join().unwrap(), Ok(granted(1)));
        }
    });
}

#[test]
fn answers_that_come_too_late_are_taken_and_release_their_references() {
    let (connection, mut peer) = Fake::new().plain();
    let given_up = connection.pipeline(3, &gets(3), Deadline::after(Duration::from_millis(50)));
    assert_eq!(given_up, Err(Failure::Late));
    std::thread::scope(|scope| {
        let inside = 9_u64.to_le_bytes();
        let value = || Ok(Reply::Value(Payload::copy(Raw { bytes: b"a proxy", ids: &inside })));
        assert_eq!(answer_together(&mut peer, |_| value()), 3);
        let reader = scope.spawn(|| connection.call(&any_call(), soon()));
        let (mut detached, mut cancelled) = (0, 0);
        let call = loop {
            let (head, body) = peer.frame().unwrap();
            match Control::of(&body) {
                Some(Control::Cancel { .. }) => cancelled += 1,
                Some(other) => panic!("{other:?}"),
                None if head.kind == FrameKind::Call => break head.call,
                None => {
                    detached += 1;
                }
            }
        };
        peer.answer(call, Ok(Reply::Done));
        assert_eq!(reader.join().unwrap(), Ok(Ok(Reply::Done)));
        while detached < 3 {
            assert!(matches!(peer.notice(), Op::Manager(ManagerOp::Detach { .. })));
            detached += 1;
        }
        assert_eq!(cancelled, 3);
    });
}

#[test]
fn several_answers_that_are_not_what_the_head_says_end_the_connection() {
    let done = postcard::to_allocvec::<Answer<Payload>>(&Ok(Reply::Done)).unwrap();
    let bodies =
        [Vec::new(), done.clone(), done.repeat(3), [&done[..], &[2]].concat(), [&[2], &done[..]].concat()];
    for body in bodies {
        let (connection, mut peer) = Fake::new().plain();
        std::thread::scope(|scope| {
            let pipeline = scope.spawn(|| connection.pipeline(1, &gets(2), soon()));
            let (head, _) = peer.frame_as_sent().unwrap();
            peer.say(FrameKind::Answers(2), head.call, &body);
            assert_eq!(pipeline.join().unwrap(), Err(Failure::Unreadable(Unreadable::Malformed)), "{body:?}");
        });
    }
    // For a call that has its answer already, or that nobody has sent.
    for calls in [[0, 0], [2, 2]] {
        let (connection, mut peer) = Fake::new().plain();
        std::thread::scope(|scope| {
            let pipeline = scope.spawn(|| connection.pipeline(1, &gets(2), soon()));
            let (head, _) = peer.frame_as_sent().unwrap();
            for call in calls {
                peer.say(FrameKind::Answers(1), head.call + call, &done);
            }
            assert_eq!(
                pipeline.join().unwrap(),
                Err(Failure::Unreadable(Unreadable::Malformed)),
                "{calls:?}"
            );
        });
    }
}
