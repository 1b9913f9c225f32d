//! `Barrier` between real processes: rounds, timeouts, resets, and the death of parties.

use std::time::Duration;

use mp_sys::testing::{PATIENCE, assert_woken, eventually, hang, kill, spawn, succeeded, tests};
use shm_core::sync::PARTIES_MAX;
use shm_core::{Array, Barrier, BarrierError, RawValue};

tests! {
    nobody_passes_before_all_are_there,
    each_party_has_an_index_of_its_own,
    a_timeout_breaks_the_barrier_for_all,
    abort_and_reset,
    the_death_of_a_waiting_party_breaks_the_barrier,
    the_death_of_a_registered_party_breaks_the_barrier,
    an_inherited_party_does_nothing,
    more_threads_than_parties,
    parties_at_the_limit_and_one_above,
    a_party_that_leaves_makes_room,
    threads_that_come_and_go_share_the_places_of_their_process,
    a_party_that_outlived_its_thread_takes_no_place_from_another,
    a_party_that_is_dropped_beside_a_wait_takes_no_place_from_it,
    a_thread_that_registers_twice_leaves_twice,
}

fn pass(barrier: &Barrier) -> usize {
    barrier.wait_timeout(PATIENCE).unwrap()
}

fn nobody_passes_before_all_are_there() {
    const ROUNDS: u64 = 500;
    let barrier = Barrier::new(4).unwrap();
    let steps = Array::<u64>::zeroed(4).unwrap();
    let numbers = RawValue::new(0_usize).unwrap();
    let party = || {
        let me = numbers.fetch_add(1);
        for round in 1..=ROUNDS {
            steps.set(me, round).unwrap();
            pass(&barrier);
            // Whoever is ahead is at most one round ahead; nobody is behind.
            let all = steps.to_vec().unwrap();
            assert!(all.iter().all(|&step| step == round || step == round + 1), "{all:?} in round {round}");
        }
        assert_woken();
    };
    let parties = [(); 4].map(|()| spawn(party));
    parties.iter().for_each(succeeded);
}

fn each_party_has_an_index_of_its_own() {
    let barrier = Barrier::new(3).unwrap();
    let seen = RawValue::new(0_u32).unwrap();
    let party = || {
        seen.fetch_or(1 << pass(&barrier));
    };
    let parties = [(); 3].map(|()| spawn(party));
    parties.iter().for_each(succeeded);
    assert_eq!(seen.load(), 0b111);
    assert_eq!(Barrier::new(1).unwrap().wait(), Ok(0));
}

fn a_timeout_breaks_the_barrier_for_all() {
    let barrier = Barrier::new(3).unwrap();
    let other = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken)));
    eventually("the other one waits", || barrier.n_waiting() == Ok(1));
    assert_eq!(barrier.wait_timeout(Duration::from_millis(10)), Err(BarrierError::TimedOut));
    succeeded(&other);
    assert_eq!(barrier.is_broken(), Ok(true));
    assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    assert!(matches!(barrier.party(), Err(BarrierError::Broken)));
}

fn abort_and_reset() {
    let barrier = Barrier::new(2).unwrap();
    for reset in [false, true] {
        let other = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken)));
        eventually("the other one waits", || barrier.n_waiting() == Ok(1));
        if reset {
            barrier.reset().unwrap();
        } else {
            barrier.abort().unwrap();
        }
        succeeded(&other);
        assert_eq!(barrier.is_broken(), Ok(!reset));
        assert_eq!(barrier.n_waiting(), Ok(0));
        barrier.reset().unwrap();
    }
    let other = spawn(|| assert!(pass(&barrier) < 2));
    pass(&barrier);
    succeeded(&other);
}

fn the_death_of_a_waiting_party_breaks_the_barrier() {
    let barrier = Barrier::new(3).unwrap();
    let dead = spawn(|| assert!(barrier.wait().is_ok()));
    eventually("the victim waits", || barrier.n_waiting() == Ok(1));
    let other = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken)));
    eventually("both wait", || barrier.n_waiting() == Ok(2));
    kill(&dead);
    succeeded(&other);
    barrier.reset().unwrap();
    // The places of the dead are free again.
    let others = [(); 3].map(|()| spawn(|| assert!(pass(&barrier) < 3)));
    others.iter().for_each(succeeded);
}

fn the_death_of_a_registered_party_breaks_the_barrier() {
    let barrier = Barrier::new(2).unwrap();
    let registered = RawValue::new(false).unwrap();
    let dead = spawn(|| {
        let _party = barrier.party().unwrap();
        registered.store(true);
        hang();
    });
    eventually("it registered", || registered.load());
    let other = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken)));
    eventually("the other one waits", || barrier.n_waiting() == Ok(1));
    kill(&dead);
    succeeded(&other);
}

fn an_inherited_party_does_nothing() {
    let barrier = Barrier::new(2).unwrap();
    let party = std::cell::Cell::new(Some(barrier.party().unwrap()));
    let child = spawn(|| {
        drop(party.take());
        pass(&barrier);
    });
    let party = party.take().unwrap();
    party.wait_timeout(PATIENCE).unwrap();
    succeeded(&child);
}

fn more_threads_than_parties() {
    let barrier = Barrier::new(1).unwrap();
    assert_eq!(barrier.wait(), Ok(0));
    assert_eq!(barrier.wait(), Ok(0), "again, by the same party");
    succeeded(&spawn(|| {
        assert_eq!(barrier.wait(), Err(BarrierError::TooManyParties { parties: 1 }));
    }));
}

fn parties_at_the_limit_and_one_above() {
    assert_eq!(Barrier::new(PARTIES_MAX).map(|barrier| barrier.parties()), Ok(PARTIES_MAX));
    let refused = BarrierError::Parties { limit: PARTIES_MAX };
    assert_eq!(Barrier::new(PARTIES_MAX + 1).unwrap_err(), refused);
    assert_eq!(Barrier::new(0).unwrap_err(), refused);
}

fn a_party_that_leaves_makes_room() {
    let barrier = Barrier::new(1).unwrap();
    let party = barrier.party().unwrap();
    succeeded(&spawn(|| assert!(barrier.party().is_err())));
    drop(party);
    succeeded(&spawn(|| drop(barrier.party().unwrap())));
}

fn threads_that_come_and_go_share_the_places_of_their_process() {
    let barrier = Barrier::new(2).unwrap();
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                std::thread::Builder::new().spawn_scoped(scope, || pass(&barrier)).unwrap();
            }
        });
        // Their places are free once they have left /proc, a moment after they were joined.
        eventually("the threads are gone", || std::fs::read_dir("/proc/self/task").unwrap().count() == 1);
    }
}

fn a_party_that_outlived_its_thread_takes_no_place_from_another() {
    let barrier = Barrier::new(2).unwrap();
    std::thread::scope(|scope| {
        let register = || scope.spawn(|| barrier.party().unwrap()).join().unwrap();
        let outlived = [register(), register()];
        // Two threads, and two registrations of threads that have ended.
        eventually("the threads are gone", || std::fs::read_dir("/proc/self/task").unwrap().count() == 1);
        let first = scope.spawn(|| pass(&barrier));
        eventually("it waits", || barrier.n_waiting() == Ok(1));
        drop(outlived);
        assert_eq!(barrier.n_waiting(), Ok(1), "it waits still");
        assert_eq!(pass(&barrier) + first.join().unwrap(), 1);
    });
}

fn a_party_that_is_dropped_beside_a_wait_takes_no_place_from_it() {
    let barrier = Barrier::new(2).unwrap();
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let barrier = &barrier;
        let first = scope.spawn(move || {
            sender.send(barrier.party().unwrap()).unwrap();
            pass(barrier)
        });
        let party = receiver.recv().unwrap();
        eventually("it waits", || barrier.n_waiting() == Ok(1));
        drop(party);
        assert_eq!(barrier.n_waiting(), Ok(1), "it waits still");
        assert_eq!(pass(barrier) + first.join().unwrap(), 1);
    });
}

fn a_thread_that_registers_twice_leaves_twice() {
    let barrier = Barrier::new(1).unwrap();
    let is_taken = || succeeded(&spawn(|| assert!(barrier.party().is_err())));
    let (first, second) = (barrier.party().unwrap(), barrier.party().unwrap());
    drop(first);
    is_taken();
    drop(second);
    // Registered by its wait, and left by what it registers for after that.
    succeeded(&spawn(|| assert_eq!(pass(&barrier), 0)));
    barrier.reset().unwrap();
    assert_eq!(pass(&barrier), 0);
    is_taken();
    drop(barrier.party().unwrap());
    succeeded(&spawn(|| drop(barrier.party().unwrap())));
}
