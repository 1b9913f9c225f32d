//! `Barrier`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::conformance::{Fixture, MOMENT, PATIENCE, patience, tests, until, until_dead};
use crate::limits::PARTIES_MAX;
use crate::proto::Fault;
use crate::{Barrier, BarrierError, CallError, Manager, ObjectError};

tests! {
    [Barrier] {
        all_parties_meet_again_and_again,
        the_death_of_a_party_breaks_it,
        a_party_that_gives_up_breaks_it,
        it_is_broken_and_repaired,
        parties_have_a_limit,
        one_set_of_clients_after_another_meets,
        threads_that_come_and_go_need_no_places,
        the_death_of_a_party_between_two_rounds_breaks_it_if_the_party_is_registered,
        one_party_acts_before_the_others_go_on,
        an_action_that_panics_breaks_it,
        a_wait_ends_with_the_default_timeout,
    }
}

const PARTIES: usize = 3;

fn barrier(client: &Manager) -> Barrier {
    client.named("barrier").barrier(PARTIES).unwrap()
}

fn all_parties_meet_again_and_again(fixture: &dyn Fixture) {
    const ROUNDS: usize = 10;
    let clients: Vec<Manager> = (0..PARTIES).map(|_| fixture.client()).collect();
    let indices = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for client in &clients {
            scope.spawn(|| {
                let barrier = barrier(client);
                for round in 0..ROUNDS {
                    let index = barrier.wait_timeout(PATIENCE).unwrap();
                    indices.lock().unwrap().push((round, index));
                }
            });
        }
    });
    let mut indices = indices.into_inner().unwrap();
    indices.sort_unstable();
    let expected = (0..ROUNDS).flat_map(|round| (0..PARTIES).map(move |index| (round, index)));
    assert_eq!(indices, expected.collect::<Vec<_>>());
}

fn the_death_of_a_party_breaks_it(fixture: &dyn Fixture) {
    let (dying, one, other) = (fixture.client(), fixture.client(), fixture.client());
    let watch = barrier(&other);
    std::thread::scope(|scope| {
        let dead = scope.spawn(|| barrier(&dying).wait_timeout(patience(fixture)));
        let waiting = scope.spawn(|| barrier(&one).wait_timeout(patience(fixture)));
        until_dead(fixture, "the wait", || watch.n_waiting().unwrap() == 2);
        fixture.kill(&dying);
        assert_eq!(waiting.join().unwrap(), Err(BarrierError::Broken));
        assert!(matches!(dead.join().unwrap(), Err(BarrierError::Object(_))));
    });
    assert!(watch.is_broken().unwrap());
    assert_eq!(watch.wait(), Err(BarrierError::Broken));
}

fn a_party_that_gives_up_breaks_it(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let watch = barrier(&other);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| barrier(&one).wait_timeout(PATIENCE));
        until("the wait", || watch.n_waiting().unwrap() == 1);
        assert_eq!(watch.wait_timeout(MOMENT), Err(BarrierError::TimedOut));
        assert_eq!(waiting.join().unwrap(), Err(BarrierError::Broken));
    });
}

fn it_is_broken_and_repaired(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let watch = barrier(&other);
    assert_eq!((watch.parties().unwrap(), watch.n_waiting().unwrap()), (PARTIES, 0));
    for is_aborted in [true, false] {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| barrier(&one).wait_timeout(PATIENCE));
            until("the wait", || watch.n_waiting().unwrap() == 1);
            if is_aborted { watch.abort() } else { watch.reset() }.unwrap();
            assert_eq!(waiting.join().unwrap(), Err(BarrierError::Broken));
        });
        assert_eq!(watch.is_broken().unwrap(), is_aborted);
        watch.reset().unwrap();
    }
}

/// Lets all parties pass one round, each in its own thread.
fn meet(parties: [&Barrier; PARTIES]) {
    std::thread::scope(|scope| {
        for barrier in parties {
            scope.spawn(|| assert!(barrier.wait_timeout(PATIENCE).unwrap() < PARTIES));
        }
    });
}

fn one_set_of_clients_after_another_meets(fixture: &dyn Fixture) {
    let keeper = fixture.client();
    let watch = barrier(&keeper);
    for is_killed in [false, true, false] {
        let clients = [(); PARTIES].map(|()| fixture.client());
        let barriers = [0, 1, 2].map(|n: usize| barrier(&clients[n]));
        meet(barriers.each_ref());
        if is_killed {
            clients.iter().for_each(|client| fixture.kill(client));
        }
    }
    assert!(!watch.is_broken().unwrap());
    meet([&watch; PARTIES]);
}

fn threads_that_come_and_go_need_no_places(fixture: &dyn Fixture) {
    let client = fixture.client();
    let barrier = barrier(&client);
    for _ in 0..5 {
        meet([&barrier; PARTIES]);
    }
}

fn the_death_of_a_party_between_two_rounds_breaks_it_if_the_party_is_registered(fixture: &dyn Fixture) {
    let other = fixture.client();
    let watch = barrier(&other);
    for is_registered in [false, true] {
        let dying = fixture.client();
        let barrier = barrier(&dying);
        let party = is_registered.then(|| barrier.party().unwrap());
        meet([&barrier, &watch, &watch]);
        let clients = other.info().unwrap().clients;
        fixture.kill(&dying);
        // The server may notice the end a moment later.
        if is_registered {
            until_dead(fixture, "the end of the client", || watch.is_broken().unwrap());
        } else {
            until_dead(fixture, "the end of the client", || other.info().unwrap().clients < clients);
        }
        assert_eq!(watch.is_broken().unwrap(), is_registered);
        drop(party);
        watch.reset().unwrap();
        meet([&watch; PARTIES]);
    }
    let party = watch.party().unwrap();
    meet([&watch; PARTIES]);
    drop(party);
    let parties = [(); PARTIES].map(|()| watch.party().unwrap());
    let error = watch.party().unwrap_err();
    let full = Fault::TooMany { limit: PARTIES as u64 };
    assert_eq!(error, BarrierError::Object(ObjectError::Call(CallError::Fault(full))));
    drop(parties);
}

fn one_party_acts_before_the_others_go_on(fixture: &dyn Fixture) {
    const ROUNDS: usize = 10;
    let runs = Arc::new(AtomicUsize::new(0));
    let clients = [(); PARTIES].map(|()| fixture.client());
    std::thread::scope(|scope| {
        for client in &clients {
            let (runs, counted) = (Arc::clone(&runs), Arc::clone(&runs));
            let barrier = barrier(client).with_action(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            });
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // Every other round uses a clone, which has the same action.
                    let party = if round % 2 == 0 { barrier.clone() } else { barrier.clone().clone() };
                    party.wait_timeout(PATIENCE).unwrap();
                    let runs = runs.load(Ordering::Relaxed);
                    assert!(runs == round + 1 || runs == round + 2, "{runs} runs in round {round}");
                }
            });
        }
    });
    assert_eq!(runs.load(Ordering::Relaxed), ROUNDS);
}

fn an_action_that_panics_breaks_it(fixture: &dyn Fixture) {
    let (one, other) = (fixture.client(), fixture.client());
    let watch = barrier(&other);
    std::thread::scope(|scope| {
        let waiting = [(); PARTIES - 1].map(|()| scope.spawn(|| barrier(&one).wait_timeout(PATIENCE)));
        until("the wait", || watch.n_waiting().unwrap() == PARTIES - 1);
        let panics = watch.clone().with_action(|| std::panic::resume_unwind(Box::new("on purpose")));
        assert!(catch_unwind(AssertUnwindSafe(|| panics.wait_timeout(PATIENCE))).is_err());
        for waiting in waiting {
            assert_eq!(waiting.join().unwrap(), Err(BarrierError::Broken));
        }
    });
    assert!(watch.is_broken().unwrap());
    watch.reset().unwrap();
    meet([&watch; PARTIES]);
}

fn a_wait_ends_with_the_default_timeout(fixture: &dyn Fixture) {
    let client = fixture.client();
    let barrier = barrier(&client).with_timeout(MOMENT);
    assert_eq!(barrier.clone().wait(), Err(BarrierError::TimedOut));
    barrier.reset().unwrap();
    assert_eq!(barrier.party().unwrap().wait(), Err(BarrierError::TimedOut));
    assert_eq!(barrier.wait(), Err(BarrierError::Broken));
}

fn parties_have_a_limit(fixture: &dyn Fixture) {
    let client = fixture.client();
    let most = usize::try_from(PARTIES_MAX).unwrap();
    assert_eq!(client.barrier(most).unwrap().parties().unwrap(), most);
    assert_eq!(client.barrier(1).unwrap().wait(), Ok(0));
    for parties in [0, most + 1] {
        let error = client.barrier(parties).unwrap_err();
        assert!(matches!(error, ObjectError::Call(CallError::Fault(Fault::OutOfRange { .. }))), "{error:?}");
    }
}
