//! `Condition` between real processes: exact notifications, and deaths at every moment.

use std::time::Duration;

use mp_sys::child::ChildProcess;
use mp_sys::deadline::Deadline;
use mp_sys::testing::{PATIENCE, Random, assert_woken, eventually, kill, spawn, succeeded, tests};
use shm_core::sync::WAITERS_MAX;
use shm_core::{Array, Condition, Lock, RawValue, Value, WaitError};

tests! {
    a_notification_wakes_as_many_as_it_says,
    the_first_waiters_are_chosen,
    a_queue_of_one_between_producers_and_consumers,
    a_timeout_is_told,
    dead_and_frozen_waiters_delay_no_notifier,
    a_notification_of_a_dead_waiter_is_passed_on,
    a_later_waiter_gets_no_earlier_notification,
    waiters_at_the_limit_and_one_above,
    places_of_dead_processes_are_used_again,
    poison_reaches_a_waiter,
    random_deaths_of_waiters,
    only_the_living_are_counted,
    a_panic_between_two_checks_leaves_no_waiter_behind,
    a_panic_after_a_notification_passes_it_on,
}

fn has_ended(child: &ChildProcess) -> bool {
    child.wait(Deadline::after(Duration::ZERO)).unwrap().is_some()
}

/// Starts a waiter that counts itself when it is notified.
fn waiter<'a>(lock: &'a Lock, condition: &'a Condition, woken: &'a RawValue<u32>) -> impl Fn() + 'a {
    || {
        let guard = condition.wait(lock.lock().unwrap()).unwrap();
        woken.fetch_add(1);
        drop(guard);
        assert_woken();
    }
}

fn a_notification_wakes_as_many_as_it_says() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let woken = RawValue::new(0_u32).unwrap();
    let waiters: Vec<ChildProcess> = (0..6).map(|_| spawn(waiter(&lock, &condition, &woken))).collect();
    eventually("all wait", || condition.n_waiting() == 6);
    for (count, chosen, left) in [(0, 0, 6), (1, 1, 5), (2, 2, 3), (9, 3, 0)] {
        assert_eq!(condition.notify(count), chosen);
        assert_eq!(condition.n_waiting(), left);
        eventually("the chosen ones go on", || woken.load() == 6 - u32::try_from(left).unwrap());
    }
    assert_eq!(condition.notify_all(), 0);
    waiters.iter().for_each(succeeded);
}

fn the_first_waiters_are_chosen() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let woken = RawValue::new(0_u32).unwrap();
    let mut waiters = Vec::new();
    for n in 1..=4 {
        waiters.push(spawn(waiter(&lock, &condition, &woken)));
        eventually("it waits", || condition.n_waiting() == n);
    }
    for next in &waiters {
        assert_eq!(condition.notify(1), 1);
        succeeded(next);
    }
}

/// The classic case: each item is taken once, with one condition for both sides.
fn a_queue_of_one_between_producers_and_consumers() {
    const ITEMS: u64 = 2_000;
    let slot = Value::new(0_u64).unwrap();
    let (filled, emptied) = (Condition::new().unwrap(), Condition::new().unwrap());
    let sum = RawValue::new(0_u64).unwrap();
    let produce = || {
        for item in 1..=ITEMS {
            let mut guard = emptied.wait_while(slot.lock().unwrap(), |slot| *slot != 0).unwrap();
            *guard = item;
            filled.notify(1);
        }
        assert_woken();
    };
    let consume = || {
        for _ in 1..=ITEMS {
            let mut guard = filled.wait_while(slot.lock().unwrap(), |slot| *slot == 0).unwrap();
            sum.fetch_add(std::mem::take(&mut *guard));
            emptied.notify(1);
        }
        assert_woken();
    };
    let all = [spawn(produce), spawn(produce), spawn(consume), spawn(consume)];
    all.iter().for_each(succeeded);
    assert_eq!(sum.load(), 2 * ITEMS * (ITEMS + 1) / 2);
}

fn a_timeout_is_told() {
    let array = Array::<u8>::zeroed(4).unwrap();
    let condition = Condition::new().unwrap();
    let soon = Duration::from_millis(10);
    let (notified, guard) = condition.wait_timeout(array.lock().unwrap(), soon).unwrap();
    assert!(!notified);
    let (holds, guard) = condition.wait_timeout_while(guard, soon, |array| array[0] == 0).unwrap();
    assert!(!holds);
    let (holds, guard) = condition.wait_timeout_while(guard, soon, |array| array[0] == 1).unwrap();
    assert!(holds, "it holds at once");
    drop(guard);
    assert_eq!(condition.n_waiting(), 0);
    assert_eq!(condition.notify(1), 0, "who gave up is not notified");
}

fn dead_and_frozen_waiters_delay_no_notifier() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let woken = RawValue::new(0_u32).unwrap();
    let waiters = [(); 3].map(|()| spawn(waiter(&lock, &condition, &woken)));
    let [dead, frozen, alive] = &waiters;
    eventually("all wait", || condition.n_waiting() == 3);
    kill(dead);
    frozen.signal(19).unwrap();
    condition.notify_all();
    succeeded(alive);
    frozen.signal(18).unwrap();
    succeeded(frozen);
}

/// The first in line is dead: its notification goes to the second one.
fn a_notification_of_a_dead_waiter_is_passed_on() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let woken = RawValue::new(0_u32).unwrap();
    let wait = || {
        drop(condition.wait(lock.lock().unwrap()).unwrap());
        woken.fetch_add(1);
    };
    let dead = spawn(wait);
    eventually("the first one waits", || condition.n_waiting() == 1);
    let alive = [(); 2].map(|()| spawn(wait));
    eventually("all wait", || condition.n_waiting() == 3);
    kill(&dead);
    assert_eq!(condition.notify(1), 1, "the dead one was chosen");
    eventually("one of the living goes on", || alive.iter().any(has_ended));
    assert_eq!(woken.load(), 1, "and only one");
    assert_eq!(condition.n_waiting(), 1);
    condition.notify(1);
    alive.iter().for_each(succeeded);
}

fn a_later_waiter_gets_no_earlier_notification() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let dead = spawn(|| drop(condition.wait(lock.lock().unwrap())));
    eventually("it waits", || condition.n_waiting() == 1);
    kill(&dead);
    assert_eq!(condition.notify(1), 1);
    // Waits for several slices, looks for dead processes, and finds the notification that was meant for another waiter.
    let (notified, guard) = condition.wait_timeout(lock.lock().unwrap(), Duration::from_millis(150)).unwrap();
    assert!(!notified);
    drop(guard);
}

/// Starts a process whose threads fill all places, in place of a thousand processes.
fn crowd(lock: &Lock, condition: &Condition) -> ChildProcess {
    let crowd = spawn(|| {
        std::thread::scope(|scope| {
            for _ in 0..WAITERS_MAX {
                let wait = || drop(condition.wait(lock.lock().unwrap()).unwrap());
                std::thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, wait).unwrap();
            }
        });
    });
    eventually("all wait", || condition.n_waiting() == WAITERS_MAX);
    crowd
}

fn waiters_at_the_limit_and_one_above() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let many = crowd(&lock, &condition);
    let refused = condition.wait(lock.lock().unwrap());
    let Err(WaitError::TooManyWaiters(guard)) = refused else { panic!("{refused:?}") };
    drop(guard);
    assert_eq!(condition.notify_all(), WAITERS_MAX);
    succeeded(&many);
}

fn places_of_dead_processes_are_used_again() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let many = crowd(&lock, &condition);
    kill(&many);
    lock.clear_poison();
    let (notified, guard) = condition.wait_timeout(lock.lock().unwrap(), Duration::from_millis(1)).unwrap();
    assert!(!notified);
    drop(guard);
    assert_eq!(condition.n_waiting(), 0);
}

fn poison_reaches_a_waiter() {
    let (value, condition) = (Value::new(0_u8).unwrap(), Condition::new().unwrap());
    let waiter = spawn(|| {
        let told = condition.wait(value.lock().unwrap());
        assert!(matches!(told, Err(WaitError::Lock(shm_core::LockError::Poisoned(_)))));
    });
    eventually("it waits", || condition.n_waiting() == 1);
    let holds = RawValue::new(false).unwrap();
    let dies = spawn(|| {
        let _guard = value.lock().unwrap();
        condition.notify(1);
        holds.store(true);
        mp_sys::testing::hang();
    });
    eventually("the notifier holds the lock", || holds.load());
    kill(&dies);
    succeeded(&waiter);
}

/// Consumers are killed at random moments. The others go on, and each item that a living one took counts once.
fn random_deaths_of_waiters() {
    let stock = Value::new(0_u64).unwrap();
    let delivered = Condition::new().unwrap();
    let consume = || {
        // A consumer that meets the poison of another one ends by its `unwrap`.
        std::panic::set_hook(Box::new(|_| {}));
        loop {
            let mut guard = delivered.wait_while(stock.lock().unwrap(), |stock| *stock == 0).unwrap();
            *guard -= 1;
        }
    };
    let mut random = Random::new();
    let mut consumers: Vec<ChildProcess> = (0..4).map(|_| spawn(consume)).collect();
    for _ in 0..300 {
        let victim = usize::try_from(random.below(4)).unwrap();
        for _ in 0..5 {
            match stock.lock() {
                Ok(mut guard) => *guard += 1,
                Err(error) => {
                    let mut guard = error.into_poisoned().unwrap();
                    *guard += 1;
                    stock.clear_poison();
                }
            }
            delivered.notify(1);
        }
        random.pause(200_000);
        kill(&consumers[victim]);
        stock.clear_poison();
        consumers[victim] = spawn(consume);
    }
    let deadline = Deadline::after(PATIENCE);
    while stock.get() != Ok(0) {
        assert!(
            !deadline.has_passed(),
            "waited {PATIENCE:?} until all is consumed: {:?} is left",
            stock.get()
        );
        // The last victim's poison may appear at any moment, and ends the consumers that meet it, so these are replaced all
        // the time.
        for consumer in consumers.iter_mut().filter(|consumer| has_ended(consumer)) {
            *consumer = spawn(consume);
        }
        stock.clear_poison();
        delivered.notify(1);
        std::thread::yield_now();
    }
    consumers.iter().for_each(kill);
}

fn only_the_living_are_counted() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let woken = RawValue::new(0_u32).unwrap();
    for (count, chosen) in [(usize::MAX, 3), (2, 2), (3, 3)] {
        woken.store(0);
        let waiters: Vec<ChildProcess> = (1..=5)
            .map(|n| {
                let child = spawn(|| {
                    drop(condition.wait(lock.lock().unwrap()).unwrap());
                    woken.fetch_add(1);
                });
                eventually("it waits", || condition.n_waiting() == n);
                child
            })
            .collect();
        let (dead, alive): (Vec<_>, Vec<_>) = waiters.iter().enumerate().partition(|(n, _)| n % 3 == 0);
        dead.iter().for_each(|(_, child)| kill(child));
        assert_eq!(condition.notify(count), chosen, "of three that live and two that are dead");
        eventually("the chosen ones go on", || woken.load() == u32::try_from(chosen).unwrap());
        assert_eq!(condition.notify_all(), 3 - chosen);
        alive.iter().for_each(|(_, child)| succeeded(child));
        assert_eq!((condition.notify_all(), condition.n_waiting()), (0, 0));
    }
}

/// Runs `body`, which panics on purpose, without printing the message.
fn panics<R>(body: impl FnOnce() -> R) {
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    drop(std::panic::take_hook());
    assert!(outcome.is_err(), "it panicked");
}

fn a_panic_between_two_checks_leaves_no_waiter_behind() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let mut asked = 0;
    panics(|| {
        condition.wait_while(lock.lock().unwrap(), |_| {
            asked += 1;
            assert!(asked < 3, "on purpose");
            true
        })
    });
    lock.clear_poison();
    assert_eq!(condition.n_waiting(), 0);
    let waiter = spawn(|| drop(condition.wait(lock.lock().unwrap()).unwrap()));
    eventually("another one waits", || condition.n_waiting() == 1);
    assert_eq!(condition.notify(1), 1);
    succeeded(&waiter);
}

fn a_panic_after_a_notification_passes_it_on() {
    let (lock, condition) = (Lock::new().unwrap(), Condition::new().unwrap());
    let is_there = RawValue::new(false).unwrap();
    let first = spawn(|| {
        panics(|| {
            condition.wait_while(lock.lock().unwrap(), |_| {
                assert!(!is_there.load(), "on purpose");
                true
            })
        });
    });
    eventually("the first one waits", || condition.n_waiting() == 1);
    // It checks nothing by itself: only a notification lets it go on.
    let second = spawn(|| {
        let told = condition.wait(lock.lock().unwrap());
        assert!(matches!(told, Err(WaitError::Lock(shm_core::LockError::Poisoned(_)))));
    });
    eventually("the second one waits", || condition.n_waiting() == 2);
    {
        let _held = lock.lock().unwrap();
        is_there.store(true);
        assert_eq!(condition.notify(1), 1);
    }
    succeeded(&first);
    succeeded(&second);
}
