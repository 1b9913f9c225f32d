//! Chooses which of many waiters wake up often.
//!
//! A wake-up may be lost when the process that should send it dies, or the process that received it. So nobody sleeps
//! longer than a slice without looking. But 500 processes that look 25 times a second keep a CPU busy for 17 % of its
//! time. Two processes that look do the same job, and the others may rest.
//!
//! A waiter's first slice is short, and most waits end in it: they pay nothing for what follows. After it, two of the
//! waiters *watch*: they go on in short slices, and each leaves a [`Promise`] in shared memory to be back in time. The
//! others *rest*: about [`DEPUTIES`] of them for at most [`DEPUTY_REST_MAX`], the rest of a larger crowd for
//! [`REST_MAX`]. A watcher checks whether the other watcher keeps its promise, and calls a resting waiter if it does
//! not. A waiter that leaves while nobody watches calls one as well. A waiter that is called takes the free place, or
//! rests on.
//!
//! The two watchers are of different processes if possible, because threads of one process die together. A waiter that
//! finds both places taken by one other process takes one of them. A watcher beside a thread of its own process calls
//! others, each time its slice ends, until one of another process has come.
//!
//! | what dies | noticed after, at most |
//! |---|---|
//! | any process that others must look for | one slice, by the watchers |
//! | one watcher | two slices and a half, by the other one, which has looked after everything else all the time |
//! | both watchers within that time | the rest of a deputy: 20 ms for each waiter, at most [`DEPUTY_REST_MAX`] |
//! | one process with both watchers, before a waiter of another process took a place | as above |
//! | both watchers and all deputies within that time | [`REST_MAX`] |
//!
//! Deputies are drawn by lot, so that no other waiter needs to know them, and drawn anew when the size of the crowd
//! changes.
//!
//! # Invariants
//! 1. A waiter rests only after it has seen two promises that still count.
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
/// About how many of the resting waiters wake up more often: this many members of a crowd may be killed without a
/// delay.
const DEPUTIES: u32 = 20;
/// How much each waiter adds to the rest of all: so one of them wakes up about this often even if nobody watches.
const REST_EACH: Duration = Duration::from_millis(20);
/// The longest sleep of a deputy.
const DEPUTY_REST_MAX: Duration = REST_EACH.saturating_mul(DEPUTIES);

/// The promises of the two watchers; 0 if there is no promise.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Watch<W: Words = Shared> {
    promises: [W::Word64; 2],
    /// When a process last looked for the dead, as a [`SharedTime`]; for the processes that look.
    pub last_look: W::Word64,
}

/// The other waiters for the same thing.
pub trait Crowd {
    /// About how many there are.
    fn count(&self) -> u32;

    /// Wakes one of the sleepers, if there are any.
    fn call(&self);

    /// Wakes a waiter that may watch beside a thread of the caller's process: one of another process, if that is known.
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
    /// Whether its newest sleep ended with its slice.
    has_slept_through: bool,
    /// Whether it has looked around before it slept.
    has_looked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It has not slept for a whole slice yet.
    Fresh,
    /// It made this promise in this word.
    Watches(usize, Promise),
    Rests,
}

impl<W: Words> Watch<W> {
    /// How many waiters watch at this moment. The waiters of a model never do.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.kept(SharedTime::now()).iter().flatten().count()
    }

    /// How many processes the watchers belong to.
    #[must_use]
    pub fn watching_processes(&self) -> usize {
        match self.kept(SharedTime::now()) {
            [Some(one), Some(other)] if one.is_of(other.mark()) => 1,
            kept => kept.iter().flatten().count(),
        }
    }

    /// The promises that still count.
    fn kept(&self, now: SharedTime) -> [Option<Promise>; 2] {
        let [one, other] = &self.promises;
        [one, other]
            .map(|word| Some(Promise::from_bits(word.load(Ordering::Relaxed))).filter(|it| it.is_kept(now)))
    }

    /// Replaces the promise in a word that belongs to the caller, or that no longer counts.
    fn promise(&self, word: usize, from: Promise, to: Promise) -> bool {
        self.promises.get(word).is_some_and(|promise| promise.exchange(from.to_bits(), to.to_bits()))
    }

    /// Chooses the next role of a waiter that has slept for a slice.
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
    /// Makes a waiter that begins to wait, as one of a crowd under this watch.
    pub fn new(watch: &'a Watch<W>, crowd: C) -> Self {
        Self { watch, crowd, role: Role::Fresh, has_slept_through: false, has_looked: false }
    }

    /// Whether it has not slept for a whole slice yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.role == Role::Fresh
    }

    /// Whether it has to look around before it sleeps, which it does only once.
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
            // It does so once a slice: if the called waiter called in turn, two threads would call each other for ever.
            Some(beside) if beside.is_of(own) && has_slept_through && self.crowd.count() > 2 => {
                self.crowd.call_another_process();
            }
            Some(_) => {}
        }
        SLICE
    }

    /// Records that it slept for the whole slice.
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

/// How long a waiter with this lot rests in a crowd of this size.
fn rest(crowd: u32, lot: u32) -> Duration {
    // Equally likely to be any number below `crowd`.
    let rank = u64::from(lot).wrapping_mul(u64::from(crowd)) >> u32::BITS;
    let limit = if rank < u64::from(DEPUTIES) { DEPUTY_REST_MAX } else { REST_MAX };
    REST_EACH.saturating_mul(crowd).clamp(SLICE, limit)
}

#[cfg(test)]
mod tests;
