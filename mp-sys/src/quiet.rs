//! Keeps subscribers of `tracing` from running under a lock of this library.
//!
//! A subscriber is user code. If it writes events into a queue, or counts them in a value, it would wait for the very
//! lock under which the event happened. So code that takes a lock of this process's own state begins a [`Quiet`] time,
//! which ends after the lock is released. Events under the lock are [reported](tell) at its end.
//!
//! Notes are kept for each thread, without a destructor, so that this works while a thread ends. There is room for only
//! a few: events under a lock that deserve a report are rare, and later notes of the same moment add little.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::OsError;

/// The most notes that a thread keeps.
const NOTES_MAX: usize = 4;

/// An event, with the function that reports it: one function for each event, because `tracing` records the place in the
/// code.
#[derive(Debug, Clone, Copy)]
pub enum Note {
    /// An error that the kernel returned.
    Refused(fn(OsError), OsError),
    /// An event with a text.
    Words(fn(&'static str), &'static str),
    /// An event without details.
    Event(fn()),
}

impl Note {
    fn say(self) {
        match self {
            Self::Refused(say, error) => say(error),
            Self::Words(say, words) => say(words),
            Self::Event(say) => say(),
        }
    }
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static IS_LATE: Cell<bool> = const { Cell::new(false) };
    static NOTES: [Cell<Option<Note>>; NOTES_MAX] = const { [const { Cell::new(None) }; NOTES_MAX] };
}

/// While this value lives, its thread reports nothing.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Quiet(PhantomData<*const ()>);

impl Quiet {
    /// Begins a quiet time; another one may be running.
    #[inline]
    pub fn begin() -> Self {
        DEPTH.set(DEPTH.get().wrapping_add(1));
        Self(PhantomData)
    }
}

impl Drop for Quiet {
    #[inline]
    fn drop(&mut self) {
        let depth = DEPTH.get().wrapping_sub(1);
        DEPTH.set(depth);
        if depth == 0 {
            say_all();
        }
    }
}

/// A quiet time that may begin while a lock is held. It costs one read of a thread-local value if it does not begin.
///
/// It has no size, so that a guard that contains it still travels in registers: with one more byte, an item of a queue
/// took a sixth more time between two CPUs. In return, a thread can have only one such time at once, which ends with
/// the first `LateQuiet` that is dropped. If another lock is taken and released meanwhile, a [`Quiet`] around both
/// keeps the notes.
#[derive(Debug)]
#[must_use = "the quiet time ends when it is dropped"]
pub struct LateQuiet(PhantomData<*const ()>);

impl LateQuiet {
    /// Makes a value that must be dropped after the lock is released.
    #[inline]
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Begins the quiet time, if it has not begun.
    #[cold]
    pub fn begin(&self) {
        if !IS_LATE.replace(true) {
            DEPTH.set(DEPTH.get().wrapping_add(1));
        }
    }
}

impl Default for LateQuiet {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for LateQuiet {
    #[inline]
    fn drop(&mut self) {
        if IS_LATE.get() {
            end_late();
        }
    }
}

#[cold]
fn end_late() {
    IS_LATE.set(false);
    drop(Quiet(PhantomData));
}

#[inline]
fn say_all() {
    NOTES.with(|notes| {
        // From the first place on: nothing is behind an empty place.
        for note in notes.iter().map_while(Cell::take) {
            note.say();
        }
    });
}

/// Reports an event: now, or at the end of the quiet time.
pub fn tell(note: Note) {
    if DEPTH.get() == 0 {
        return note.say();
    }
    NOTES.with(|notes| {
        if let Some(place) = notes.iter().find(|place| place.get().is_none()) {
            place.set(Some(note));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static SAID: Cell<u32> = const { Cell::new(0) };
    }

    fn count() {
        SAID.set(SAID.get() + 1);
    }

    fn count_with_a_note_of_its_own() {
        let _quiet = Quiet::begin();
        tell(Note::Event(count));
    }

    #[test]
    fn events_of_a_quiet_time_are_reported_at_its_end() {
        tell(Note::Event(count));
        assert_eq!(SAID.take(), 1);
        let outer = Quiet::begin();
        let inner = Quiet::begin();
        tell(Note::Event(count));
        tell(Note::Event(count));
        drop(inner);
        assert_eq!(SAID.get(), 0);
        drop(outer);
        assert_eq!(SAID.take(), 2);
    }

    #[test]
    fn a_quiet_time_that_begins_late_ends_with_its_lock() {
        let late = LateQuiet::new();
        tell(Note::Event(count));
        assert_eq!(SAID.take(), 1, "it has not begun");
        late.begin();
        late.begin();
        tell(Note::Event(count));
        assert_eq!(SAID.get(), 0);
        drop(late);
        assert_eq!(SAID.take(), 1);
        tell(Note::Event(count));
        assert_eq!(SAID.take(), 1, "it has ended");
    }

    #[test]
    fn a_quiet_time_around_two_locks_outlives_the_inner_one() {
        let quiet = Quiet::begin();
        let outer = LateQuiet::new();
        outer.begin();
        tell(Note::Event(count));
        let inner = LateQuiet::new();
        inner.begin();
        drop(inner);
        drop(outer);
        assert_eq!(SAID.get(), 0);
        drop(quiet);
        assert_eq!(SAID.take(), 1);
    }

    #[test]
    fn a_note_may_lead_to_another_one_and_too_many_are_dropped() {
        let quiet = Quiet::begin();
        for _ in 0..NOTES_MAX + 1 {
            tell(Note::Event(count_with_a_note_of_its_own));
        }
        drop(quiet);
        assert_eq!(SAID.take(), u32::try_from(NOTES_MAX).unwrap());
        drop(Quiet::begin());
        assert_eq!(SAID.take(), 0, "each is reported once");
    }
}
