//! What the record says after each outcome of a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::proto::{Fault, Wait};

const LOCK: ObjectId = ObjectId(3);

fn change(op: LockOp) -> Change {
    Change::of(&Call { object: LOCK, thread: 1, wait: Wait::No, op: Op::Lock(op) })
}

fn granted(token: u64) -> Reply<Payload> {
    Reply::Granted { token, owner_died: false, timed_out: false }
}

fn take(grants: &Grants, token: u64, lease: u64, connection: u64) {
    grants.note(change(LockOp::Acquire { lease }), Ok(&granted(token)), connection);
}

/// Counts how often the loss is reported.
fn watch(grants: &Grants, token: u64) -> Arc<AtomicU32> {
    let told = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&told);
    grants.watch(
        LOCK,
        token,
        Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
    );
    told
}

#[test]
fn a_grant_is_lost_with_its_connection_and_reported_once() {
    let grants = Grants::new();
    take(&grants, 1, 0, 1);
    take(&grants, 2, 0, 2);
    let (first, second) = (watch(&grants, 1), watch(&grants, 2));
    grants.lose(1);
    grants.lose(1);
    assert_eq!((grants.validity(LOCK, 1), grants.validity(LOCK, 2)), (Validity::Lost, Validity::Held));
    assert_eq!((first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)), (1, 0));
    // An answer that is read after its connection was given up grants nothing.
    take(&grants, 3, 0, 1);
    assert_eq!(grants.validity(LOCK, 3), Validity::Lost);
    assert_eq!(watch(&grants, 3).load(Ordering::Relaxed), 1, "it was lost before");
}

#[test]
fn a_released_grant_is_not_reported() {
    let grants = Grants::new();
    let release = change(LockOp::Release { token: 1 });
    take(&grants, 1, 0, 1);
    take(&grants, 1, 0, 1);
    let told = watch(&grants, 1);
    grants.note(release, Ok(&Reply::Done), 1);
    assert_eq!(grants.validity(LOCK, 1), Validity::Held, "it was taken twice");
    grants.note(release, Ok(&Reply::Done), 1);
    assert_eq!(grants.validity(LOCK, 1), Validity::Lost);
    grants.lose(1);
    assert_eq!((told.load(Ordering::Relaxed), Arc::strong_count(&told)), (0, 1));
    // A release that is refused finds the loss.
    take(&grants, 2, 0, 2);
    let told = watch(&grants, 2);
    grants.note(change(LockOp::Release { token: 2 }), Err(CallError::Fault(Fault::NotOwned)), 2);
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[test]
fn a_lease_that_is_over_is_reported_when_the_holder_asks() {
    let grants = Grants::new();
    take(&grants, 1, 1, 1);
    take(&grants, 2, u64::MAX, 1);
    let told = watch(&grants, 1);
    assert_eq!((grants.validity(LOCK, 1), grants.validity(LOCK, 2)), (Validity::Lost, Validity::Held));
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[test]
fn a_lease_is_counted_from_the_call_and_the_time_that_it_waited() {
    // Shorter than any machine has been running that has built this.
    const MINUTE: u64 = 60_000_000_000;
    let grants = Grants::new();
    let take = |token, asked, lease, waited| {
        let reply = Reply::GrantedLease { token, owner_died: false, timed_out: false, waited };
        grants.note(Change(Kind::Take { object: LOCK, lease, asked }), Ok(&reply), 1);
        grants.validity(LOCK, token)
    };
    let now = boot_nanos();
    let earlier = now.saturating_sub(MINUTE);
    assert_eq!(take(1, now, MINUTE, 0), Validity::Held);
    // The answer was read long after the grant: this process, or the server before the call, was stopped.
    assert_eq!(take(2, earlier, MINUTE, 0), Validity::Lost);
    // The lock was granted late.
    assert_eq!(take(3, earlier, MINUTE, MINUTE / 2), Validity::Held);
    assert_eq!(take(4, earlier, MINUTE, u64::MAX), Validity::Held, "for ever");
    let wait = Kind::Exchange { object: LOCK, token: 3, asked: earlier };
    let reply = Reply::GrantedLease { token: 5, owner_died: false, timed_out: false, waited: 0 };
    grants.note(Change(wait), Ok(&reply), 1);
    assert_eq!(grants.validity(LOCK, 5), Validity::Lost, "the lease began anew, an hour ago");
}

#[test]
fn a_wait_for_a_notification_keeps_the_grant_under_its_new_token() {
    let grants = Grants::new();
    take(&grants, 1, 0, 1);
    let told = watch(&grants, 1);
    let wait = Op::Condition(ConditionOp::Wait { lock: LOCK, token: 1 });
    let wait = Change::of(&Call { object: ObjectId(9), thread: 1, wait: Wait::Forever, op: wait });
    grants.note(wait, Ok(&granted(5)), 1);
    assert_eq!((grants.validity(LOCK, 1), grants.validity(LOCK, 5)), (Validity::Lost, Validity::Held));
    grants.lose(1);
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[test]
fn a_wait_for_a_notification_after_the_lease_has_a_lease_again() {
    let grants = Grants::new();
    take(&grants, 1, 1, 1);
    assert_eq!(grants.validity(LOCK, 1), Validity::Lost);
    // The manager still had the lock. Its new lease of a nanosecond is over as well.
    let wait = || Change(Kind::Exchange { object: LOCK, token: 1, asked: boot_nanos() });
    let again = |token| Reply::GrantedLease { token, owner_died: false, timed_out: false, waited: 0 };
    grants.note(wait(), Ok(&again(2)), 1);
    assert_eq!(grants.validity(LOCK, 2), Validity::Lost, "a grant has the lease of the one before");
    assert!(grants.may_be_released(LOCK, 2) && !grants.may_be_released(LOCK, 1));
    // Of this one, nothing is known.
    grants.note(wait(), Ok(&again(3)), 1);
    assert_eq!(grants.validity(LOCK, 3), Validity::Lost, "no grant without a known end");
    assert!(grants.may_be_released(LOCK, 3), "the manager has it");
}

#[test]
fn a_lock_that_is_taken_once_more_after_its_lease_has_the_first_lease() {
    let grants = Grants::new();
    take(&grants, 1, 1, 1);
    assert_eq!(grants.validity(LOCK, 1), Validity::Lost);
    take(&grants, 1, 0, 1);
    assert_eq!(grants.validity(LOCK, 1), Validity::Lost);
    assert_eq!(watch(&grants, 1).load(Ordering::Relaxed), 1, "it is lost already");
    let release = change(LockOp::Release { token: 1 });
    for _ in 0..2 {
        assert!(grants.may_be_released(LOCK, 1));
        grants.note(release, Ok(&Reply::Done), 1);
    }
    assert!(!grants.may_be_released(LOCK, 1), "nothing is left");
}

#[test]
fn a_wait_that_fails_leaves_no_guard_valid_whose_lock_may_be_gone() {
    let grants = Grants::new();
    let wait = || Change(Kind::Exchange { object: LOCK, token: 1, asked: boot_nanos() });
    // Two guards of a reentrant lock.
    take(&grants, 1, 0, 1);
    take(&grants, 1, 0, 1);
    let told = watch(&grants, 1);
    for error in [CallError::ServerGone, Fault::TooMany { limit: 1 }.into(), Fault::TimedOut.into()] {
        grants.note(wait(), Err(error), 0);
        assert_eq!(grants.validity(LOCK, 1), Validity::Held, "{error}: it did not begin");
    }
    for error in [CallError::OutcomeUnknown, Fault::UnknownObject.into(), Fault::NotOwned.into()] {
        grants.note(wait(), Err(error), 0);
        assert_eq!(grants.validity(LOCK, 1), Validity::Lost, "{error}");
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(grants.may_be_released(LOCK, 1), "the manager may have it");
        take(&grants, 1, 0, 1);
        assert_eq!(grants.validity(LOCK, 1), Validity::Held, "the manager has it");
    }
    let told = watch(&grants, 1);
    grants.note(change(LockOp::Release { token: 1 }), Err(Fault::NotOwned.into()), 1);
    assert_eq!((told.load(Ordering::Relaxed), grants.validity(LOCK, 1)), (1, Validity::Lost), "at any depth");
}
