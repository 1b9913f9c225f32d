//! `Event`.

use std::time::Duration;

use crate::conformance::{Fixture, MOMENT, PATIENCE, tests, until_waiting};

tests! {
    [Event] {
        all_waiters_go_on,
        a_wait_times_out,
    }
}

fn all_waiters_go_on(fixture: &dyn Fixture) {
    let (setter, one, other) = (fixture.client(), fixture.client(), fixture.client());
    let event = setter.named("event").event().unwrap();
    std::thread::scope(|scope| {
        for client in [&one, &other] {
            scope.spawn(move || {
                let event = client.named("event").event().unwrap();
                assert!(event.wait_timeout(PATIENCE).unwrap());
            });
        }
        until_waiting(fixture, 2);
        event.set().unwrap();
    });
    event.wait().unwrap();
    assert!(event.is_set().unwrap());
    event.clear().unwrap();
    assert!(!event.is_set().unwrap());
}

fn a_wait_times_out(fixture: &dyn Fixture) {
    let event = fixture.client().event().unwrap();
    assert!(!event.wait_timeout(MOMENT).unwrap());
    assert!(!event.wait_timeout(Duration::ZERO).unwrap());
    event.set().unwrap();
    assert!(event.wait_timeout(Duration::ZERO).unwrap());
}
