//! What a backend says that it can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backend::Death;
use crate::conformance::{Fixture, MOMENT, PATIENCE, patience, tests, until, until_waiting};
use crate::proto::{Fault, Kind};
use crate::{CallError, GetError, LockError, Manager, ObjectError, PutError};

tests! {
    [] {
        kinds_that_it_lacks_are_refused,
        its_address_contains_no_password,
    }
    [Queue] {
        the_death_of_a_consumer_loses_no_item,
        an_item_may_be_as_long_as_the_limit_and_no_longer,
        a_failover_loses_no_confirmed_item_silently,
    }
    [Lock] {
        a_death_frees_a_lock_in_time,
        a_released_lock_is_not_reported_as_lost,
        a_lock_is_lost_with_its_lease,
    }
}

fn make(client: &Manager, kind: Kind) -> Result<(), ObjectError> {
    match kind {
        Kind::List => client.list::<u8>().map(drop),
        Kind::Dict => client.dict::<u8, u8>().map(drop),
        Kind::Namespace => client.namespace().map(drop),
        Kind::Lock => client.lock().map(drop),
        Kind::RLock => client.rlock().map(drop),
        Kind::Semaphore => client.semaphore(1).map(drop),
        Kind::BoundedSemaphore => client.bounded_semaphore(1).map(drop),
        Kind::Condition => client.condition().map(drop),
        Kind::Event => client.event().map(drop),
        Kind::Queue => client.queue::<u8>().map(drop),
        Kind::JoinableQueue => client.joinable_queue::<u8>().map(drop),
        Kind::Barrier => client.barrier(1).map(drop),
        Kind::Value => client.value(&1).map(drop),
        Kind::Array => client.array(&[1]).map(drop),
        Kind::Manager => Ok(()),
    }
}

fn kinds_that_it_lacks_are_refused(fixture: &dyn Fixture) {
    let client = fixture.client();
    let caps = fixture.caps();
    for kind in crate::Kinds::ALL.iter() {
        let unsupported = CallError::Unsupported { kind, what: "objects of this kind", backend: caps.name };
        let expected = if caps.kinds.contains(kind) { Ok(()) } else { Err(unsupported.into()) };
        assert_eq!(make(&client, kind), expected);
    }
}

fn its_address_contains_no_password(fixture: &dyn Fixture) {
    let address = fixture.client().backend().address().unwrap_or_default();
    assert_eq!(crate::backend::without_password(&address), address);
}

/// The answer that delivers an item and the death of the consumer meet in any order.
fn the_death_of_a_consumer_loses_no_item(fixture: &dyn Fixture) {
    const ROUNDS: u8 = 20;
    if !fixture.caps().unread_returns {
        return;
    }
    let producer = fixture.client();
    let queue = producer.named("queue").queue::<u8>().unwrap();
    for round in 0..ROUNDS {
        let dying = fixture.client();
        std::thread::scope(|scope| {
            let got = scope.spawn(|| dying.named("queue").queue::<u8>()?.get_timeout(patience(fixture)));
            until_waiting(fixture, 1);
            scope.spawn(|| fixture.kill(&dying));
            queue.put(&round).unwrap();
            match got.join().unwrap() {
                Ok(item) => assert_eq!(item, round),
                Err(_) => assert_eq!(queue.get_timeout(patience(fixture)), Ok(round), "it came back"),
            }
        });
    }
    assert_eq!(queue.try_get(), Err(GetError::Empty), "no item was delivered twice");
}

fn an_item_may_be_as_long_as_the_limit_and_no_longer(fixture: &dyn Fixture) {
    let limit = fixture.caps().value_bytes_max;
    let queue = fixture.client().queue::<String>().unwrap();
    // The length of the text is encoded before it, in this many bytes.
    let head = postcard::to_stdvec(&limit).unwrap().len();
    let mut text = "x".repeat(limit.saturating_sub(head));
    queue.put(&text).unwrap();
    text.push('x');
    let error = queue.put(&text).unwrap_err();
    let PutError::Object(ObjectError::Call(CallError::Fault(Fault::TooLarge { limit: named }))) = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(named, u64::try_from(limit).unwrap());
    text.pop();
    assert_eq!(queue.get().unwrap(), text);
}

fn a_failover_loses_no_confirmed_item_silently(fixture: &dyn Fixture) {
    let client = fixture.client();
    let queue = client.named("queue").queue::<u8>().unwrap();
    (1..=3).for_each(|item| queue.put(&item).unwrap());
    if fixture.caps().may_lose_on_failover || !fixture.fail_over() {
        return;
    }
    // Errors say that something was lost. An empty queue, or a later item, would not.
    let got = queue.get_timeout(patience(fixture));
    assert!(matches!(got, Ok(1) | Err(GetError::Object(ObjectError::Call(_)))), "{got:?}");
    let again = queue.try_get();
    assert!(matches!(again, Ok(1 | 2) | Err(GetError::Object(ObjectError::Call(_)))), "{again:?}");
}

fn a_death_frees_a_lock_in_time(fixture: &dyn Fixture) {
    let (dying, other) = (fixture.client(), fixture.client());
    let (lock, same) = (dying.named("lock").lock().unwrap(), other.named("lock").lock().unwrap());
    let held = lock.lock().unwrap();
    let is_lost = Arc::new(AtomicBool::new(false));
    let lost = Arc::clone(&is_lost);
    held.on_lost(move || lost.store(true, Ordering::Relaxed));
    assert!(matches!(same.try_lock(), Err(LockError::WouldBlock)));
    assert!(held.is_valid() && !is_lost.load(Ordering::Relaxed));
    fixture.kill(&dying);
    let next = match fixture.caps().death {
        // Whoever has seen the end of a process finds nothing that it held.
        Death::Connection => same.try_lock(),
        Death::Within(_) => same.lock_timeout(patience(fixture)),
    };
    let next = next.unwrap_err().into_guard().unwrap();
    // The process that lost the lock knows it, although it lives.
    assert!(!held.is_valid());
    until("the report", || is_lost.load(Ordering::Relaxed));
    assert!(next.token() > held.token());
    drop(held);
    assert!(next.is_valid() && same.is_locked().unwrap());
}

fn a_released_lock_is_not_reported_as_lost(fixture: &dyn Fixture) {
    let client = fixture.client();
    let lock = client.lock().unwrap();
    let is_lost = Arc::new(AtomicBool::new(false));
    for _ in 0..2 {
        let held = lock.lock().unwrap();
        let lost = Arc::clone(&is_lost);
        held.on_lost(move || lost.store(true, Ordering::Relaxed));
        assert!(held.is_valid());
    }
    fixture.kill(&client);
    assert!(lock.try_lock().is_err());
    assert!(!is_lost.load(Ordering::Relaxed));
}

fn a_lock_is_lost_with_its_lease(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let (lock, same) = (one.named("lock").lock().unwrap(), other.named("lock").lock().unwrap());
    let is_lost = Arc::new(AtomicBool::new(false));
    let frozen = lock.lock_leased(MOMENT).unwrap();
    let lost = Arc::clone(&is_lost);
    frozen.on_lost(move || lost.store(true, Ordering::Relaxed));
    until("the end of the lease", || !frozen.is_valid());
    assert!(is_lost.load(Ordering::Relaxed));
    // The manager counted from an earlier moment, so it has ended the lease as well.
    let held = same.lock_timeout(PATIENCE).unwrap_err().into_guard().unwrap();
    drop(frozen);
    assert!(held.is_valid() && lock.is_locked().unwrap());
}
