//! Who of many waiters wakes up often.
//!
//! A wake-up may be lost with the process that should have given it, or that got it and died. So nobody sleeps longer than
//! a slice without looking. But 500 processes that look 25 times a second keep a CPU busy for 17 % of its time, and two that
//! look are as good: the others may rest.
//!
//! A waiter's first slice is a short one, and most waits end in it: they pay nothing for what follows. After it, two of the
//! waiters *watch* (they go on in short slices, and promise by a time in shared memory to be back), and the others *rest* for
//! [`REST_MAX`] at most. Who watches looks whether the other one keeps its promise, and calls a resting waiter if it does not;
//! who leaves while nobody watches calls one as well. A waiter that is called takes the free place, or rests on.
//!
//! | what dies | noticed after, at most |
//! |---|---|
//! | any process, for which somebody must look | one slice, by who watches |
//! | one who watches | two slices and a half, by the other one, which has looked after everything else all the time |
//! | both who watch within that time | the rest of those who rest: 20 ms for each that there are, at most [`REST_MAX`] |
//!
//! # Invariants
//! 1. A waiter rests only after it has seen two promises that were kept so far.
//! 2. All words here are hints: whatever they hold, nobody rests for longer than [`REST_MAX`].

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::deadline::now_nanos;
use crate::futex::SLICE;
use crate::word::{Shared, Word64, Words};

/// The longest sleep of a waiter that does not watch.
pub const REST_MAX: Duration = Duration::from_millis(400);
/// How long each waiter adds to the rest of all: so somebody wakes up that often even if nobody watches.
const REST_EACH: Duration = Duration::from_millis(20);

const SLICE_NANOS: u64 = 40_000_000;
/// How late a promise may be kept on a busy machine.
const GRACE_NANOS: u64 = SLICE_NANOS / 2;

/// The promises of the two who watch: when they will be back, in nanoseconds since boot; 0 if nobody promised.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Watch<W: Words = Shared> {
    until: [W::Word64; 2],
    /// When somebody last looked for the dead, in nanoseconds since boot; for whoever does so.
    pub last_look: W::Word64,
}

/// The others who wait for the same thing.
pub trait Crowd {
    /// About how many there are.
    fn count(&self) -> u32;

    /// Wakes one of those who sleep, if there are any.
    fn call(&self);
}

/// One waiter, for as long as it waits.
#[derive(Debug)]
pub struct Sleeper<'a, C: Crowd, W: Words = Shared> {
    watch: &'a Watch<W>,
    crowd: C,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Has not slept for a whole slice yet.
    Fresh,
    /// Promised to be back at this time, in this word.
    Watches(usize, u64),
    Rests,
}

impl<W: Words> Watch<W> {
    /// How many watch at this moment; a model's waiters never do.
    #[must_use]
    pub fn watchers(&self) -> usize {
        let now = now_nanos();
        (0..self.until.len()).filter(|word| self.is_kept(*word, now)).count()
    }

    fn is_kept(&self, word: usize, now: u64) -> bool {
        self.until.get(word).is_some_and(|until| is_live(until.load(Ordering::Relaxed), now))
    }

    fn is_watched(&self, now: u64) -> bool {
        self.is_kept(0, now) || self.is_kept(1, now)
    }

    /// Replaces the promise in a word that is the caller's, or that nobody keeps.
    fn promise(&self, word: usize, from: u64, to: u64) -> bool {
        self.until.get(word).is_some_and(|until| until.exchange(from, to))
    }

    /// What a waiter that has slept for a slice does next.
    fn next_role(&self, role: Role, now: u64) -> Role {
        let until = now.saturating_add(SLICE_NANOS);
        if let Role::Watches(word, promised) = role
            && self.promise(word, promised, until)
        {
            return Role::Watches(word, until);
        }
        for (word, shared) in self.until.iter().enumerate() {
            let found = shared.load(Ordering::Relaxed);
            if !is_live(found, now) && self.promise(word, found, until) {
                return Role::Watches(word, until);
            }
        }
        Role::Rests
    }
}

/// Whether a promise is kept so far. One that lies too far ahead is nobody's: that is another clock, or no promise.
fn is_live(until: u64, now: u64) -> bool {
    until != 0
        && until.saturating_add(GRACE_NANOS) > now
        && until <= now.saturating_add(SLICE_NANOS.saturating_mul(2))
}

impl<'a, C: Crowd, W: Words> Sleeper<'a, C, W> {
    /// A waiter that begins to wait, one of a crowd under this watch.
    pub fn new(watch: &'a Watch<W>, crowd: C) -> Self {
        Self { watch, crowd, role: Role::Fresh }
    }

    /// Whether it has not slept for a whole slice yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.role == Role::Fresh
    }

    /// How long it may sleep now.
    pub(super) fn next_slice(&mut self) -> Duration {
        if self.is_fresh() {
            return SLICE;
        }
        let now = now_nanos();
        self.role = self.watch.next_role(self.role, now);
        if let Role::Watches(word, _) = self.role {
            if !self.watch.is_kept(word ^ 1, now) {
                self.crowd.call();
            }
            return SLICE;
        }
        rest(self.crowd.count())
    }

    /// It slept for the whole slice.
    pub(super) fn slept_through(&mut self) {
        // A model has no slices, and all of its waiters stay fresh.
        if W::SPINS && self.is_fresh() {
            self.role = Role::Rests;
        }
    }
}

impl<C: Crowd, W: Words> Drop for Sleeper<'_, C, W> {
    fn drop(&mut self) {
        if self.is_fresh() {
            return;
        }
        if let Role::Watches(word, promised) = self.role {
            self.watch.promise(word, promised, 0);
        }
        if !self.watch.is_watched(now_nanos()) {
            self.crowd.call();
        }
    }
}

fn rest(crowd: u32) -> Duration {
    REST_EACH.saturating_mul(crowd).clamp(SLICE, REST_MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

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

    fn slept<'a>(watch: &'a Watch, calls: &'a Cell<u32>) -> Sleeper<'a, Others<'a>> {
        let mut sleeper = Sleeper::new(watch, Others(calls));
        assert_eq!(sleeper.next_slice(), SLICE, "the first slice of everybody is short");
        sleeper.slept_through();
        sleeper
    }

    #[test]
    fn two_watch_and_the_others_rest() {
        let (watch, calls) = (Watch::default(), Cell::new(0));
        let mut waiters: Vec<_> = (0..5).map(|_| slept(&watch, &calls)).collect();
        let slices: Vec<_> = waiters.iter_mut().map(Sleeper::next_slice).collect();
        assert_eq!(slices, [SLICE, SLICE, REST_MAX, REST_MAX, REST_MAX]);
        assert_eq!(calls.get(), 1, "the first one called for a second one");
        let again: Vec<_> = waiters.iter_mut().map(Sleeper::next_slice).collect();
        assert_eq!(again, slices, "everybody keeps its part");
        assert_eq!(calls.get(), 1);
    }

    #[test]
    fn who_leaves_makes_room_and_calls_if_nobody_watches() {
        let (watch, calls) = (Watch::default(), Cell::new(0));
        let mut waiters: Vec<_> = (0..3).map(|_| slept(&watch, &calls)).collect();
        waiters.iter_mut().for_each(|waiter| _ = waiter.next_slice());
        calls.set(0);
        drop(waiters.remove(0));
        assert_eq!(calls.get(), 0, "the other one watches, and calls when it sees that it is alone");
        assert_eq!(waiters[0].next_slice(), SLICE);
        assert_eq!(calls.get(), 1);
        drop(waiters.remove(0));
        assert_eq!(calls.get(), 2);
        assert_eq!(waiters[0].next_slice(), SLICE, "the one that was called watches");
    }

    #[test]
    fn a_promise_that_is_not_kept_is_nobodys() {
        let watch: Watch = Watch::default();
        let first = watch.next_role(Role::Rests, 1000);
        assert_eq!(first, Role::Watches(0, 1000 + SLICE_NANOS));
        let overdue = 1000 + SLICE_NANOS + GRACE_NANOS;
        assert!(watch.is_kept(0, overdue - 1));
        assert!(!watch.is_kept(0, overdue));
        let second = watch.next_role(Role::Rests, overdue);
        assert_eq!(second, Role::Watches(0, overdue + SLICE_NANOS), "the place is taken over");
        let late = watch.next_role(first, overdue);
        assert_eq!(late, Role::Watches(1, overdue + SLICE_NANOS), "who comes late takes what is free");
        assert_eq!(watch.next_role(Role::Rests, overdue), Role::Rests);
        assert!(!is_live(u64::MAX, overdue), "a time of another clock is no promise");
    }

    #[test]
    fn the_rest_has_limits() {
        assert_eq!(rest(0), SLICE);
        assert_eq!(rest(10), Duration::from_millis(200));
        assert_eq!(rest(20), REST_MAX);
        assert_eq!(rest(u32::MAX), REST_MAX);
        assert_eq!(u128::from(SLICE_NANOS), SLICE.as_nanos());
    }
}
