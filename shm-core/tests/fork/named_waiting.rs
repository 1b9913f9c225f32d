//! `Condition` and `Barrier` by name, between processes that know only the name.

use mp_sys::testing::{PATIENCE, assert_woken, eventually, hang, kill, spawn, succeeded, tests};
use shm_core::sync::{PARTIES_MAX, WAITERS_MAX};
use shm_core::{Barrier, BarrierError, Condition, Event, Lock, NameError, RawValue, Semaphore, Value, named};

tests! {
    strangers_wait_on_a_condition,
    the_notification_of_a_dead_unrelated_process_is_passed_on,
    strangers_meet_at_a_barrier,
    the_death_of_an_unrelated_process_breaks_the_barrier,
    a_party_is_a_process_and_not_a_handle,
    the_wrong_kind_is_an_error,
    the_number_of_parties_is_that_of_the_creator,
    names_of_conditions_and_barriers_disappear_with_the_last_holder,
}

fn name(of: &str) -> String {
    format!("test-{}-{of}", rustix::process::getpid().as_raw_nonzero())
}

fn exists(name: &str) -> bool {
    std::fs::exists(format!("/dev/shm/mp.{name}")).unwrap()
}

/// A consumer that opens everything by name, and takes one from the stock.
fn consume([stock, condition]: &[String; 2]) {
    let stock = Value::<u32>::open(stock).unwrap();
    let condition = Condition::open(condition).unwrap();
    let mut guard = condition.wait_while(stock.lock().unwrap(), |stock| *stock == 0).unwrap();
    *guard -= 1;
    drop(guard);
    assert_woken();
}

fn strangers_wait_on_a_condition() {
    let names = ["stock", "condition"].map(name);
    let stock = Value::create(&names[0], 0_u32).unwrap();
    let condition = Condition::create(&names[1]).unwrap();
    let consumers = [(); 3].map(|()| spawn(|| consume(&names)));
    eventually("all wait", || condition.n_waiting() == 3);
    // From another unrelated process, which learns the number of parties.
    succeeded(&spawn(|| {
        let opened = Condition::open(&names[1]).unwrap();
        assert_eq!(opened.n_waiting(), 3);
        Value::<u32>::open(&names[0]).unwrap().set(3).unwrap();
        assert_eq!(opened.notify(1), 1);
        assert_eq!(opened.notify_all(), 2);
    }));
    consumers.iter().for_each(succeeded);
    assert_eq!(stock.get(), Ok(0));
}

fn the_notification_of_a_dead_unrelated_process_is_passed_on() {
    let (lock_name, condition_name) = (name("lock"), name("condition"));
    let _lock = Lock::create(&lock_name).unwrap();
    let condition = Condition::create(&condition_name).unwrap();
    let wait = || {
        let (lock, condition) = (Lock::open(&lock_name).unwrap(), Condition::open(&condition_name).unwrap());
        drop(condition.wait(lock.lock().unwrap()).unwrap());
    };
    let dead = spawn(wait);
    eventually("the first one waits", || condition.n_waiting() == 1);
    let alive = spawn(wait);
    eventually("both wait", || condition.n_waiting() == 2);
    kill(&dead);
    assert_eq!(condition.notify(1), 1, "the dead one was chosen");
    succeeded(&alive);
}

fn strangers_meet_at_a_barrier() {
    const ROUNDS: u32 = 100;
    let name = name("barrier");
    let made = Barrier::create(&name, 3).unwrap();
    let met = RawValue::new(0_u32).unwrap();
    let party = |barrier: &Barrier| {
        for round in 0..ROUNDS {
            met.fetch_add(1);
            barrier.wait_timeout(PATIENCE).unwrap();
            assert!(met.load() >= 3 * (round + 1), "nobody passes before all have come");
        }
        assert_woken();
    };
    let strangers = [(); 2].map(|()| spawn(|| party(&Barrier::open(&name).unwrap())));
    party(&made);
    strangers.iter().for_each(succeeded);
}

fn the_death_of_an_unrelated_process_breaks_the_barrier() {
    let name = name("barrier");
    let made = Barrier::create(&name, 3).unwrap();
    let registered = RawValue::new(false).unwrap();
    let dead = spawn(|| {
        let barrier = Barrier::open(&name).unwrap();
        let _party = barrier.party().unwrap();
        registered.store(true);
        hang();
    });
    let other = spawn(|| {
        let barrier = Barrier::open(&name).unwrap();
        assert_eq!(barrier.wait_timeout(PATIENCE), Err(BarrierError::Broken));
    });
    eventually("both are there", || registered.load() && made.n_waiting() == Ok(1));
    kill(&dead);
    succeeded(&other);
    assert_eq!(made.is_broken(), Ok(true));
    made.reset().unwrap();
    let party = || assert!(Barrier::open(&name).unwrap().wait_timeout(PATIENCE).unwrap() < 3);
    let others = [(); 2].map(|()| spawn(party));
    made.wait_timeout(PATIENCE).unwrap();
    others.iter().for_each(succeeded);
}

fn a_party_is_a_process_and_not_a_handle() {
    let name = name("barrier");
    let (made, found) = (Barrier::create(&name, 1).unwrap(), Barrier::open(&name).unwrap());
    let _party = made.party().unwrap();
    assert_eq!(made.wait(), Ok(0));
    assert_eq!(found.wait(), Ok(0), "the same party");
    succeeded(&spawn(|| {
        let refused = BarrierError::TooManyParties { parties: 1 };
        assert_eq!(Barrier::open(&name).unwrap().wait(), Err(refused));
    }));
}

fn the_wrong_kind_is_an_error() {
    let names = ["condition", "barrier", "event", "value"].map(name);
    let [condition, barrier, event, value] = &names;
    let _made = (
        Condition::create(condition).unwrap(),
        Barrier::create(barrier, 2).unwrap(),
        Event::create(event).unwrap(),
        Value::create(value, 2_u64).unwrap(),
    );
    for other in [barrier, event, value] {
        assert!(matches!(Condition::open(other), Err(NameError::WrongType { .. })));
    }
    for other in [condition, event, value] {
        assert!(matches!(Barrier::open(other), Err(NameError::WrongType { .. })));
    }
    for other in [condition, barrier] {
        assert!(matches!(Event::open(other), Err(NameError::WrongType { .. })));
        assert!(matches!(Lock::open(other), Err(NameError::WrongType { .. })));
        assert!(matches!(Semaphore::open(other), Err(NameError::WrongType { .. })));
        assert!(matches!(Value::<u64>::open(other), Err(NameError::WrongType { .. })));
    }
    assert_eq!(Condition::create(barrier).unwrap_err(), NameError::Exists);
    assert_eq!(Barrier::create(condition, 2).unwrap_err(), BarrierError::Name(NameError::Exists));
}

fn the_number_of_parties_is_that_of_the_creator() {
    let name = name("barrier");
    let refused = BarrierError::Parties { limit: PARTIES_MAX };
    assert_eq!(Barrier::create(&name, 0).unwrap_err(), refused);
    assert_eq!(Barrier::create(&name, PARTIES_MAX + 1).unwrap_err(), refused);
    assert!(!exists(&name));
    let made = Barrier::create(&name, PARTIES_MAX).unwrap();
    succeeded(&spawn(|| {
        let found = Barrier::open(&name).unwrap();
        assert_eq!(found.parties(), PARTIES_MAX);
        drop(found.party().unwrap());
    }));
    drop(made);
}

fn names_of_conditions_and_barriers_disappear_with_the_last_holder() {
    let names = ["condition", "barrier"].map(name);
    let [condition, barrier] = &names;
    let made = (Condition::create(condition).unwrap(), Barrier::create(barrier, 1).unwrap());
    let found = (Condition::open(condition).unwrap(), Barrier::open(barrier).unwrap());
    drop(made);
    // All places, whichever process created the condition.
    assert_eq!((found.0.notify(WAITERS_MAX), found.1.wait()), (0, Ok(0)));
    named::unlink(condition).unwrap();
    assert_eq!(Condition::open(condition).unwrap_err(), NameError::NotFound);
    drop(found);
    assert_eq!(Barrier::open(barrier).unwrap_err(), NameError::NotFound);
    let holder = spawn(|| {
        let _held = (Condition::create(condition).unwrap(), Barrier::create(barrier, 1).unwrap());
        hang();
    });
    eventually("the objects are made", || Barrier::open(barrier).is_ok());
    kill(&holder);
    assert_eq!(Condition::open(condition).unwrap_err(), NameError::NotFound);
    assert_eq!(Barrier::open(barrier).unwrap_err(), NameError::NotFound);
    assert!(!names.iter().any(|name| exists(name)));
}
