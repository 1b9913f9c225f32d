//! When the server hears that items have arrived.

use super::*;
use crate::client::connection::{Connection, Failure};
use crate::limits::{ACKNOWLEDGED_BYTES_MIN, FRAME_BYTES_MAX, ITEM_NOTE_BYTES};
use crate::proto::{DictOp, QueueOp, Step};

const QUEUE: ObjectId = ObjectId(5);

/// An item of this length is reported at once, and a shorter one is not.
const LONG: usize = ACKNOWLEDGED_BYTES_MIN - ITEM_NOTE_BYTES;

fn get(op: Op<Raw<'static>>) -> Call<Raw<'static>> {
    Call { object: QUEUE, thread: 1, wait: Wait::Forever, op }
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

#[test]
fn short_items_of_several_threads_are_reported_once_they_are_many() {
    let (connection, mut peer) = Fake::new().plain();
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

#[test]
fn what_a_withdrawn_frame_should_have_reported_is_reported_later() {
    let (connection, mut peer) = Fake::new().plain();
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
        assert_eq!(connection.call(&any_call(), soon_over), Err(Failure::NotBegun));
        let refused = connection.call(&Call { op: put(&too_long), ..any_call() }, soon());
        assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
        assert_eq!(peer.next_of(FrameKind::Notice).0.read, 0);
        peer.answer(two, item(LONG / 2));
        second.join().unwrap();
        let (head, control) = peer.control();
        assert_eq!((head.read, control), (2, Control::Ping));
    });
}
