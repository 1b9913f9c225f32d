//! `Semaphore` and `BoundedSemaphore`.

use crate::conformance::{Fixture, MOMENT, PATIENCE, patience, tests, until_waiting};
use crate::limits::PERMITS_MAX;
use crate::proto::Fault;
use crate::{CallError, ObjectError, SemaphoreError};

tests! {
    [Semaphore] {
        it_has_as_many_holders_as_permits,
        permits_of_dead_clients_come_back,
        any_client_can_add_a_forgotten_permit,
        permits_have_a_limit,
    }
    [BoundedSemaphore] {
        a_bounded_semaphore_has_a_bound,
    }
}

fn it_has_as_many_holders_as_permits(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let (semaphore, same) = (one.named("s").semaphore(2).unwrap(), other.named("s").semaphore(9).unwrap());
    let permits = [semaphore.acquire().unwrap(), same.try_acquire().unwrap()];
    assert_eq!(same.available().unwrap(), 0);
    assert_eq!(same.try_acquire().unwrap_err(), SemaphoreError::WouldBlock);
    assert_eq!(semaphore.acquire_timeout(MOMENT).unwrap_err(), SemaphoreError::TimedOut);
    std::thread::scope(|scope| {
        scope.spawn(|| drop(same.acquire_timeout(PATIENCE).unwrap()));
        until_waiting(fixture, 1);
        // A thread other than the one that took a permit may release it.
        scope.spawn(move || drop(permits));
    });
    assert_eq!(semaphore.available().unwrap(), 2);
}

fn permits_of_dead_clients_come_back(fixture: &dyn Fixture) {
    let (dying, waiting) = (fixture.client(), fixture.client());
    let semaphore = dying.named("s").semaphore(2).unwrap();
    let permits = [semaphore.acquire().unwrap(), semaphore.acquire().unwrap()];
    let same = waiting.named("s").semaphore(0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| drop(same.acquire_timeout(patience(fixture)).unwrap()));
        until_waiting(fixture, 1);
        fixture.kill(&dying);
    });
    drop(permits);
    assert_eq!(same.available().unwrap(), 2);
}

fn any_client_can_add_a_forgotten_permit(fixture: &dyn Fixture) {
    let (dying, other) = (fixture.client(), fixture.client());
    let semaphore = dying.named("s").semaphore(1).unwrap();
    semaphore.acquire().unwrap().forget().unwrap();
    fixture.kill(&dying);
    let same = other.named("s").semaphore(0).unwrap();
    assert_eq!(same.available().unwrap(), 0);
    same.add_permits(3).unwrap();
    assert_eq!(same.available().unwrap(), 3);
}

fn a_bounded_semaphore_has_a_bound(fixture: &dyn Fixture) {
    let client = fixture.client();
    let semaphore = client.bounded_semaphore(2).unwrap();
    assert_eq!(semaphore.add_permits(1), Err(SemaphoreError::OverRelease));
    let permit = semaphore.acquire().unwrap();
    assert_eq!(semaphore.add_permits(1), Err(SemaphoreError::OverRelease), "its holder will release it");
    semaphore.try_acquire().unwrap().forget().unwrap();
    assert_eq!(semaphore.try_acquire().unwrap_err(), SemaphoreError::WouldBlock);
    assert_eq!(semaphore.acquire_timeout(MOMENT).unwrap_err(), SemaphoreError::TimedOut);
    semaphore.add_permits(1).unwrap();
    drop(permit);
    assert_eq!(semaphore.available().unwrap(), 2);
}

fn permits_have_a_limit(fixture: &dyn Fixture) {
    let client = fixture.client();
    let most = usize::try_from(PERMITS_MAX).unwrap();
    let out_of_range =
        |error: &ObjectError| matches!(error, ObjectError::Call(CallError::Fault(Fault::OutOfRange { .. })));
    assert!(out_of_range(&client.semaphore(most + 1).unwrap_err()));
    let semaphore = client.semaphore(most).unwrap();
    assert_eq!(semaphore.available().unwrap(), most);
    assert!(matches!(semaphore.add_permits(1), Err(SemaphoreError::Object(error)) if out_of_range(&error)));
}
