//! `Barrier`.

use std::sync::Mutex;

use crate::conformance::{Fixture, MOMENT, PATIENCE, tests, until};
use crate::limits::PARTIES_MAX;
use crate::proto::Fault;
use crate::{Barrier, BarrierError, CallError, Manager, ObjectError};

tests!(
    all_parties_meet_again_and_again,
    the_death_of_a_party_breaks_it,
    a_party_that_gives_up_breaks_it,
    it_is_broken_and_mended,
    there_are_only_so_many_parties,
);

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
        let dead = scope.spawn(|| barrier(&dying).wait_timeout(PATIENCE));
        let waiting = scope.spawn(|| barrier(&one).wait_timeout(PATIENCE));
        until("the wait", || watch.n_waiting().unwrap() == 2);
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

fn it_is_broken_and_mended(fixture: &dyn Fixture) {
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

fn there_are_only_so_many_parties(fixture: &dyn Fixture) {
    let client = fixture.client();
    let most = usize::try_from(PARTIES_MAX).unwrap();
    assert_eq!(client.barrier(most).unwrap().parties().unwrap(), most);
    assert_eq!(client.barrier(1).unwrap().wait(), Ok(0));
    for parties in [0, most + 1] {
        let error = client.barrier(parties).unwrap_err();
        assert!(matches!(error, ObjectError::Call(CallError::Fault(Fault::OutOfRange { .. }))), "{error:?}");
    }
}
