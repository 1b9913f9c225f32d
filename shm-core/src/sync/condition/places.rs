//! The protocol of waiting places, over any words.
//!
//! Each waiting process has a place with a word of its own:
//!
//! | state, in the lower two bits | meaning | who stores |
//! |---|---|---|
//! | [`IDLE`] | nobody waits here | whoever leaves the place, or finds its owner dead |
//! | [`WAITING`] | its owner waits | the owner, before it releases its lock |
//! | [`NOTIFIED`] | it was chosen by a `notify` | the notifier, by one compare-and-exchange |
//!
//! The upper bits are those of the waiter's ticket: a notifier chooses the waiter that it saw, and never one who took the
//! place since (unless it slept for 2^30 waits in between).
//!
//! `notify(n)` chooses the n waiters that came first, wakes them, and is done: it never waits for a waiter, so a dead or
//! frozen one holds nobody up. A waiter whose time is up leaves by the same compare-and-exchange, so it was either notified
//! or not, and a notification is used by exactly one.
//!
//! A notification that a process took with it when it died goes to another one: whoever has waited for a slice looks for
//! places of the dead, and passes on what it finds, to those only who waited already when the notification was given. Who
//! finds a dead waiter ends its wait first, so that no notifier chooses it afterwards.
//!
//! # Why no notification is lost
//! A waiter is [`WAITING`] before it releases the lock. A notifier that changes what the lock protects does so under the
//! lock, so after the release, and finds the waiter. The waiter then waits while its word is as it left it.

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

/// How many of those who wait are asked about at one look.
const ASKED_AT_ONCE: usize = 32;

/// The word of who waits with this ticket.
fn waiting(ticket: u64) -> u32 {
    // The lower 30 bits: they fit.
    let ticket = u32::try_from(ticket & u64::from(u32::MAX >> STATE_BITS)).unwrap_or_default();
    ticket << STATE_BITS | WAITING
}

/// The word that follows `waiting`.
fn notified(waiting: u32) -> u32 {
    waiting & !STATE_MASK | NOTIFIED
}

fn state(word: u32) -> u32 {
    word & STATE_MASK
}

/// Why a waiter goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Woken {
    /// It was chosen.
    Notified,
    /// It waited for its slice, and it was its turn to look after the others: now it may look after itself.
    Looked,
    /// Nobody chose it until its deadline.
    TimedOut,
}

/// A waiter that a notifier chose.
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
    /// The places that were ever taken.
    fn used(&self) -> &'a [WaiterPlace<W>] {
        let used = usize::try_from(self.head.used.load(Ordering::SeqCst)).unwrap_or(usize::MAX);
        self.places.get(..used.min(self.places.len())).unwrap_or_default()
    }

    /// Takes a place, that at `hint` if it is free, and is waiting from here on; tells which one it is.
    pub(super) fn take(
        &self,
        own: u64,
        hint: usize,
        witness: &impl Witness<W>,
    ) -> Option<(usize, &'a WaiterPlace<W>)> {
        let free = |place: &WaiterPlace<W>| place.owner.step(NOBODY, own);
        // Who waits again and again takes its own place, whose line nobody else has to give up.
        let hinted = self.places.get(hint).filter(|place| free(place)).map(|_| hint);
        let at = hinted.or_else(|| self.places.iter().position(free)).or_else(|| {
            self.clear_among(|_| true, own, witness);
            self.places.iter().position(free)
        })?;
        crash::point();
        let used = u64::try_from(at).unwrap_or(u64::MAX).saturating_add(1);
        // It never falls.
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

    /// A waiter that begins to wait at `place`, in slices.
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
        let waits = waiting(place.ticket.load(Ordering::SeqCst));
        loop {
            if place.signal.wait_slice(waits, budget, deadline, sleeper).is_some() {
                return Woken::Notified;
            }
            let looked = witness.is_turn_to_look(&self.head.watch.last_look, PAUSE);
            if looked {
                self.clear_those_of_the_dead(own, witness);
            }
            if deadline.has_passed() {
                // Either this waiter leaves, or a notifier chose it at the last moment.
                let left = place.signal.give_up(waits, IDLE);
                return if left { Woken::TimedOut } else { Woken::Notified };
            }
            if looked && may_look {
                return Woken::Looked;
            }
        }
    }

    /// Chooses at most `count` waiters, those who came first, and tells how many it chose. The dead are among them, if nobody
    /// has found them yet.
    pub(super) fn notify(&self, count: usize) -> usize {
        let newest = self.head.tickets.load(Ordering::SeqCst);
        self.notify_until(count, newest)
    }

    /// As [`notify`](Self::notify), but asks about each that it chose: another one is chosen instead of a dead one, and who
    /// is counted was alive. (But for a dead one whose place somebody else has begun to clear: that is a looker's by now.)
    pub(super) fn notify_living(&self, count: usize, own: u64, witness: &impl Witness<W>) -> usize {
        let newest = self.head.tickets.load(Ordering::SeqCst);
        let (mut wanted, mut living) = (count, 0_usize);
        let mut is_dead = witness.look();
        // Ends: each turn chooses some of those who wait, and nobody who came later.
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
                    // Somebody else has found it, and passes its notification on.
                    wanted = wanted.saturating_sub(1);
                }
            }
        }
        living
    }

    /// Chooses among those who have a ticket up to `newest`.
    pub(super) fn notify_until(&self, count: usize, newest: u64) -> usize {
        if count == 1 {
            return usize::from(self.notify_oldest(newest));
        }
        self.choose_oldest(count, newest).len()
    }

    /// Chooses those who came first.
    fn choose_oldest(&self, count: usize, newest: u64) -> Vec<Chosen<'a, W>> {
        let mut found: Vec<(u64, &WaiterPlace<W>)> = self.waiting_until(newest).collect();
        if found.len() > count {
            found.sort_unstable_by_key(|(ticket, _)| *ticket);
        }
        let choose = |(ticket, place): (u64, &'a WaiterPlace<W>)| {
            // Before: whoever finds it dead takes the place over.
            let owner = place.owner.load(Ordering::SeqCst);
            Self::choose(place, ticket, newest).then_some(Chosen { ticket, owner, place })
        };
        found.into_iter().filter_map(choose).inspect(|_| crash::point()).take(count).collect()
    }

    /// The common case, without a list.
    fn notify_oldest(&self, newest: u64) -> bool {
        // Ends: a waiter that cannot be chosen any more has left, or was chosen by somebody else.
        while let Some((ticket, place)) = self.waiting_until(newest).min_by_key(|(ticket, _)| *ticket) {
            if Self::choose(place, ticket, newest) {
                crash::point();
                return true;
            }
        }
        false
    }

    /// Those who wait, with their tickets.
    fn waiting_until(&self, newest: u64) -> impl Iterator<Item = (u64, &'a WaiterPlace<W>)> {
        let with_ticket = |place: &'a WaiterPlace<W>| (place.ticket.load(Ordering::SeqCst), place);
        self.used().iter().map(with_ticket).filter(move |(ticket, place)| {
            *ticket != 0 && *ticket <= newest && place.signal.get() == waiting(*ticket)
        })
    }

    fn choose(place: &WaiterPlace<W>, ticket: u64, newest: u64) -> bool {
        // The maximum: of two notifiers who are here at once, the one with the smaller number may win the word, but not
        // before the other one counted.
        place.notified_at.fetch_max(newest, Ordering::SeqCst);
        crash::point();
        let waits = waiting(ticket);
        place.signal.update(1, |word| (word == waits).then_some(notified(waits))) == waits
    }

    /// How many wait at this moment.
    pub(super) fn n_waiting(&self) -> usize {
        self.used().iter().filter(|place| state(place.signal.get()) == WAITING).count()
    }

    /// Frees the places of dead processes, and passes on the notifications that they took with them.
    ///
    /// Each question costs two system calls. Of those who wait, [`ASKED_AT_ONCE`] are asked about at each look, in turn: one
    /// that is dead does no harm before it is notified, and who is notified is asked about every time.
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
            // The one who clears takes the place over first: if it dies as well, the next one does all of this again.
            if !is_dead(owner) || !place.owner.step(owner, own) {
                continue;
            }
            crash::point();
            self.abandon(place);
        }
    }

    /// Ends a wait at a place that is the caller's. Nobody can choose it from here on; if somebody did, and nobody used it,
    /// the notification is for another one.
    fn withdraw(&self, place: &WaiterPlace<W>) {
        let word = place.signal.get();
        if state(word) == WAITING && place.signal.give_up(word, IDLE) {
            return;
        }
        if state(place.signal.get()) == NOTIFIED {
            self.notify_until(1, place.notified_at.load(Ordering::SeqCst));
        }
    }

    /// Leaves the caller's place, after a wait that ended so.
    pub(super) fn leave(&self, place: &WaiterPlace<W>, woken: Woken) {
        if woken == Woken::Looked {
            self.withdraw(place);
        }
        self.vacate(place);
    }

    /// Leaves the caller's place in the middle of a wait: a notification that it was given is for another one.
    pub(super) fn abandon(&self, place: &WaiterPlace<W>) {
        self.withdraw(place);
        crash::point();
        self.vacate(place);
    }

    /// Gives a place back at which nobody waits. The word first: a place without an owner is idle.
    fn vacate(&self, place: &WaiterPlace<W>) {
        place.ticket.store(0, Ordering::SeqCst);
        crash::point();
        place.signal.reset(IDLE);
        crash::point();
        place.owner.store(NOBODY, Ordering::SeqCst);
        crash::point();
    }
}

/// Who waits at the other places. Each sleeps on a word of its own.
#[derive(Debug)]
pub(super) struct Others<'a, W: Words = Shared> {
    places: Places<'a, W>,
    own: &'a WaiterPlace<W>,
}

impl<W: Words> Crowd for Others<'_, W> {
    fn count(&self) -> u32 {
        u32::try_from(self.places.used().len()).unwrap_or(u32::MAX)
    }

    /// Those of other processes first.
    fn call(&self) {
        self.call_two(|_| true);
    }

    fn call_another_process(&self) {
        self.call_two(|is_own| !is_own);
    }
}

impl<W: Words> Others<'_, W> {
    /// Calls the two who came first: the first may be the one who watches already, or frozen.
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
