//! The lock family between real processes: no waiter is forgotten, and what dead processes held comes back.

use std::time::Duration;

use mp_sys::child::ChildProcess;
use mp_sys::testing::{
    PATIENCE, Random, assert_woken, eventually, hang, kill, spawn, spawn_holding, succeeded, tests,
};
use shm_core::{BoundedSemaphore, Event, LockError, RLock, RawValue, Semaphore, Value};

tests! {
    an_rlock_excludes_other_processes,
    an_rlock_passes_on_when_its_holder_dies,
    an_inherited_rlock_guard_does_nothing,
    an_event_reaches_every_waiter,
    an_event_that_is_cleared_at_once_reaches_every_waiter,
    dead_and_frozen_waiters_delay_no_set,
    permits_limit_the_processes_inside,
    permits_of_dead_processes_come_back,
    permits_of_dead_processes_come_back_to_try_acquire,
    an_inherited_permit_belongs_to_the_parent,
    one_process_takes_a_permit_and_another_gives_it_back,
    random_deaths_of_permit_holders,
    names_of_the_lock_family,
}

fn all(count: usize, body: impl Fn()) -> Vec<ChildProcess> {
    (0..count).map(|_| spawn(&body)).collect()
}

fn an_rlock_excludes_other_processes() {
    let lock = RLock::new().unwrap();
    let inside = RawValue::new(0_u32).unwrap();
    let workers = all(4, || {
        for _ in 0..5_000 {
            let _outer = lock.lock().unwrap();
            assert_eq!(inside.swap(1), 0);
            drop(lock.lock().unwrap());
            assert_eq!(inside.swap(0), 1);
        }
    });
    workers.iter().for_each(succeeded);
}

fn an_rlock_passes_on_when_its_holder_dies() {
    let lock = RLock::new().unwrap();
    let holds = RawValue::new(false).unwrap();
    let holder = spawn(|| {
        let _guards = [lock.lock().unwrap(), lock.lock().unwrap()];
        holds.store(true);
        hang();
    });
    eventually("the child holds twice", || holds.load());
    kill(&holder);
    let told = lock.lock_timeout(PATIENCE).unwrap_err().into_poisoned().unwrap();
    lock.clear_poison();
    drop(told);
    // The next holder does not inherit the depth of the dead one: one guard, one release.
    succeeded(&spawn(|| drop(lock.try_lock().unwrap())));
}

fn an_inherited_rlock_guard_does_nothing() {
    let lock = RLock::new().unwrap();
    let guards = std::cell::Cell::new(Some([lock.lock().unwrap(), lock.lock().unwrap()]));
    succeeded(&spawn_holding(|| {
        drop(guards.take());
        assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    }));
    let [first, second] = guards.take().unwrap();
    drop(first);
    assert!(lock.lock().is_ok(), "still this thread's");
    drop(second);
    succeeded(&spawn(|| drop(lock.try_lock().unwrap())));
}

fn an_event_reaches_every_waiter() {
    let event = Event::new().unwrap();
    let waiting = RawValue::new(0_u32).unwrap();
    let waiters = all(8, || {
        waiting.fetch_add(1);
        assert!(event.wait_timeout(PATIENCE));
        assert_woken();
    });
    eventually("all wait", || waiting.load() == 8);
    Random::new().pause(2_000_000);
    event.set();
    waiters.iter().for_each(succeeded);
    assert!(event.is_set());
}

fn an_event_that_is_cleared_at_once_reaches_every_waiter() {
    let event = Event::new().unwrap();
    let waiting = RawValue::new(0_u32).unwrap();
    for _ in 0..100 {
        waiting.store(0);
        let waiters = all(3, || {
            let wait = || event.wait_timeout(PATIENCE);
            waiting.fetch_add(1);
            assert!(wait());
        });
        eventually("all are about to wait", || waiting.load() == 3);
        // A process that had not begun to wait would miss a pulse; the next one reaches it.
        let has_ended = |child: &ChildProcess| {
            child.wait(mp_sys::deadline::Deadline::after(Duration::ZERO)).unwrap().is_some()
        };
        eventually("all went on", || {
            event.set();
            event.clear();
            waiters.iter().all(has_ended)
        });
        waiters.iter().for_each(succeeded);
    }
}

fn dead_and_frozen_waiters_delay_no_set() {
    let event = Event::new().unwrap();
    let waiting = RawValue::new(0_u32).unwrap();
    let wait = || {
        waiting.fetch_add(1);
        event.wait();
    };
    let (dead, frozen, alive) = (spawn(wait), spawn(wait), spawn(wait));
    eventually("all wait", || waiting.load() == 3);
    kill(&dead);
    frozen.signal(19).unwrap();
    event.set();
    succeeded(&alive);
    frozen.signal(18).unwrap();
    succeeded(&frozen);
}

fn permits_limit_the_processes_inside() {
    let semaphore = Semaphore::new(2).unwrap();
    let inside = RawValue::new(0_i32).unwrap();
    let most = RawValue::new(0_i32).unwrap();
    let workers = all(5, || {
        for _ in 0..2_000 {
            let _permit = semaphore.acquire();
            most.fetch_max(inside.fetch_add(1) + 1);
            inside.fetch_sub(1);
        }
        // This does not assert that no wait was late: a permit that comes back changes the word for all waiters, and wakes
        // one.
    });
    workers.iter().for_each(succeeded);
    assert!(most.load() <= 2, "{} inside", most.load());
    assert_eq!(semaphore.available(), 2);
}

/// Starts a child that has a permit.
pub(crate) fn hold_a_permit(semaphore: &Semaphore) -> ChildProcess {
    let holds = RawValue::new(false).unwrap();
    let holder = spawn(|| {
        let _permit = semaphore.acquire();
        holds.store(true);
        hang();
    });
    eventually("the child has a permit", || holds.load());
    holder
}

fn permits_of_dead_processes_come_back() {
    let semaphore = Semaphore::new(2).unwrap();
    let holders = [(); 2].map(|()| hold_a_permit(&semaphore));
    let waits = RawValue::new(false).unwrap();
    let waiter = spawn(|| {
        waits.store(true);
        let permits = [(); 2].map(|()| semaphore.acquire_timeout(PATIENCE).unwrap());
        assert_eq!(semaphore.available(), 0);
        drop(permits);
    });
    eventually("a process waits", || waits.load());
    holders.iter().for_each(kill);
    succeeded(&waiter);
    assert_eq!(semaphore.available(), 2);
}

fn permits_of_dead_processes_come_back_to_try_acquire() {
    let semaphore = Semaphore::new(1).unwrap();
    kill(&hold_a_permit(&semaphore));
    assert_eq!(semaphore.available(), 0, "nobody has looked yet");
    drop(semaphore.try_acquire().unwrap());
}

fn an_inherited_permit_belongs_to_the_parent() {
    let semaphore = BoundedSemaphore::new(1).unwrap();
    let permit = std::cell::Cell::new(Some(semaphore.acquire()));
    succeeded(&spawn(|| {
        drop(permit.take());
        assert_eq!(semaphore.available(), 0);
    }));
    succeeded(&spawn(|| permit.take().unwrap().forget()));
    assert!(semaphore.try_acquire().is_err());
    drop(permit.take());
    assert_eq!(semaphore.available(), 1);
}

fn one_process_takes_a_permit_and_another_gives_it_back() {
    let items = Semaphore::new(0).unwrap();
    let taker = spawn(|| (0..1000).for_each(|_| items.acquire_timeout(PATIENCE).unwrap().forget()));
    for _ in 0..1000 {
        items.add_permits(1).unwrap();
    }
    succeeded(&taker);
    assert_eq!(items.available(), 0);
}

/// Permits and a value that they protect in pairs: the number of permits is right after any number of deaths.
fn random_deaths_of_permit_holders() {
    let semaphore = Semaphore::new(3).unwrap();
    let work = Value::new(0_u64).unwrap();
    let worker = || loop {
        let _permit = semaphore.acquire();
        work.update(|n| n + 1).unwrap();
    };
    let mut random = Random::new();
    let mut workers: Vec<ChildProcess> = (0..5).map(|_| spawn(worker)).collect();
    for _ in 0..300 {
        random.pause(300_000);
        let victim = usize::try_from(random.below(5)).unwrap();
        kill(&workers[victim]);
        workers[victim] = spawn(worker);
    }
    let before = work.get().unwrap();
    eventually("the work goes on", || work.get().unwrap() > before);
    workers.iter().for_each(kill);
    let permits = [(); 3].map(|()| semaphore.acquire_timeout(PATIENCE).unwrap());
    assert!(semaphore.try_acquire().is_err(), "three, and no more");
    drop(permits);
}

fn names_of_the_lock_family() {
    let name = |of: &str| format!("test-{}-{of}", rustix::process::getpid().as_raw_nonzero());
    let names = ["rlock", "event", "semaphore", "bounded"].map(name);
    let [rlock, event, semaphore, bounded] = &names;
    let made = (
        RLock::create(rlock).unwrap(),
        Event::create(event).unwrap(),
        Semaphore::create(semaphore, 2).unwrap(),
        BoundedSemaphore::create(bounded, 1).unwrap(),
    );
    let _held = made.0.lock().unwrap();
    let _permit = made.2.acquire();
    succeeded(&spawn_holding(|| {
        assert!(matches!(RLock::open(rlock).unwrap().try_lock(), Err(LockError::WouldBlock)));
        Event::open(event).unwrap().set();
        let opened = Semaphore::open(semaphore).unwrap();
        assert_eq!(opened.available(), 1);
        opened.add_permits(1).unwrap();
        assert!(BoundedSemaphore::open(semaphore).is_err(), "another kind");
        assert!(BoundedSemaphore::open(bounded).unwrap().add_permits(1).is_err());
    }));
    assert!(made.1.is_set());
    assert_eq!(made.2.available(), 2);
}
