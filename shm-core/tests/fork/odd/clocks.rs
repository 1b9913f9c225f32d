//! Processes whose clocks differ: those of another time namespace.

use std::time::Duration;

use mp_sys::identity::Stamp;
use mp_sys::testing::{
    PATIENCE, eventually, hang, identify_by_start_time, kill, skip, spawn, spawn_with_clocks_ahead,
    succeeded, tests,
};
use shm_core::{Barrier, BarrierError, Condition, Event, Lock, RawValue, Semaphore, SemaphoreError};

use super::LOOKS;

tests! {
    a_look_with_a_clock_that_is_ahead_hides_no_death,
    before_linux_6_9_a_process_with_another_clock_is_not_taken_for_dead,
}

/// Longer than a test, and than any pause between two looks.
const AHEAD: Duration = Duration::from_secs(100_000);

fn a_look_with_a_clock_that_is_ahead_hides_no_death() {
    let (semaphore, barrier) = (Semaphore::new(1).unwrap(), Barrier::new(3).unwrap());
    let (lock, condition, ready) = (Lock::new().unwrap(), Condition::new().unwrap(), Event::new().unwrap());
    let holder = spawn(|| {
        let _held = (semaphore.acquire(), barrier.party().unwrap());
        ready.set();
        hang();
    });
    let waits = || drop(condition.wait(lock.lock().unwrap()).unwrap());
    let first = spawn(waits);
    eventually("the first one waits", || condition.n_waiting() == 1);
    let second = spawn(waits);
    eventually("the second one waits", || condition.n_waiting() == 2);
    assert!(ready.wait_timeout(PATIENCE));
    // It waits a while at each of them, as any program may, and looks for dead processes meanwhile.
    let visitor = spawn_with_clocks_ahead(AHEAD, || {
        assert!(matches!(semaphore.acquire_timeout(LOOKS), Err(SemaphoreError::TimedOut)));
        let (notified, guard) = condition.wait_timeout(lock.lock().unwrap(), LOOKS).unwrap();
        assert!(!notified);
        drop(guard);
        assert_eq!(barrier.wait_timeout(LOOKS), Err(BarrierError::TimedOut));
    });
    match visitor {
        Ok(visitor) => succeeded(&visitor),
        Err(why) => {
            [holder, first, second].iter().for_each(kill);
            skip(why);
        }
    }
    // What the visitor left, without its time.
    barrier.reset().unwrap();
    first.signal(rustix::process::Signal::STOP.as_raw()).unwrap();
    eventually("it is stopped", || first.is_stopped());
    assert_eq!(condition.notify(1), 1);
    [holder, first].iter().for_each(kill);
    drop(semaphore.acquire_timeout(PATIENCE).unwrap());
    assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken));
    succeeded(&second);
}

fn before_linux_6_9_a_process_with_another_clock_is_not_taken_for_dead() {
    identify_by_start_time();
    let semaphore = Semaphore::new(1).unwrap();
    let [mine, theirs] = [(); 2].map(|()| RawValue::new(0_u64).unwrap());
    let (asked, killed) = (Event::new().unwrap(), Event::new().unwrap());
    let is_alive = |stamp: &RawValue<u64>| Stamp::from_bits(stamp.load()).unwrap().is_alive();
    let neighbour = spawn(|| {
        mine.store(Stamp::current().to_bits());
        eventually("the other one is there", || theirs.load() != 0);
        assert!(is_alive(&theirs), "its start time looks like another one from here");
        assert!(
            matches!(semaphore.acquire_timeout(LOOKS), Err(SemaphoreError::TimedOut)),
            "its permit is its own"
        );
        asked.set();
        assert!(killed.wait_timeout(PATIENCE));
        assert!(is_alive(&theirs), "alive when in doubt");
    });
    // A process with the same clocks, which is found dead.
    let mortal_stamp = RawValue::new(0_u64).unwrap();
    let mortal = spawn(|| {
        mortal_stamp.store(Stamp::current().to_bits());
        hang();
    });
    let judge = spawn(|| {
        eventually("it is there", || mortal_stamp.load() != 0);
        assert!(is_alive(&mortal_stamp));
        let stamp = Stamp::from_bits(mortal_stamp.load() ^ 1 << 30).unwrap();
        assert!(!stamp.is_alive(), "an earlier process of its id, told by the start time");
        assert!(killed.wait_timeout(PATIENCE));
        assert!(!is_alive(&mortal_stamp));
    });
    let visitor = spawn_with_clocks_ahead(AHEAD, || {
        let _permit = semaphore.acquire();
        eventually("the neighbour is there", || mine.load() != 0);
        theirs.store(Stamp::current().to_bits());
        assert!(is_alive(&mine));
        hang();
    });
    let Ok(visitor) = visitor else {
        [neighbour, mortal, judge].iter().for_each(kill);
        skip("no new time namespace");
    };
    assert!(asked.wait_timeout(PATIENCE));
    [visitor, mortal].iter().for_each(kill);
    killed.set();
    [neighbour, judge].iter().for_each(succeeded);
}
