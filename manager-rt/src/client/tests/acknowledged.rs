//! When the server hears that items have arrived.

use super::*;
use crate::client::connection::{Connection, Failure};
use crate::limits::{ACKNOWLEDGED_BYTES_MIN, FRAME_BYTES_MAX, ITEM_NOTE_BYTES, TAKEN_CALLS_MAX};
use crate::proto::version::ITEMS_SAID_SINCE;
use crate::proto::{DictOp, QueueOp, Step};

const QUEUE: ObjectId = ObjectId(5);

/// An item of this length is reported at once, and a shorter one is not.
const LONG: usize = ACKNOWLEDGED_BYTES_MIN - ITEM_NOTE_BYTES;

fn get(op: Op<Raw<'static>>) -> Call<Raw<'static>> {
    Call { object: QUEUE, thread: 1, wait: Wait::Forever, op }
}

fn gets(count: u64) -> Vec<Step<Raw<'static>>> {
    (0..count).map(|_| Step { object: QUEUE, op: Op::Queue(QueueOp::Get) }).collect()
}

fn item(len: usize) -> Answer<Payload> {
    Ok(Reply::Value(Payload::copy(Raw::plain(&vec![7; len]))))
}

/// Lets a client receive an answer, and then returns the next frame, which is a call if nothing else was sent.
fn next_frame_after(answer: Answer<Payload>, call: impl FnOnce(&Connection) + Send) -> Head {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            call(&connection);
            assert!(connection.call(&any_call(), soon()).is_ok());
        });
        let (number, _) = peer.call();
        peer.answer(number, answer);
        let (head, _) = peer.frame().unwrap();
        let last = if head.kind == FrameKind::Call { head.call } else { peer.call().0 };
        peer.answer(last, Ok(Reply::Done));
        head
    })
}

#[test]
fn an_item_of_the_limit_is_reported_at_once_and_a_shorter_one_with_the_next_call() {
    for (len, kind) in [(LONG, FrameKind::Notice), (LONG - 1, FrameKind::Call)] {
        let head = next_frame_after(item(len), |connection| {
            assert_eq!(connection.call(&get(Op::Queue(QueueOp::Get)), soon()), Ok(item(len)));
        });
        assert_eq!((head.kind, head.read), (kind, 1), "{len} bytes");
        let head = next_frame_after(item(len), |connection| {
            let steps = [Step { object: QUEUE, op: Op::Queue(QueueOp::Get) }];
            assert_eq!(connection.pipeline(1, &steps, soon()), Ok(vec![item(len)]));
        });
        assert_eq!((head.kind, head.read), (kind, 1), "{len} bytes in a pipeline");
    }
}

#[test]
fn a_value_that_stays_in_its_object_needs_no_report() {
    let long = 2 * ACKNOWLEDGED_BYTES_MIN;
    let head = next_frame_after(item(long), |connection| {
        let get = get(Op::Dict(DictOp::Get(Raw::plain(b"key"))));
        assert_eq!(connection.call(&get, soon()), Ok(item(long)));
    });
    assert_eq!((head.kind, head.read), (FrameKind::Call, 1));
}

#[test]
fn the_report_asks_for_no_answer_and_has_no_other_content() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        scope.spawn(|| assert!(connection.call(&get(Op::Queue(QueueOp::Get)), soon()).is_ok()));
        let (number, _) = peer.call();
        peer.answer(number, item(ACKNOWLEDGED_BYTES_MIN));
        let (head, control) = peer.control();
        assert_eq!((head.read, control), (1, Control::Ping));
    });
}

/// A server that learns that the last of several answers was not read then knows that nobody has the items of the others.
#[test]
fn an_item_is_reported_before_its_thread_has_it_if_other_answers_can_follow() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        let ask = || drop(connection.call(&get(Op::Queue(QueueOp::Get)), soon()).unwrap());
        let threads = [(); 3].map(|()| scope.spawn(ask));
        let [one, two, three] = [(); 3].map(|()| peer.call().0);
        for (call, read) in [(two, 1), (one, 2)] {
            peer.answer(call, item(1));
            let (head, control) = peer.control();
            assert_eq!((head.read, control), (read, Control::Ping));
        }
        // Nothing can follow the last one, so the next call says it.
        peer.answer(three, item(1));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let last = scope.spawn(ask);
        let (head, _) = peer.next_of(FrameKind::Call);
        assert_eq!(head.read, 3);
        peer.answer(head.call, item(1));
        last.join().unwrap();
    });
}

/// The report comes behind a notice for which the socket has no room.
#[test]
fn a_thread_has_an_item_once_the_kernel_has_its_report_and_not_before() {
    let (connection, mut peer) = Fake::new().plain();
    let long = vec![7; 8 << 20];
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| connection.call(&acquire(), soon()));
        let lock = peer.call().0;
        let gets = scope.spawn(|| {
            let got = connection.call(&get(Op::Queue(QueueOp::Get)), soon());
            (got, connection.waiting_bytes())
        });
        let call = peer.call().0;
        connection.notice(1, QUEUE, Op::Queue(QueueOp::Put(Raw::plain(&long))));
        peer.answer(call, item(1));
        mp_sys::testing::eventually("the report waits", || connection.announced() == 1);
        peer.next_of(FrameKind::Notice);
        let (head, control) = peer.control();
        assert_eq!((head.read, control), (1, Control::Ping));
        assert_eq!(gets.join().unwrap(), (Ok(item(1)), 0));
        peer.answer(lock, granted(1));
        assert_eq!(waits.join().unwrap(), Ok(granted(1)));
    });
}

#[test]
fn the_items_of_a_pipeline_are_reported_together_if_other_answers_can_follow() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| connection.call(&acquire(), soon()));
        let lock = peer.call().0;
        let pipeline = scope.spawn(|| connection.pipeline(1, &gets(2), soon()));
        for call in [peer.call().0, peer.call().0] {
            peer.answer(call, item(1));
        }
        let (head, control) = peer.control();
        assert_eq!((head.read, control), (2, Control::Ping));
        assert_eq!(pipeline.join().unwrap(), Ok(vec![item(1), item(1)]));
        peer.answer(lock, granted(1));
        assert_eq!(waits.join().unwrap(), Ok(granted(1)));
    });
}

/// The same, while the answers of a pipeline do not count as read, because it has not ended.
#[test]
fn an_item_is_reported_by_its_call_if_an_earlier_answer_does_not_count_as_read() {
    let (connection, mut peer) = Fake::new().plain();
    std::thread::scope(|scope| {
        let pipeline = scope.spawn(|| connection.pipeline(1, &gets(2), soon()));
        let [first, second] = [(); 2].map(|()| peer.call().0);
        peer.answer(first, item(1));
        let waits = scope.spawn(|| connection.call(&get(Op::Queue(QueueOp::Get)), soon()));
        let call = peer.call().0;
        peer.answer(call, item(2));
        let (head, control) = peer.control();
        assert_eq!((head.read, control), (0, Control::Taken { first: call, last: call }));
        assert_eq!(waits.join().unwrap(), Ok(item(2)));
        peer.answer(second, item(1));
        assert!(pipeline.join().unwrap().is_ok());
    });
}

#[test]
fn the_items_of_up_to_as_many_calls_as_the_limit_are_reported_in_one_notice_and_those_of_one_more_in_two() {
    for count in [TAKEN_CALLS_MAX, TAKEN_CALLS_MAX + 1] {
        let (connection, mut peer) = Fake::new().plain();
        std::thread::scope(|scope| {
            let earlier = scope.spawn(|| connection.pipeline(1, &gets(2), soon()));
            let [first, second] = [(); 2].map(|()| peer.call().0);
            peer.answer(first, item(1));
            let pipeline = scope.spawn(|| connection.pipeline(1, &gets(count), soon()));
            let calls: Vec<_> = (0..count).map(|_| peer.call().0).collect();
            calls.iter().for_each(|call| peer.answer(*call, item(1)));
            for part in calls.chunks(usize::try_from(TAKEN_CALLS_MAX).unwrap()) {
                let (head, control) = peer.control();
                let (first, last) = (part[0], part[part.len() - 1]);
                assert_eq!((head.read, control), (0, Control::Taken { first, last }));
            }
            assert!(pipeline.join().unwrap().is_ok());
            peer.answer(second, item(1));
            assert!(earlier.join().unwrap().is_ok());
        });
    }
}

/// A server of an earlier version puts back only what is in the last answer.
#[test]
fn short_items_of_several_threads_are_reported_to_an_older_server_once_they_are_many() {
    let (mut connection, mut peer) = Fake::new().plain();
    connection.agreed.version = ITEMS_SAID_SINCE - 1;
    std::thread::scope(|scope| {
        let ask = || drop(connection.call(&get(Op::Queue(QueueOp::Get)), soon()).unwrap());
        let threads = [(); 3].map(|()| scope.spawn(ask));
        let [one, two, three] = [(); 3].map(|()| peer.call().0);
        peer.answer(one, item(LONG / 2));
        peer.answer(two, item(LONG / 2));
        let (head, control) = peer.control();
        assert_eq!((head.read, control), (2, Control::Ping));
        // What was reported does not count any more.
        peer.answer(three, item(LONG / 2));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let last = scope.spawn(ask);
        let (head, _) = peer.next_of(FrameKind::Call);
        assert_eq!(head.read, 3);
        peer.answer(head.call, item(1));
        last.join().unwrap();
    });
}

/// If another thread is just trying to write, the frame waits behind its own and is not withdrawn.
#[test]
fn what_a_withdrawn_frame_should_have_reported_is_reported_later() {
    assert!((0..50).any(|_| is_reported_after_a_withdrawn_frame()));
}

/// Returns `false` if the frame was not withdrawn.
fn is_reported_after_a_withdrawn_frame() -> bool {
    let (mut connection, mut peer) = Fake::new().plain();
    // To a newer server, each of the items is reported.
    connection.agreed.version = ITEMS_SAID_SINCE - 1;
    let (long, too_long) = (vec![7; 8 << 20], vec![0; FRAME_BYTES_MAX]);
    let put = |item| Op::Queue(QueueOp::Put(Raw::plain(item)));
    std::thread::scope(|scope| {
        let ask = || drop(connection.call(&get(Op::Queue(QueueOp::Get)), soon()).unwrap());
        let first = scope.spawn(ask);
        let (one, _) = peer.call();
        let second = scope.spawn(ask);
        let (two, _) = peer.call();
        // It is in front of all others, and the socket has no room for all of it.
        connection.notice(1, QUEUE, put(&long));
        peer.answer(one, item(LONG / 2));
        first.join().unwrap();
        // This one is not written in its time, and the next one is too long.
        let soon_over = Deadline::after(Duration::from_millis(20));
        let withdrawn = connection.call(&any_call(), soon_over);
        if withdrawn == Err(Failure::Late) {
            peer.answer(two, item(1));
            second.join().unwrap();
            return false;
        }
        assert_eq!(withdrawn, Err(Failure::NotBegun));
        let refused = connection.call(&Call { op: put(&too_long), ..any_call() }, soon());
        assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
        assert_eq!(peer.next_of(FrameKind::Notice).0.read, 0);
        peer.answer(two, item(LONG / 2));
        second.join().unwrap();
        let (head, control) = peer.control();
        assert_eq!((head.read, control), (2, Control::Ping));
        true
    })
}
