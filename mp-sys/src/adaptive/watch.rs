//! Who of many waiters wakes up often.
//!
//! A wake-up may be lost with the process that should have given it, or that got it and died. So nobody sleeps longer than
//! a slice without looking. But 500 processes that look 25 times a second keep a CPU busy for 17 % of its time, and two that
//! look are as good: the others may rest.
//!
//! A waiter's first slice is a short one, and most waits end in it: they pay nothing for what follows. After it, two of the
//! waiters *watch*: they go on in short slices, and promise to be back by a [`Promise`] in shared memory. The others *rest*:
//! about [`DEPUTIES`] of them for [`DEPUTY_REST_MAX`] at most, the rest of a larger crowd for [`REST_MAX`]. Who watches looks whether the other one keeps its promise, and calls a resting waiter if it does not;
//! who leaves while nobody watches calls one as well. A waiter that is called takes the free place, or rests on.
//!
//! The two are of different processes if they can be, since threads of one process die together: whoever finds both places
//! with one other process takes one of them; and who watches beside a thread of its own process calls others, each time that
//! its slice ends, until one of another process has come.
//!
//! | what dies | noticed after, at most |
//! |---|---|
//! | any process, for which somebody must look | one slice, by who watches |
//! | one who watches | two slices and a half, by the other one, which has looked after everything else all the time |
//! | both who watch within that time | the rest of a deputy: 20 ms for each waiter, at most [`DEPUTY_REST_MAX`] |
//! | one with all who watch, before somebody of another process took a place | as above |
//! | both who watch and all deputies within that time | [`REST_MAX`] |
//!
//! Who is a deputy is drawn by lot, so that nobody else need know it, and anew when the crowd has another size.
//!
//! # Invariants
//! 1. A waiter rests only after it has seen two promises that were kept so far.
//! 2. All words here are hints: whatever they hold, nobody rests for longer than [`REST_MAX`].

mod promise;

use std::sync::atomic::Ordering;
use std::time::Duration;

use self::promise::{Mark, Promise};
use crate::deadline::SharedTime;
use crate::futex::SLICE;
use crate::word::{Shared, Word64, Words};

/// The longest sleep of a waiter that neither watches nor is a deputy.
pub const REST_MAX: Duration = Duration::from_secs(4);
/// About how many of those who rest wake up more often: so much of a crowd may be killed without a delay.
const DEPUTIES: u32 = 20;
/// How long each waiter adds to the rest of all: so somebody wakes up that often even if nobody watches.
const REST_EACH: Duration = Duration::from_millis(20);
/// The longest sleep of a deputy.
const DEPUTY_REST_MAX: Duration = REST_EACH.saturating_mul(DEPUTIES);

/// The promises of the two who watch; 0 if nobody promised.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Watch<W: Words = Shared> {
    promises: [W::Word64; 2],
    /// When somebody last looked for the dead, as [`SharedTime`] has it; for whoever does so.
    pub last_look: W::Word64,
}

/// The others who wait for the same thing.
pub trait Crowd {
    /// About how many there are.
    fn count(&self) -> u32;

    /// Wakes one of those who sleep, if there are any.
    fn call(&self);

    /// The same, for one that may watch beside a thread of the caller's process: of another process, where that is known.
    fn call_another_process(&self) {
        self.call();
    }
}

/// One waiter, for as long as it waits.
#[derive(Debug)]
pub struct Sleeper<'a, C: Crowd, W: Words = Shared> {
    watch: &'a Watch<W>,
    crowd: C,
    role: Role,
    /// Its newest sleep ended with its slice.
    has_slept_through: bool,
    /// It has looked around before it slept.
    has_looked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Has not slept for a whole slice yet.
    Fresh,
    /// Has this promise in this word.
    Watches(usize, Promise),
    Rests,
}

impl<W: Words> Watch<W> {
    /// How many watch at this moment; a model's waiters never do.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.kept(SharedTime::now()).iter().flatten().count()
    }

    /// Of how many processes they are.
    #[must_use]
    pub fn watching_processes(&self) -> usize {
        match self.kept(SharedTime::now()) {
            [Some(one), Some(other)] if one.is_of(other.mark()) => 1,
            kept => kept.iter().flatten().count(),
        }
    }

    /// The promises that are kept so far.
    fn kept(&self, now: SharedTime) -> [Option<Promise>; 2] {
        let [one, other] = &self.promises;
        [one, other]
            .map(|word| Some(Promise::from_bits(word.load(Ordering::Relaxed))).filter(|it| it.is_kept(now)))
    }

    /// Replaces the promise in a word that is the caller's, or that nobody keeps.
    fn promise(&self, word: usize, from: Promise, to: Promise) -> bool {
        self.promises.get(word).is_some_and(|promise| promise.exchange(from.to_bits(), to.to_bits()))
    }

    /// What a waiter that has slept for a slice does next.
    fn next_role(&self, role: Role, now: SharedTime, own: Mark) -> Role {
        let promise = Promise::new(now, own);
        if let Role::Watches(word, promised) = role
            && self.promise(word, promised, promise)
        {
            return Role::Watches(word, promise);
        }
        for (word, shared) in self.promises.iter().enumerate() {
            let found = Promise::from_bits(shared.load(Ordering::Relaxed));
            if !found.is_kept(now) && self.promise(word, found, promise) {
                return Role::Watches(word, promise);
            }
        }
        // Two threads of one process would die together.
        if let [Some(one), Some(other)] = self.kept(now)
            && one.is_of(other.mark())
            && !one.is_of(own)
            && self.promise(1, other, promise)
        {
            return Role::Watches(1, promise);
        }
        Role::Rests
    }
}

impl<'a, C: Crowd, W: Words> Sleeper<'a, C, W> {
    /// A waiter that begins to wait, one of a crowd under this watch.
    pub fn new(watch: &'a Watch<W>, crowd: C) -> Self {
        Self { watch, crowd, role: Role::Fresh, has_slept_through: false, has_looked: false }
    }

    /// Whether it has not slept for a whole slice yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.role == Role::Fresh
    }

    /// Whether it has to look around before it sleeps: the first time.
    pub(super) fn is_to_look(&mut self) -> bool {
        !std::mem::replace(&mut self.has_looked, true)
    }

    /// How long it may sleep now.
    pub(super) fn next_slice(&mut self) -> Duration {
        if self.is_fresh() {
            return SLICE;
        }
        let own = Mark::current();
        // Threads of one process have different addresses here, and forked processes different marks.
        let lot = own.lot(std::ptr::from_ref(self).addr());
        self.next_slice_at(SharedTime::now(), own, lot)
    }

    fn next_slice_at(&mut self, now: SharedTime, own: Mark, lot: u32) -> Duration {
        let has_slept_through = std::mem::take(&mut self.has_slept_through);
        self.role = self.watch.next_role(self.role, now, own);
        let Role::Watches(word, _) = self.role else {
            return rest(self.crowd.count(), lot);
        };
        let [one, other] = self.watch.kept(now);
        match if word == 0 { other } else { one } {
            None => self.crowd.call(),
            // Once a slice: if one that was called called in turn, two threads would call each other for ever.
            Some(beside) if beside.is_of(own) && has_slept_through && self.crowd.count() > 2 => {
                self.crowd.call_another_process();
            }
            Some(_) => {}
        }
        SLICE
    }

    /// It slept for the whole slice.
    pub(super) fn slept_through(&mut self) {
        self.has_slept_through = true;
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
            self.watch.promise(word, promised, Promise::NONE);
        }
        if self.watch.watchers() == 0 {
            self.crowd.call();
        }
    }
}

/// How long one of a crowd rests that has drawn this lot.
fn rest(crowd: u32, lot: u32) -> Duration {
    // Equally likely to be any number below `crowd`.
    let rank = u64::from(lot).wrapping_mul(u64::from(crowd)) >> u32::BITS;
    let limit = if rank < u64::from(DEPUTIES) { DEPUTY_REST_MAX } else { REST_MAX };
    REST_EACH.saturating_mul(crowd).clamp(SLICE, limit)
}

#[cfg(test)]
mod tests;
