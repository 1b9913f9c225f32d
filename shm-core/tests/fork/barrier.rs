//! `Barrier` between real processes: rounds, timeouts, resets, and the death of parties.

use std::time::{Duration, Instant};

use mp_sys::testing::{PATIENCE, assert_woken, eventually, hang, kill, spawn, succeeded, tests};
use shm_core::sync::PARTIES_MAX;
use shm_core::{Array, Barrier, BarrierError, RawValue};

tests! {
    nobody_passes_before_all_have_come,
    each_party_gets_another_index,
    a_timeout_breaks_the_barrier_for_all,
    abort_and_reset,
    the_death_of_a_waiting_party_breaks_the_barrier,
    the_death_of_a_registered_party_breaks_the_barrier,
    an_inherited_party_does_nothing,
    more_threads_than_parties,
    sets_of_processes_meet_one_after_another,
    a_process_that_is_killed_between_two_rounds_breaks_nothing,
    the_death_of_a_registered_party_between_two_rounds_breaks_the_barrier,
    a_caller_that_finds_no_place_learns_of_a_death,
    a_party_that_died_alone_does_not_count_as_present,
    a_waiter_that_wakes_up_after_many_resets,
    parties_at_the_limit_and_one_above,
    a_party_that_leaves_makes_room,
    threads_that_come_and_go_need_no_places,
    a_party_outlives_its_thread,
    dropping_a_party_takes_no_place_from_a_wait,
    each_registration_is_a_place,
}

pub(crate) fn pass(barrier: &Barrier) -> usize {
    barrier.wait_timeout(PATIENCE).unwrap()
}

fn nobody_passes_before_all_have_come() {
    const ROUNDS: u64 = 500;
    let barrier = Barrier::new(4).unwrap();
    let steps = Array::<u64>::zeroed(4).unwrap();
    let numbers = RawValue::new(0_usize).unwrap();
    let party = || {
        let me = numbers.fetch_add(1);
        for round in 1..=ROUNDS {
            steps.set(me, round).unwrap();
            pass(&barrier);
            // A party is at most one round ahead, and none is behind.
            let all = steps.to_vec().unwrap();
            assert!(all.iter().all(|&step| step == round || step == round + 1), "{all:?} in round {round}");
        }
        assert_woken();
    };
    let parties = [(); 4].map(|()| spawn(party));
    parties.iter().for_each(succeeded);
}

fn each_party_gets_another_index() {
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
    // The places of dead processes are free again.
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
    succeeded(&spawn(|| assert_eq!(barrier.wait(), Ok(0), "it is the party of its round")));
    let party = barrier.party().unwrap();
    succeeded(&spawn(|| {
        assert_eq!(barrier.wait(), Err(BarrierError::TooManyParties { parties: 1 }));
    }));
    assert_eq!(party.wait(), Ok(0));
}

fn sets_of_processes_meet_one_after_another() {
    let barrier = Barrier::new(3).unwrap();
    for _ in 0..5 {
        let set = [(); 3].map(|()| spawn(|| assert!(pass(&barrier) < 3)));
        set.iter().for_each(succeeded);
        assert_eq!((barrier.is_broken(), barrier.n_waiting()), (Ok(false), Ok(0)));
    }
    // The next set may come before the previous one has ended.
    let set = [(); 9].map(|()| spawn(|| assert!(pass(&barrier) < 3)));
    set.iter().for_each(succeeded);
}

fn a_process_that_is_killed_between_two_rounds_breaks_nothing() {
    let barrier = Barrier::new(2).unwrap();
    let dead = spawn(|| {
        pass(&barrier);
        hang();
    });
    pass(&barrier);
    kill(&dead);
    let other = spawn(|| assert_eq!(pass(&barrier), 0));
    eventually("the other one waits", || barrier.n_waiting() == Ok(1));
    assert_eq!(pass(&barrier), 1, "in the place of the dead");
    succeeded(&other);
}

fn the_death_of_a_registered_party_between_two_rounds_breaks_the_barrier() {
    for is_killed in [true, false] {
        let barrier = Barrier::new(2).unwrap();
        let dead = spawn(|| {
            let party = barrier.party().unwrap();
            party.wait_timeout(PATIENCE).unwrap();
            if is_killed {
                hang();
            }
            // As with `std::process::exit`, the process ends without dropping the party.
            let _kept = std::mem::ManuallyDrop::new(party);
        });
        pass(&barrier);
        if is_killed {
            kill(&dead);
        } else {
            succeeded(&dead);
        }
        assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken));
        barrier.reset().unwrap();
        let left = spawn(|| {
            let party = barrier.party().unwrap();
            assert!(party.wait_timeout(PATIENCE).unwrap() < 2);
        });
        pass(&barrier);
        succeeded(&left);
        succeeded(&spawn(|| assert_eq!(barrier.wait_timeout(Duration::ZERO), Err(BarrierError::TimedOut))));
    }
}

fn a_caller_that_finds_no_place_learns_of_a_death() {
    let barrier = Barrier::new(1).unwrap();
    for waits in [true, false] {
        let registered = RawValue::new(false).unwrap();
        let dead = spawn(|| {
            let _party = barrier.party().unwrap();
            registered.store(true);
            hang();
        });
        eventually("it registered", || registered.load());
        kill(&dead);
        let told = if waits { barrier.wait().map(drop) } else { barrier.party().map(drop) };
        assert_eq!(told, Err(BarrierError::Broken));
        barrier.reset().unwrap();
    }
}

fn a_party_that_died_alone_does_not_count_as_present() {
    let barrier = Barrier::new(2).unwrap();
    let dead = spawn(|| assert!(barrier.wait().is_ok()));
    eventually("it waits", || barrier.n_waiting() == Ok(1));
    kill(&dead);
    // Nobody looked for as long as it may take waiters to notice a death.
    let killed = Instant::now();
    eventually("some time has passed", || killed.elapsed() > Duration::from_millis(150));
    assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken));
}

/// The same on all architectures but three old ones.
const SIGSTOP: i32 = 19;
const SIGCONT: i32 = 18;
/// The number of resets that are kept for waiters that have not woken up yet.
const RESETS_KEPT: usize = 6;

fn a_waiter_that_wakes_up_after_many_resets() {
    let barrier = Barrier::new(2).unwrap();
    for (resets, expected) in [(RESETS_KEPT - 1, Ok(())), (RESETS_KEPT, Err(BarrierError::Broken))] {
        let waiter = spawn(|| assert_eq!(barrier.wait_timeout(PATIENCE).map(drop), expected));
        eventually("it waits", || barrier.n_waiting() == Ok(1));
        waiter.signal(SIGSTOP).unwrap();
        eventually("it is stopped", || waiter.is_stopped());
        pass(&barrier);
        (0..resets).for_each(|_| barrier.reset().unwrap());
        waiter.signal(SIGCONT).unwrap();
        succeeded(&waiter);
    }
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

fn threads_that_come_and_go_need_no_places() {
    let barrier = Barrier::new(2).unwrap();
    for _ in 0..5 {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                std::thread::Builder::new().spawn_scoped(scope, || pass(&barrier)).unwrap();
            }
        });
    }
}

fn a_party_outlives_its_thread() {
    let barrier = Barrier::new(2).unwrap();
    std::thread::scope(|scope| {
        let register = || scope.spawn(|| barrier.party().unwrap()).join().unwrap();
        let (first, second) = (register(), register());
        assert!(matches!(barrier.party(), Err(BarrierError::TooManyParties { parties: 2 })));
        let waiter = scope.spawn(|| pass(&barrier));
        eventually("it waits", || barrier.n_waiting() == Ok(1));
        drop(first);
        assert_eq!(barrier.n_waiting(), Ok(1), "it waits still");
        assert_eq!(second.wait_timeout(PATIENCE).unwrap() + waiter.join().unwrap(), 1);
    });
}

fn dropping_a_party_takes_no_place_from_a_wait() {
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

fn each_registration_is_a_place() {
    let barrier = Barrier::new(2).unwrap();
    let is_refused = || succeeded(&spawn(|| assert!(barrier.party().is_err())));
    let (first, second) = (barrier.party().unwrap(), barrier.party().unwrap());
    is_refused();
    drop(first);
    let third = barrier.party().unwrap();
    is_refused();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| second.wait_timeout(PATIENCE).unwrap());
        assert_eq!(third.wait_timeout(PATIENCE).unwrap() + waiter.join().unwrap(), 1);
    });
    is_refused();
    drop((second, third));
    succeeded(&spawn(|| drop((barrier.party().unwrap(), barrier.party().unwrap()))));
}
