//! When the server hears that items have arrived.

use super::*;
use crate::client::connection::Connection;
use crate::limits::ACKNOWLEDGED_BYTES_MIN;
use crate::proto::{DictOp, QueueOp, Step};

const QUEUE: ObjectId = ObjectId(5);

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
    for (len, kind) in
        [(ACKNOWLEDGED_BYTES_MIN, FrameKind::Notice), (ACKNOWLEDGED_BYTES_MIN - 1, FrameKind::Call)]
    {
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
