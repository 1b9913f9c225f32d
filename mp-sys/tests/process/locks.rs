//! The robust lock between processes: owner death, the limit of held locks, timeouts, inherited guards.

use std::cell::Cell;
use std::mem::forget;
use std::time::Duration;

use mp_sys::cells::{SharedCell, SharedSlice};
use mp_sys::child::{ForkError, fork};
use mp_sys::deadline::Deadline;
use mp_sys::locked::{CONTROL_BYTES, Held, Locked};
use mp_sys::robust::{AcquireError, HELD_MAX, Patience, held_count};
use mp_sys::span::Chunk;
use mp_sys::testing::{PATIENCE, eventually, hang, kill, spawn, succeeded, tests};
use rustix::process::{Signal, getpid, kill_process};

tests! {
    the_next_locker_learns_of_a_death,
    a_waiter_is_woken_by_a_death,
    a_killed_repair_is_left_to_the_next,
    a_panicking_repair_loses_nothing,
    more_than_the_limit_is_an_error,
    two_threads_at_the_limit_are_recovered,
    timeouts_and_deadlocks_are_reported,
    fork_is_refused_while_a_guard_is_held,
    a_child_holds_nothing_of_its_parent,
    a_forgotten_guard_keeps_the_mapping,
    guards_may_be_dropped_in_any_order,
}

const WAIT: Patience = Patience::Until(Deadline::NEVER);

fn lock(chunk: &mut Chunk) -> Locked {
    Locked::new(chunk.cut(CONTROL_BYTES + 8).unwrap(), |_| {}).unwrap()
}

fn nothing_to_repair(_: &mut Held<'_>) {
    panic!("nobody died");
}

/// Kills a child while it holds the lock.
fn die_holding(locked: &Locked) {
    let mut chunk = Chunk::new(64).unwrap();
    let ready = SharedCell::<u32>::new(chunk.cut(8).unwrap()).unwrap();
    let child = spawn(|| {
        let _held = locked.acquire(WAIT, |_| {}).unwrap();
        ready.store(1);
        hang();
    });
    eventually("the child holds the lock", || ready.load() == 1);
    kill(&child);
}

fn the_next_locker_learns_of_a_death() {
    let locked = lock(&mut Chunk::new(4096).unwrap());
    die_holding(&locked);
    let mut told = 0;
    drop(locked.acquire(WAIT, |_| told += 1).unwrap());
    assert_eq!(told, 1);
    drop(locked.acquire(WAIT, nothing_to_repair).unwrap());
}

fn a_waiter_is_woken_by_a_death() {
    let mut chunk = Chunk::new(4096).unwrap();
    let locked = lock(&mut chunk);
    let ready = SharedCell::<u32>::new(chunk.cut(8).unwrap()).unwrap();
    let holder = spawn(|| {
        let _held = locked.acquire(WAIT, |_| {}).unwrap();
        ready.store(1);
        hang();
    });
    eventually("the child holds the lock", || ready.load() == 1);
    let waiter = spawn(|| {
        ready.store(2);
        let mut told = false;
        drop(locked.acquire(Patience::Until(Deadline::after(PATIENCE)), |_| told = true).unwrap());
        assert!(told);
    });
    eventually("the waiter runs", || ready.load() == 2);
    kill(&holder);
    succeeded(&waiter);
}

fn a_killed_repair_is_left_to_the_next() {
    let locked = lock(&mut Chunk::new(4096).unwrap());
    die_holding(&locked);
    let killed = spawn(|| {
        let die = |_: &mut Held<'_>| {
            kill_process(getpid(), Signal::KILL).unwrap();
        };
        drop(locked.acquire(WAIT, die));
    });
    mp_sys::testing::ended(&killed);
    let mut told = false;
    drop(locked.acquire(WAIT, |_| told = true).unwrap());
    assert!(told, "the second death is reported as well");
}

fn a_panicking_repair_loses_nothing() {
    let locked = lock(&mut Chunk::new(4096).unwrap());
    die_holding(&locked);
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(locked.acquire(WAIT, |_| panic!("on purpose")));
    }));
    drop(std::panic::take_hook());
    assert!(outcome.is_err());
    drop(locked.acquire(Patience::None, nothing_to_repair).unwrap());
}

fn locks(count: usize) -> Vec<Locked> {
    let mut chunk = Chunk::new((count + 1) * 64).unwrap();
    (0..count).map(|_| lock(&mut chunk)).collect()
}

fn more_than_the_limit_is_an_error() {
    let all = locks(HELD_MAX + 1);
    let mut held: Vec<Held<'_>> = all[..HELD_MAX]
        .iter()
        .map(|locked| locked.acquire(Patience::None, nothing_to_repair).unwrap())
        .collect();
    assert_eq!(held_count(), HELD_MAX);
    let refused = all[HELD_MAX].acquire(Patience::None, nothing_to_repair).map(drop);
    assert_eq!(refused, Err(AcquireError::TooManyHeld));
    held.pop();
    drop(all[HELD_MAX].acquire(Patience::None, nothing_to_repair).unwrap());
    drop(held);
    assert_eq!(held_count(), 0);
}

/// One process holds 2,048 locks, 1,024 in each of two threads: all of them are recovered when it is killed.
fn two_threads_at_the_limit_are_recovered() {
    let all = locks(2 * HELD_MAX);
    let mut chunk = Chunk::new(64).unwrap();
    let ready = SharedSlice::<u32>::new(chunk.cut(8).unwrap(), 2).unwrap();
    let child = spawn(|| {
        std::thread::scope(|scope| {
            for (index, half) in all.chunks(HELD_MAX).enumerate() {
                let ready = &ready;
                std::thread::Builder::new()
                    .spawn_scoped(scope, move || {
                        half.iter()
                            .for_each(|locked| forget(locked.acquire(Patience::None, |_| {}).unwrap()));
                        assert!(ready.store(index, 1));
                        hang();
                    })
                    .unwrap();
            }
        });
    });
    eventually("both threads hold their half", || ready.load(0) == Some(1) && ready.load(1) == Some(1));
    kill(&child);
    let mut told = 0;
    for locked in &all {
        drop(locked.acquire(Patience::None, |_| told += 1).unwrap());
    }
    assert_eq!(told, 2 * HELD_MAX);
}

fn timeouts_and_deadlocks_are_reported() {
    let locked = lock(&mut Chunk::new(4096).unwrap());
    let held = locked.acquire(Patience::None, nothing_to_repair).unwrap();
    assert_eq!(locked.acquire(Patience::None, nothing_to_repair).map(drop), Err(AcquireError::WouldBlock));
    assert_eq!(locked.acquire(WAIT, nothing_to_repair).map(drop), Err(AcquireError::Deadlock));
    std::thread::scope(|scope| {
        let other_thread = || {
            let soon = Deadline::after(Duration::from_millis(20));
            let outcome = locked.acquire(Patience::Until(soon), nothing_to_repair).map(drop);
            assert_eq!(outcome, Err(AcquireError::TimedOut));
            assert!(soon.has_passed());
            assert_eq!(held_count(), 0);
        };
        std::thread::Builder::new().spawn_scoped(scope, other_thread).unwrap();
    });
    drop(held);
    let far = Patience::Until(Deadline::after(Duration::MAX));
    drop(locked.acquire(far, nothing_to_repair).unwrap());
}

fn fork_is_refused_while_a_guard_is_held() {
    let locked = lock(&mut Chunk::new(4096).unwrap());
    let held = locked.acquire(WAIT, nothing_to_repair).unwrap();
    let refused = fork(|| 0).map(|child| child.id());
    assert_eq!(refused, Err(ForkError::GuardHeld(1)));
    drop(held);
    succeeded(&fork(|| 0).unwrap());
}

fn a_child_holds_nothing_of_its_parent() {
    let locked = lock(&mut Chunk::new(4096).unwrap());
    let held = locked.acquire(WAIT, nothing_to_repair).unwrap().open_section();
    let held = Cell::new(Some(held));
    // SAFETY: there is no other thread, and the child does not use the guard's data.
    let responsible = unsafe { mp_sys::child::ForkAnyway::new() };
    let child = mp_sys::child::fork_anyway(responsible, || {
        assert_eq!(held_count(), 0);
        drop(held.take());
        assert!(locked.version().is_lent(), "an inherited guard stores nothing");
        let outcome = locked.acquire(Patience::None, nothing_to_repair).map(drop);
        assert_eq!(outcome, Err(AcquireError::WouldBlock), "the child releases nothing");
        0
    });
    succeeded(&child.unwrap());
    drop(held.take());
    assert!(!locked.version().is_lent(), "the holder closes its section");
    drop(locked.acquire(Patience::None, nothing_to_repair).unwrap());
}

fn a_forgotten_guard_keeps_the_mapping() {
    let mut chunk = Chunk::new(4096).unwrap();
    let (locked, other) = (lock(&mut chunk), lock(&mut chunk));
    drop(chunk);
    let child = spawn(|| {
        forget(locked.acquire(WAIT, nothing_to_repair).unwrap());
        let before = mp_sys::budget::mapped();
        drop(locked);
        drop(other);
        assert_eq!(mp_sys::budget::mapped(), before, "the lock is still held, so it stays mapped");
    });
    succeeded(&child);
}

fn guards_may_be_dropped_in_any_order() {
    let all = locks(5);
    let mut held: Vec<Held<'_>> =
        all.iter().map(|locked| locked.acquire(Patience::None, nothing_to_repair).unwrap()).collect();
    for at in [2, 0, 1, 1, 0] {
        drop(held.remove(at));
        assert_eq!(held_count(), held.len());
    }
    for locked in &all {
        drop(locked.acquire(Patience::None, nothing_to_repair).unwrap());
    }
}
