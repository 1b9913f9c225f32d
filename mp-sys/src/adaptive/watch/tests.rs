//! Tests of the watch, driven by hand: the tests provide the clock and the crowd.

use std::cell::Cell;

use super::promise::KEPT_FOR;
use super::*;

struct Others<'a>(&'a Cell<u32>);

impl Crowd for Others<'_> {
    fn count(&self) -> u32 {
        1000
    }

    fn call(&self) {
        self.0.set(self.0.get() + 1);
    }
}

/// The lot of a waiter that rests as long as it may.
const NO_DEPUTY: u32 = u32::MAX;

/// The mark of a process of its own, unless the test passes the same number twice.
fn process(number: u64) -> Mark {
    Mark::of(number)
}

/// A moment on the test's clock, in milliseconds.
fn at(millis: u64) -> SharedTime {
    SharedTime::from_bits((1_000 + millis) * 1_000_000)
}

fn slept<'a>(watch: &'a Watch, calls: &'a Cell<u32>) -> Sleeper<'a, Others<'a>> {
    let mut sleeper = Sleeper::new(watch, Others(calls));
    assert_eq!(sleeper.next_slice(), SLICE, "the first slice of each waiter is short");
    sleeper.slept_through();
    sleeper
}

/// The next slices of waiters that slept through the last one, in these processes.
fn slices(waiters: &mut [Sleeper<'_, Others<'_>>], millis: u64, processes: &[u64]) -> Vec<Duration> {
    let next = |(waiter, number): (&mut Sleeper<'_, _>, &u64)| {
        waiter.slept_through();
        waiter.next_slice_at(at(millis), process(*number), NO_DEPUTY)
    };
    waiters.iter_mut().zip(processes).map(next).collect()
}

#[test]
fn two_watch_and_the_others_rest() {
    let (watch, calls) = (Watch::default(), Cell::new(0));
    let mut waiters: Vec<_> = (0..5).map(|_| slept(&watch, &calls)).collect();
    let first = slices(&mut waiters, 0, &[1, 2, 3, 4, 5]);
    assert_eq!(first, [SLICE, SLICE, REST_MAX, REST_MAX, REST_MAX]);
    assert_eq!(calls.get(), 1, "the first waiter called a second one");
    assert_eq!(slices(&mut waiters, 40, &[1, 2, 3, 4, 5]), first, "every waiter keeps its role");
    assert_eq!(calls.get(), 1);
}

#[test]
fn a_waiter_that_leaves_makes_room_and_calls_another_if_nobody_watches() {
    let (watch, calls) = (Watch::default(), Cell::new(0));
    let mut waiters: Vec<_> = (0..3).map(|_| slept(&watch, &calls)).collect();
    waiters.iter_mut().for_each(|waiter| _ = waiter.next_slice());
    calls.set(0);
    drop(waiters.remove(0));
    assert_eq!(calls.get(), 0, "the other one watches, and calls once it sees that it is alone");
    assert_eq!(waiters[0].next_slice(), SLICE);
    assert_eq!(calls.get(), 1);
    drop(waiters.remove(0));
    assert_eq!(calls.get(), 2);
    assert_eq!(waiters[0].next_slice(), SLICE, "the waiter that was called watches");
}

#[test]
fn a_promise_that_is_not_kept_no_longer_counts() {
    let (watch, own) = (Watch::<Shared>::default(), process(1));
    let first = watch.next_role(Role::Rests, at(0), own);
    assert_eq!(first, Role::Watches(0, Promise::new(at(0), own)));
    let kept = |millis| watch.kept(at(millis))[0].is_some();
    let overdue = u64::try_from(KEPT_FOR.as_millis()).unwrap();
    // A promise counts in steps of a millisecond.
    assert!(kept(0) && kept(overdue - 2) && !kept(overdue));
    let second = watch.next_role(Role::Rests, at(overdue), process(2));
    assert_eq!(second, Role::Watches(0, Promise::new(at(overdue), process(2))), "the place is taken over");
    let late = watch.next_role(first, at(overdue), own);
    assert_eq!(
        late,
        Role::Watches(1, Promise::new(at(overdue), own)),
        "a waiter that comes late takes the free place"
    );
    assert_eq!(watch.next_role(Role::Rests, at(overdue), process(3)), Role::Rests);
}

#[test]
fn a_promise_by_a_clock_that_is_ahead_or_behind_does_not_count() {
    for theirs in [at(100_000_000), at(0)] {
        let watch = Watch::<Shared>::default();
        let now = at(50_000_000);
        for (word, number) in [(0, 1), (1, 2)] {
            let promised = watch.next_role(Role::Rests, theirs, process(number));
            assert_eq!(promised, Role::Watches(word, Promise::new(theirs, process(number))));
        }
        let role = watch.next_role(Role::Rests, now, process(3));
        assert!(matches!(role, Role::Watches(..)), "{theirs:?} keeps nobody from watching: {role:?}");
    }
}

#[test]
fn the_watching_places_move_to_different_processes() {
    let (watch, calls) = (Watch::default(), Cell::new(0));
    let mut waiters: Vec<_> = (0..4).map(|_| slept(&watch, &calls)).collect();
    // Two threads of one process came first.
    assert_eq!(slices(&mut waiters[..2], 0, &[7, 7]), [SLICE, SLICE]);
    assert_eq!(watch.kept(at(0)).map(|promise| promise.unwrap().mark()), [process(7); 2]);
    let all = [7, 7, 8, 9];
    assert_eq!(
        slices(&mut waiters, 10, &all)[2..],
        [SLICE, REST_MAX],
        "one of another process takes a place"
    );
    assert_eq!(watch.kept(at(10)).map(|promise| promise.unwrap().mark()), [7, 8].map(process));
    let next = slices(&mut waiters, 40, &all);
    assert_eq!(next, [SLICE, REST_MAX, SLICE, REST_MAX], "the waiter that lost its place rests");
    // The process with the first threads dies: the other watcher has looked all the time.
    assert_eq!(slices(&mut waiters[2..], 80, &all[2..]), [SLICE, REST_MAX]);
    assert_eq!(slices(&mut waiters[2..], 120, &all[2..]), [SLICE, SLICE], "and is not alone for long");
}

#[test]
fn two_watching_threads_of_one_process_call_others_once_a_slice() {
    let (watch, calls) = (Watch::default(), Cell::new(0));
    let mut waiters: Vec<_> = (0..3).map(|_| slept(&watch, &calls)).collect();
    assert_eq!(slices(&mut waiters, 0, &[7, 7, 7]), [SLICE, SLICE, REST_MAX], "nobody else is there");
    calls.set(0);
    slices(&mut waiters, 40, &[7, 7, 7]);
    assert_eq!(calls.get(), 2, "each of the two calls one");
    // The waiter that was called is of the same process, so it does not call in turn.
    waiters.iter_mut().for_each(|waiter| _ = waiter.next_slice_at(at(41), process(7), NO_DEPUTY));
    assert_eq!(calls.get(), 2);
    slices(&mut waiters[..2], 80, &[7, 8]);
    assert_eq!(calls.get(), 3, "beside another process nobody is called");
}

#[test]
fn the_length_of_a_rest_has_limits() {
    for lot in [0, NO_DEPUTY] {
        assert_eq!(rest(0, lot), SLICE);
        assert_eq!(rest(10, lot), Duration::from_millis(200));
        assert_eq!(rest(20, lot), DEPUTY_REST_MAX);
    }
    assert_eq!(rest(21, NO_DEPUTY), Duration::from_millis(420));
    assert_eq!(rest(200, NO_DEPUTY), REST_MAX);
    assert_eq!(rest(u32::MAX, NO_DEPUTY), REST_MAX);
    assert_eq!(rest(21, 0), DEPUTY_REST_MAX);
    assert_eq!(rest(u32::MAX, 0), DEPUTY_REST_MAX);
}

#[test]
fn the_number_of_deputies_is_about_right() {
    // Forked processes, whose waiters have the same address; threads of one process, a stack apart; both.
    let drawn: [fn(u32) -> u32; 3] = [
        |number| process(u64::from(number)).lot(0x7ffd_1234_5678),
        |number| process(7).lot(0x7f00_0000_0000 + number as usize * 0x20_1000),
        |number| process(u64::from(number / 10)).lot(0x7f00_0000_0000 + number as usize % 10 * 0x80_4000),
    ];
    for lots in drawn {
        for crowd in [40, 500, 5_000] {
            let deputies = (0..crowd).filter(|number| rest(crowd, lots(*number)) == DEPUTY_REST_MAX).count();
            assert!((8..=36).contains(&deputies), "{deputies} of {crowd}");
        }
    }
}

/// All watchers are killed at the same moment, and so are most of the others: then a resting waiter wakes up.
#[test]
fn deputies_look_after_a_crowd_without_watchers() {
    let crowd = 500;
    let wakes = |number: u32| rest(crowd, process(u64::from(number)).lot(0x7ffd_1234_5678));
    for survivors in [(0, 250), (250, 500), (400, 500)] {
        let first = (survivors.0..survivors.1).map(wakes).min().unwrap();
        assert_eq!(first, DEPUTY_REST_MAX, "of {survivors:?}");
    }
}
