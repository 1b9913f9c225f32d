//! The protocol of waiting places, generic over the kind of word.
//!
//! Each waiting thread has a place with its own word:
//!
//! | state, in the lower two bits | meaning | stored by |
//! |---|---|---|
//! | [`IDLE`] | nobody waits here | the waiter that leaves the place, or a process that finds it dead |
//! | [`WAITING`] | its owner waits | the owner, before it releases its lock |
//! | [`NOTIFIED`] | a `notify` chose it | the notifier, by one compare-and-exchange |
//!
//! The upper bits are those of the waiter's ticket. So a notifier chooses the waiter that it saw, and never one that took the
//! place later (unless the notifier slept for 2^30 waits in between).
//!
//! `notify(n)` chooses the n waiters that came first, and wakes them. It never waits for a waiter, so a dead or frozen one
//! delays nobody. A waiter whose time is up leaves by the same compare-and-exchange, so it was either notified or not, and
//! exactly one waiter uses a notification.
//!
//! If a notified process dies before it has used its notification, the notification goes to another waiter. A waiter that has
//! waited for a slice looks for places of dead processes, and passes on the notifications that it finds, but only to waiters
//! that were already waiting when the notification was sent. It ends the wait of the dead process first, so that no notifier
//! chooses it afterwards.
//!
//! # Why no notification is lost
//! A waiter is [`WAITING`] before it releases the lock. A notifier changes the protected data under the lock, so it comes
//! after the release, and finds the waiter. The waiter then waits as long as its word is unchanged.

use std::ptr;
use std::sync::atomic::Ordering;

use mp_sys::adaptive::{Budget, Crowd, Sleeper};
use mp_sys::cells::{WaiterPlace, WaitersHead};
use mp_sys::crash;
use mp_sys::deadline::Deadline;
use mp_sys::word::{Shared, Word64, Words};

use crate::sync::dead::{PAUSE, Witness};

const IDLE: u32 = 0;
const WAITING: u32 = 1;
const NOTIFIED: u32 = 2;
const STATE_BITS: u32 = 2;
const STATE_MASK: u32 = (1 << STATE_BITS) - 1;

/// No owner.
const NOBODY: u64 = 0;

/// How many waiters one look asks about.
const ASKED_AT_ONCE: usize = 32;

/// Returns the word of a waiter with this ticket.
fn waiting(ticket: u64) -> u32 {
    // The lower 30 bits always fit.
    let ticket = u32::try_from(ticket & u64::from(u32::MAX >> STATE_BITS)).unwrap_or_default();
    ticket << STATE_BITS | WAITING
}

/// Returns the word that follows `waiting` when the waiter is notified.
fn notified(waiting: u32) -> u32 {
    waiting & !STATE_MASK | NOTIFIED
}

fn state(word: u32) -> u32 {
    word & STATE_MASK
}

/// Why a waiter goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// A notifier chose it.
    Notified,
    /// It waited for a slice, and it was its turn to look after the others. Now its caller may check its own condition.
    Looked,
    /// No notifier chose it before its deadline.
    TimedOut,
}

/// A waiter that a notifier can choose.
#[derive(Debug)]
struct Chosen<'a, W: Words> {
    ticket: u64,
    owner: u64,
    place: &'a WaiterPlace<W>,
}

/// The words of a condition.
#[derive(Debug)]
pub(super) struct Places<'a, W: Words = Shared> {
    pub(super) head: &'a WaitersHead<W>,
    pub(super) places: &'a [WaiterPlace<W>],
}

impl<'a, W: Words> Places<'a, W> {
    /// Returns the places that were ever taken.
    fn used(&self) -> &'a [WaiterPlace<W>] {
        let used = usize::try_from(self.head.used.load(Ordering::SeqCst)).unwrap_or(usize::MAX);
        self.places.get(..used.min(self.places.len())).unwrap_or_default()
    }

    /// Takes a place, preferably that at `hint`, and returns its index. The caller is waiting from here on.
    pub(super) fn take(
        &self,
        own: u64,
        hint: usize,
        witness: &impl Witness<W>,
    ) -> Option<(usize, &'a WaiterPlace<W>)> {
        let free = |place: &WaiterPlace<W>| place.owner.step(NOBODY, own);
        // A thread that waits repeatedly takes the same place, whose cache line no other CPU has to give up.
        let hinted = self.places.get(hint).filter(|place| free(place)).map(|_| hint);
        let at = hinted.or_else(|| self.places.iter().position(free)).or_else(|| {
            self.clear_among(|_| true, own, witness);
            self.places.iter().position(free)
        })?;
        crash::point();
        let used = u64::try_from(at).unwrap_or(u64::MAX).saturating_add(1);
        // The number never decreases.
        if self.head.used.load(Ordering::SeqCst) < used {
            self.head.used.fetch_max(used, Ordering::SeqCst);
        }
        let place = self.places.get(at)?;
        let ticket = self.head.tickets.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        place.ticket.store(ticket, Ordering::SeqCst);
        crash::point();
        place.signal.reset(waiting(ticket));
        crash::point();
        Some((at, place))
    }

    /// Makes a waiter that begins to wait at `place`, in slices.
    pub(super) fn sleeper(&self, place: &'a WaiterPlace<W>) -> Sleeper<'a, Others<'a, W>, W> {
        Sleeper::new(&self.head.watch, Others { places: Places { ..*self }, own: place })
    }

    /// Waits at the caller's place.
    pub(super) fn wait_at(
        &self,
        (place, own): (&WaiterPlace<W>, u64),
        sleeper: &mut Sleeper<'_, Others<'_, W>, W>,
        may_look: bool,
        (budget, deadline): (&Budget, Deadline),
        witness: &impl Witness<W>,
    ) -> Woken {
        let waits = Self::word_of(place);
        loop {
            if place.signal.wait_slice(waits, budget, deadline, sleeper).is_some() {
                return Woken::Notified;
            }
            let looked = witness.is_turn_to_look(&self.head.watch.last_look, PAUSE);
            if looked {
                self.clear_those_of_the_dead(own, witness);
            }
            if deadline.has_passed() {
                // Either this waiter leaves, or a notifier has chosen it at the last moment.
                let left = place.signal.give_up(waits, IDLE);
                return if left { Woken::TimedOut } else { Woken::Notified };
            }
            if looked && may_look {
                return Woken::Looked;
            }
        }
    }

    /// Returns the word of the caller's place while nobody has chosen the caller.
    pub(super) fn word_of(place: &WaiterPlace<W>) -> u32 {
        waiting(place.ticket.load(Ordering::SeqCst))
    }

    /// Chooses at most `count` waiters, those that came first, and returns how many it chose. Dead waiters that nobody has
    /// found yet are included.
    pub(super) fn notify(&self, count: usize) -> usize {
        let newest = self.head.tickets.load(Ordering::SeqCst);
        self.notify_until(count, newest)
    }

    /// Like [`notify`](Self::notify), but asks about each waiter that it chose, and chooses another one instead of a dead
    /// one. So all counted waiters were alive, except for a dead one whose place another process has already begun to clear.
    pub(super) fn notify_living(&self, count: usize, own: u64, witness: &impl Witness<W>) -> usize {
        let newest = self.head.tickets.load(Ordering::SeqCst);
        let (mut wanted, mut living) = (count, 0_usize);
        let mut is_dead = witness.look();
        // This loop ends: each turn chooses some of the waiters, and none that came later.
        while wanted > 0 {
            let chosen = self.choose_oldest(wanted, newest);
            if chosen.is_empty() {
                break;
            }
            for Chosen { ticket, owner, place } in chosen {
                let has_gone_on = place.ticket.load(Ordering::SeqCst) != ticket;
                if has_gone_on || owner == own || !is_dead(owner) {
                    (living, wanted) = (living.saturating_add(1), wanted.saturating_sub(1));
                } else if place.owner.step(owner, own) {
                    crash::point();
                    self.vacate(place);
                } else {
                    // Another process has found it, and passes its notification on.
                    wanted = wanted.saturating_sub(1);
                }
            }
        }
        living
    }

    /// Chooses among the waiters with a ticket up to `newest`.
    pub(super) fn notify_until(&self, count: usize, newest: u64) -> usize {
        if count == 1 {
            return usize::from(self.notify_oldest(newest));
        }
        self.choose_oldest(count, newest).len()
    }

    /// Chooses the waiters that came first.
    fn choose_oldest(&self, count: usize, newest: u64) -> Vec<Chosen<'a, W>> {
        let mut found: Vec<(u64, &WaiterPlace<W>)> = self.waiting_until(newest).collect();
        if found.len() > count {
            found.sort_unstable_by_key(|(ticket, _)| *ticket);
        }
        let choose = |(ticket, place): (u64, &'a WaiterPlace<W>)| {
            // Before the wake-up: a process that finds the waiter dead takes the place over.
            let owner = place.owner.load(Ordering::SeqCst);
            Self::choose(place, ticket, newest).then_some(Chosen { ticket, owner, place })
        };
        found.into_iter().filter_map(choose).inspect(|_| crash::point()).take(count).collect()
    }

    /// Handles the common case without a list.
    fn notify_oldest(&self, newest: u64) -> bool {
        // This loop ends: a waiter that can no longer be chosen has left, or another notifier chose it.
        while let Some((ticket, place)) = self.waiting_until(newest).min_by_key(|(ticket, _)| *ticket) {
            if Self::choose(place, ticket, newest) {
                crash::point();
                return true;
            }
        }
        false
    }

    /// Returns the waiters with their tickets.
    fn waiting_until(&self, newest: u64) -> impl Iterator<Item = (u64, &'a WaiterPlace<W>)> {
        let with_ticket = |place: &'a WaiterPlace<W>| (place.ticket.load(Ordering::SeqCst), place);
        self.used().iter().map(with_ticket).filter(move |(ticket, place)| {
            *ticket != 0 && *ticket <= newest && place.signal.get() == waiting(*ticket)
        })
    }

    fn choose(place: &WaiterPlace<W>, ticket: u64, newest: u64) -> bool {
        // The maximum, because of two notifiers at this point, the one with the smaller number may win the word, but not
        // before the other one has counted.
        place.notified_at.fetch_max(newest, Ordering::SeqCst);
        crash::point();
        let waits = waiting(ticket);
        place.signal.update(1, |word| (word == waits).then_some(notified(waits))) == waits
    }

    /// Returns how many wait at this moment.
    pub(super) fn n_waiting(&self) -> usize {
        self.used().iter().filter(|place| state(place.signal.get()) == WAITING).count()
    }

    /// Frees the places of dead processes, and passes on the notifications that they did not use.
    ///
    /// Each question costs two system calls. Each look asks about [`ASKED_AT_ONCE`] of the waiters, in turn, and about all
    /// that were notified. A dead waiter does no harm before it is notified.
    pub(super) fn clear_those_of_the_dead(&self, own: u64, witness: &impl Witness<W>) {
        let turns = self.used().len().div_ceil(ASKED_AT_ONCE).max(1);
        let looks = usize::try_from(self.head.looks.fetch_add(1, Ordering::Relaxed)).unwrap_or_default();
        let turn = looks.checked_rem(turns).unwrap_or_default();
        self.clear_among(|at| at / ASKED_AT_ONCE == turn, own, witness);
    }

    fn clear_among(&self, asks_about: impl Fn(usize) -> bool, own: u64, witness: &impl Witness<W>) {
        let mut is_dead = witness.look();
        for (at, place) in self.used().iter().enumerate() {
            let owner = place.owner.load(Ordering::SeqCst);
            if owner == NOBODY || state(place.signal.get()) == WAITING && !asks_about(at) {
                continue;
            }
            // The process that clears the place takes it over first. If it dies as well, the next process does all of this
            // again.
            if !is_dead(owner) || !place.owner.step(owner, own) {
                continue;
            }
            crash::point();
            self.abandon(place);
        }
    }

    /// Ends a wait at a place that the caller owns. No notifier can choose it from here on. If one did, and the notification
    /// was not used, it goes to another waiter.
    fn withdraw(&self, place: &WaiterPlace<W>) {
        let word = place.signal.get();
        if state(word) == WAITING && place.signal.give_up(word, IDLE) {
            return;
        }
        if state(place.signal.get()) == NOTIFIED {
            self.notify_until(1, place.notified_at.load(Ordering::SeqCst));
        }
    }

    /// Leaves the caller's place, after a wait with this result.
    pub(super) fn leave(&self, place: &WaiterPlace<W>, woken: Woken) {
        if woken == Woken::Looked {
            self.withdraw(place);
        }
        self.vacate(place);
    }

    /// Leaves the caller's place in the middle of a wait. A notification that it has received goes to another waiter.
    pub(super) fn abandon(&self, place: &WaiterPlace<W>) {
        self.withdraw(place);
        crash::point();
        self.vacate(place);
    }

    /// Gives back a place at which nobody waits. It stores the word first, so that a place without an owner is idle.
    fn vacate(&self, place: &WaiterPlace<W>) {
        place.ticket.store(0, Ordering::SeqCst);
        crash::point();
        place.signal.reset(IDLE);
        crash::point();
        place.owner.store(NOBODY, Ordering::SeqCst);
        crash::point();
    }
}

/// The waiters at the other places. Each sleeps on its own word.
#[derive(Debug)]
pub(super) struct Others<'a, W: Words = Shared> {
    places: Places<'a, W>,
    own: &'a WaiterPlace<W>,
}

impl<W: Words> Crowd for Others<'_, W> {
    fn count(&self) -> u32 {
        u32::try_from(self.places.used().len()).unwrap_or(u32::MAX)
    }

    /// Calls waiters of other processes first.
    fn call(&self) {
        self.call_two(|_| true);
    }

    fn call_another_process(&self) {
        self.call_two(|is_own| !is_own);
    }
}

impl<W: Words> Others<'_, W> {
    /// Wakes the two that came first: the first may be frozen, or already be the one that watches.
    fn call_two(&self, may_come: impl Fn(bool) -> bool) {
        let own = self.own.owner.load(Ordering::SeqCst);
        let others = self.places.used().iter().filter(|place| !ptr::eq(*place, self.own));
        let mut waiting: Vec<_> = others
            .filter(|place| state(place.signal.get()) == WAITING)
            .map(|place| {
                (place.owner.load(Ordering::SeqCst) == own, place.ticket.load(Ordering::SeqCst), place)
            })
            .filter(|(is_own, ..)| may_come(*is_own))
            .collect();
        waiting.sort_unstable_by_key(|(is_own, ticket, _)| (*is_own, *ticket));
        for (_, _, place) in waiting.iter().take(2) {
            place.signal.nudge();
        }
    }
}
