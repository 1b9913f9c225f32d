//! Many calls at a time: each gets its own answer, and no call delays another.

use std::sync::atomic::{AtomicU64, Ordering};

use mp_sys::testing::Random;

use super::*;
use crate::client::connection::Failure;
use crate::proto::{Fault, ListOp, QueueOp, Step};

#[test]
fn answers_in_another_order_reach_their_callers() {
    let (connection, mut peer) = Fake::new().plain();
    let connection = &connection;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|index| {
                scope.spawn(move || {
                    let call = Call { op: Op::List(ListOp::Get(index)), ..any_call() };
                    assert_eq!(connection.call(&call, soon()), Ok(Ok(Reply::Count(index))));
                })
            })
            .collect();
        let calls: Vec<_> = (0..3).map(|_| peer.call()).collect();
        for (call, op) in calls.into_iter().rev() {
            let Op::List(ListOp::Get(index)) = op else { panic!("{op:?}") };
            peer.answer(call, Ok(Reply::Count(index)));
        }
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn a_waiting_call_delays_no_other() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| connection.call(&acquire(), Deadline::NEVER));
        let (waiting, _) = peer.call();
        scope.spawn(move || {
            for _ in 0..100 {
                let (call, _) = peer.call();
                peer.answer(call, Ok(Reply::Done));
            }
            peer.answer(waiting, granted(1));
        });
        for _ in 0..100 {
            assert_eq!(connection.call(&any_call(), soon()), Ok(Ok(Reply::Done)));
        }
        assert_eq!(waiter.join().unwrap(), Ok(granted(1)));
    });
}

#[test]
fn a_reader_that_times_out_hands_on_and_its_late_answer_is_undone() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| connection.call(&acquire(), Deadline::after(Duration::from_millis(60))));
        let (late, _) = peer.call();
        let other = scope.spawn(|| connection.call(&any_call(), Deadline::NEVER));
        let (waiting, _) = peer.call();
        assert_eq!(peer.control().1, Control::Cancel { call: late });
        assert_eq!(reader.join().unwrap(), Err(Failure::Late));
        peer.answer(late, granted(8));
        let (head, release) = peer.next_of(FrameKind::Notice);
        assert_eq!((release.object, release.thread), (ObjectId(5), 3));
        assert_eq!(release.op, Op::Lock(LockOp::Release { token: 8 }));
        assert_eq!(head.read, 0, "the notice comes before the answer counts as read");
        peer.answer(waiting, Ok(Reply::Done));
        assert_eq!(other.join().unwrap(), Ok(Ok(Reply::Done)));
    });
}

#[test]
fn late_items_are_rejected_before_their_answer_counts_as_read() {
    let (connection, mut peer) = Fake::new().plain();
    let get = Call { op: Op::Queue(QueueOp::Get), ..acquire() };
    assert_eq!(connection.call(&get, Deadline::after(Duration::from_millis(1))), Err(Failure::Late));
    let (late, _) = peer.call();
    assert_eq!(peer.control().1, Control::Cancel { call: late });
    peer.answer(late, Ok(Reply::Value(Payload::copy(Raw::plain(b"item")))));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (call, _) = peer.call();
            peer.answer(call, Ok(Reply::Done));
            let (head, reject) = peer.control();
            assert_eq!(reject, Control::Reject { call: late });
            assert_eq!(head.read, 0);
            let (head, _) = peer.next_of(FrameKind::Call);
            assert_eq!(head.read, 2);
            peer.answer(head.call, Err(Fault::Empty));
        });
        assert_eq!(connection.call(&any_call(), soon()), Ok(Ok(Reply::Done)));
        assert_eq!(connection.call(&any_call(), soon()), Ok(Err(Fault::Empty)));
    });
}

/// Answers in random order, and counts what is released. Ends with the connection.
fn serve_in_disorder(mut peer: Peer, mut random: Random, released: &AtomicU64, granted_so_far: &AtomicU64) {
    let mut waiting = Vec::new();
    while let Some((head, body)) = peer.frame() {
        if Control::of(&body).is_some() {
            continue;
        }
        let call: Call<Payload> = postcard::from_bytes(&body).unwrap();
        match call.op {
            Op::Lock(LockOp::Acquire { .. }) => waiting.push(head.call),
            Op::Lock(LockOp::Release { .. }) => {
                released.fetch_add(1, Ordering::Relaxed);
            }
            // The last call, after all others.
            _ => {
                for call in waiting.drain(..) {
                    granted_so_far.fetch_add(1, Ordering::Relaxed);
                    peer.answer(call, granted(call));
                }
                peer.answer(head.call, Ok(Reply::Done));
            }
        }
        while waiting.len() > 3 || (!waiting.is_empty() && random.below(2) == 0) {
            let index = random.below(waiting.len().try_into().unwrap());
            let call = waiting.swap_remove(index.try_into().unwrap());
            granted_so_far.fetch_add(1, Ordering::Relaxed);
            peer.answer(call, granted(call));
        }
    }
}

#[test]
fn with_many_threads_and_random_timeouts_every_answer_is_taken_or_undone() {
    const THREADS: u64 = 8;
    const CALLS: u64 = 1_500;
    let (connection, peer) = Fake::new().plain();
    let (released, given, taken) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let random = Random::new();
    let seed = random.seed();
    println!("MP_SEED={seed}");
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve_in_disorder(peer, random, &released, &given));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (connection, taken) = (&connection, &taken);
                scope.spawn(move || {
                    let mut random = Random::seeded(seed ^ (thread + 1));
                    for _ in 0..CALLS {
                        let timeout = Duration::from_nanos(random.below(400_000));
                        match connection.call(&acquire(), Deadline::after(timeout)) {
                            Ok(answer) => {
                                assert!(matches!(answer, Ok(Reply::Granted { .. })));
                                taken.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(failure) => {
                                assert!(
                                    matches!(failure, Failure::Unknown | Failure::Late | Failure::NotBegun),
                                    "{failure:?}"
                                );
                            }
                        }
                    }
                });
            }
        });
        // Its answer comes after all others.
        assert_eq!(connection.call(&any_call(), soon()), Ok(Ok(Reply::Done)));
        drop(connection);
        server.join().unwrap();
    });
    let (released, given, taken) = (released.into_inner(), given.into_inner(), taken.into_inner());
    assert_eq!(taken + released, given, "of {given} grants {taken} were taken and {released} released");
}

#[test]
fn with_many_threads_that_wait_for_ever_every_call_is_answered() {
    const THREADS: u64 = 8;
    const CALLS: u64 = 2_000;
    let (connection, peer) = Fake::new().plain();
    let (released, given, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let server = scope.spawn(|| serve_in_disorder(peer, Random::new(), &released, &given));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..CALLS {
                        connection.call(&acquire(), Deadline::NEVER).unwrap().unwrap();
                    }
                    over.fetch_add(1, Ordering::Relaxed);
                });
            }
            // The server may hold back a few answers until the next call.
            while over.load(Ordering::Relaxed) < THREADS {
                assert_eq!(connection.call(&any_call(), soon()), Ok(Ok(Reply::Done)));
            }
        });
        drop(connection);
        server.join().unwrap();
    });
    assert_eq!((released.into_inner(), given.into_inner()), (0, THREADS * CALLS));
}

#[test]
fn a_writer_reads_while_the_server_does_not() {
    let (connection, mut peer) = Fake::new().plain();
    let value = vec![3; 200_000];
    let push = || Op::List(ListOp::Push(Raw::plain(&value)));
    let steps: Vec<_> = (0..64).map(|_| Step { object: any_call().object, op: push() }).collect();
    std::thread::scope(|scope| {
        // The server reads a call only after it has written the answer to the last one.
        scope.spawn(|| {
            for _ in 0..128 {
                let (call, op) = peer.call();
                let Op::List(ListOp::Push(value)) = op else { panic!("a push") };
                peer.answer(call, Ok(Reply::Value(value)));
            }
        });
        let other = scope.spawn(|| connection.pipeline(1, &steps, soon()));
        for answers in [connection.pipeline(1, &steps, soon()), other.join().unwrap()] {
            let answers = answers.unwrap();
            assert_eq!(answers.len(), 64);
            for answer in answers {
                let Ok(Reply::Value(answer)) = answer else { panic!("{answer:?}") };
                assert_eq!(answer.raw().bytes, value);
            }
        }
    });
}
