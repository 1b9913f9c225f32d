//! The order in which waiting calls are served, by a backend that promises one. For locks, see [`lock`](super::lock).

use std::sync::Mutex;

use crate::Manager;
use crate::conformance::{Fixture, PATIENCE, tests, until, until_waiting};

tests! {
    [Semaphore] {
        the_longest_waiter_gets_the_next_permit,
    }
    [Queue] {
        the_longest_waiter_gets_the_next_item,
        the_longest_waiter_gets_the_next_room,
    }
    [JoinableQueue] {
        the_longest_waiter_gets_the_next_task,
    }
    [Condition, Lock] {
        the_longest_waiter_is_notified_first,
    }
}

/// Lets clients wait one after another, and then go on, one with each call of `let_go`. Fails unless they go on in the order in
/// which they began to wait.
fn assert_order(fixture: &dyn Fixture, wait: impl Fn(&Manager) + Sync, let_go: impl Fn()) {
    let clients = [(); 3].map(|()| fixture.client());
    let order = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (place, client) in (1..).zip(&clients) {
            let (order, wait) = (&order, &wait);
            scope.spawn(move || {
                wait(client);
                order.lock().unwrap().push(place);
            });
            until_waiting(fixture, place);
        }
        for gone in 1..=clients.len() {
            let_go();
            until("the next one", || order.lock().unwrap().len() == gone);
        }
    });
    assert_eq!(*order.lock().unwrap(), [1, 2, 3]);
}

fn the_longest_waiter_gets_the_next_permit(fixture: &dyn Fixture) {
    if !fixture.caps().fair {
        return;
    }
    let client = fixture.client();
    let semaphore = client.named("semaphore").semaphore(0).unwrap();
    let acquire = |client: &Manager| {
        let semaphore = client.named("semaphore").semaphore(0).unwrap();
        semaphore.acquire_timeout(PATIENCE).unwrap().forget().unwrap();
    };
    assert_order(fixture, acquire, || semaphore.add_permits(1).unwrap());
}

fn the_longest_waiter_gets_the_next_item(fixture: &dyn Fixture) {
    if !fixture.caps().fair {
        return;
    }
    let client = fixture.client();
    let queue = client.named("queue").queue::<u8>().unwrap();
    let get = |client: &Manager| {
        let queue = client.named("queue").queue::<u8>().unwrap();
        assert_eq!(queue.get_timeout(PATIENCE), Ok(7));
    };
    assert_order(fixture, get, || queue.put(&7).unwrap());
}

fn the_longest_waiter_gets_the_next_room(fixture: &dyn Fixture) {
    if !fixture.caps().fair {
        return;
    }
    let client = fixture.client();
    let queue = client.named("queue").bounded_queue::<u8>(1).unwrap();
    queue.put(&7).unwrap();
    let put = |client: &Manager| {
        let queue = client.named("queue").bounded_queue::<u8>(1).unwrap();
        queue.put_timeout(&7, PATIENCE).unwrap();
    };
    assert_order(fixture, put, || assert_eq!(queue.get(), Ok(7)));
}

fn the_longest_waiter_gets_the_next_task(fixture: &dyn Fixture) {
    if !fixture.caps().fair {
        return;
    }
    let client = fixture.client();
    let queue = client.named("tasks").joinable_queue::<u8>().unwrap();
    let get = |client: &Manager| {
        let queue = client.named("tasks").joinable_queue::<u8>().unwrap();
        queue.get_timeout(PATIENCE).unwrap().done().unwrap();
    };
    assert_order(fixture, get, || queue.put(&7).unwrap());
}

fn the_longest_waiter_is_notified_first(fixture: &dyn Fixture) {
    if !fixture.caps().fair {
        return;
    }
    let client = fixture.client();
    let condition = client.named("condition").condition().unwrap();
    let wait = |client: &Manager| {
        let lock = client.named("lock").lock().unwrap();
        let condition = client.named("condition").condition().unwrap();
        let held = lock.lock_timeout(PATIENCE).unwrap();
        let (notified, _held) = condition.wait_timeout(held, PATIENCE).unwrap();
        assert!(notified);
    };
    assert_order(fixture, wait, || assert_eq!(condition.notify(1), Ok(1)));
}
