//! Locks whose lease is over for their holder before it is over for the server.

use super::*;
use crate::backend::Validity;
use crate::proto::Fault;

const LOCK: ObjectId = ObjectId(5);

fn granted_for_a_lease(token: u64) -> Answer<Payload> {
    Ok(Reply::GrantedLease { token, owner_died: false, timed_out: false, waited: 0 })
}

#[test]
fn a_lock_is_released_after_its_lease_and_a_wait_for_a_notification_does_not_make_it_last_for_ever() {
    let (remote, mut peer) = Fake::new().connected();
    let acquire = || Op::Lock(LockOp::Acquire { lease: 1 });
    let release = |token| Op::Lock(LockOp::Release { token });
    let wait = Op::Condition(ConditionOp::Wait { lock: LOCK, token: 1 });
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            for answer in [granted_for_a_lease(1), granted_for_a_lease(2), Ok(Reply::Done)] {
                let (call, _) = peer.call();
                peer.answer(call, answer);
            }
        });
        ask(&remote, LOCK, acquire(), Wait::Forever).unwrap();
        assert_eq!(remote.validity(LOCK, 1), Validity::Lost, "a nanosecond is over");
        ask(&remote, ObjectId(6), wait, Wait::Forever).unwrap();
        assert_eq!(remote.validity(LOCK, 2), Validity::Lost);
        assert_eq!(ask(&remote, LOCK, release(2), Wait::No), Ok(Reply::Done), "the next one need not wait");
        assert_eq!(ask(&remote, LOCK, release(2), Wait::No), Err(Fault::NotOwned.into()), "not sent");
        server.join().unwrap();
    });
}
