//! Calls that were given up.

use super::*;

#[test]
fn calls_are_abandoned_up_to_the_limit_and_not_one_more() {
    let mut calls = Calls::new();
    for call in 0..=u64::try_from(ABANDONED_MAX).unwrap() {
        assert_eq!(calls.ended(), None, "{call} are tolerated");
        calls.begin(call, 1, Undo::Nothing);
        calls.abandon(call, (call, 0));
    }
    assert_eq!(calls.ended(), Some(End::Gone));
    assert!(calls.outbox.is_empty() && calls.slots.is_empty());
}

#[test]
fn an_answer_frees_the_place_of_an_abandoned_call() {
    let mut calls = Calls::new();
    let done = Bytes::from_static(&[0]);
    for call in 0..=u64::try_from(ABANDONED_MAX).unwrap() {
        calls.begin(call, 1, Undo::Nothing);
        calls.abandon(call, (call, 0));
        let head = Head { body_len: 1, kind: FrameKind::Reply, cpu: 0, call, read: 0 };
        assert_eq!(calls.deliver(head, done.clone(), call), Ok(false));
        assert_eq!(calls.deliver(head, done.clone(), call), Err(Malformed), "twice");
    }
    assert_eq!(calls.ended(), None);
}
