//! Events, conditions and barriers: a woken thread sees what was written before the wake-up.

use mp_sys::testing::plain::Plain;
use mp_sys::testing::spawner::Spawner;
use mp_sys::testing::{PATIENCE, bodies};
use shm_core::{Barrier, Condition, Event, Lock, Value};

bodies! {
    an_event_shows_what_was_written_before,
    two_events_pass_a_word_to_and_fro,
    a_condition_over_a_lock_hands_items_over,
    a_condition_over_a_value_hands_items_over,
    all_who_wait_are_notified,
    a_barrier_shows_what_all_have_written,
}

const ROUNDS: u64 = 1_000;

fn an_event_shows_what_was_written_before<S: Spawner>() {
    let event = Event::new().unwrap();
    let written = Plain::new();
    S::all(4, |worker| match worker {
        0 => {
            written.set(7);
            event.set();
        }
        1 => {
            event.wait();
            assert_eq!(written.get(), 7);
        }
        _ => {
            assert!(event.wait_timeout(PATIENCE));
            assert_eq!(written.get(), 7);
        }
    });
}

fn two_events_pass_a_word_to_and_fro<S: Spawner>() {
    let turns = [Event::new().unwrap(), Event::new().unwrap()];
    let word = Plain::new();
    turns[0].set();
    S::all(2, |worker| {
        let (mine, other) = (&turns[worker], &turns[1 - worker]);
        for round in 0..ROUNDS {
            assert!(mine.wait_timeout(PATIENCE));
            mine.clear();
            assert_eq!(word.get(), 2 * round + u64::try_from(worker).unwrap());
            word.add(1);
            other.set();
        }
    });
    assert_eq!(word.get(), 2 * ROUNDS);
}

/// A place for one item, 0 while it is empty, between two producers and two consumers.
fn a_condition_over_a_lock_hands_items_over<S: Spawner>() {
    let lock = Lock::new().unwrap();
    let (filled, emptied) = (Condition::new().unwrap(), Condition::new().unwrap());
    let (place, sum) = (Plain::new(), Plain::new());
    S::all(4, |worker| {
        for item in 1..=ROUNDS {
            let guard = lock.lock().unwrap();
            if worker < 2 {
                let _guard = emptied.wait_while(guard, |_| place.get() != 0).unwrap();
                place.set(item);
                filled.notify(1);
            } else {
                let _guard = filled.wait_while(guard, |_| place.get() == 0).unwrap();
                sum.add(place.get());
                place.set(0);
                emptied.notify(1);
            }
        }
    });
    assert_eq!(sum.get(), ROUNDS * (ROUNDS + 1));
}

/// The same, but the place has its own lock, which lends it as an ordinary variable.
fn a_condition_over_a_value_hands_items_over<S: Spawner>() {
    let place = Value::new(0_u64).unwrap();
    let (filled, emptied) = (Condition::new().unwrap(), Condition::new().unwrap());
    let sum = Value::new(0_u64).unwrap();
    S::all(4, |worker| {
        for item in 1..=ROUNDS {
            let guard = place.lock().unwrap();
            if worker < 2 {
                let mut guard = emptied.wait_while(guard, |place| *place != 0).unwrap();
                *guard = item;
                filled.notify(1);
            } else {
                let (full, mut guard) =
                    filled.wait_timeout_while(guard, PATIENCE, |place| *place == 0).unwrap();
                assert!(full);
                let item = std::mem::take(&mut *guard);
                emptied.notify(1);
                drop(guard);
                sum.update(|sum| sum + item).unwrap();
            }
        }
    });
    assert_eq!(sum.get(), Ok(ROUNDS * (ROUNDS + 1)));
}

fn all_who_wait_are_notified<S: Spawner>() {
    let lock = Lock::new().unwrap();
    let changed = Condition::new().unwrap();
    let (round, there) = (Plain::new(), Plain::new());
    S::all(4, |_| {
        for next in 1..=ROUNDS / 4 {
            let guard = lock.lock().unwrap();
            there.add(1);
            if there.get() == 4 * next {
                round.set(next);
                changed.notify_all();
            }
            let guard = changed.wait_while(guard, |_| round.get() < next).unwrap();
            drop(guard);
        }
    });
    assert_eq!(there.get(), ROUNDS);
}

fn a_barrier_shows_what_all_have_written<S: Spawner>() {
    let barrier = Barrier::new(4).unwrap();
    let words: [Plain; 4] = Default::default();
    S::all(4, |party| {
        for round in 1..=ROUNDS / 4 {
            words[party].set(round);
            barrier.wait_timeout(PATIENCE).unwrap();
            assert!(words.iter().all(|word| word.get() == round), "all have written");
            // Nobody writes the next round while another thread still reads this one.
            barrier.wait().unwrap();
        }
    });
    assert_eq!(barrier.n_waiting(), Ok(0));
}
