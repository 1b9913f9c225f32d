//! No subscriber of `tracing` runs under a lock of ours.
//!
//! A subscriber is code of the user. One that writes events into a queue, or counts them in a value, would wait for the very
//! lock under which it was told of the event. So whoever takes a lock of this process's own state begins a [`Quiet`] time,
//! which ends after the lock is released, and what happens under the lock is [told](tell) at its end.
//!
//! Notes are kept for each thread, without a destructor, so that this works while a thread ends. There is room for a few:
//! what happens under a lock and is worth telling is rare, and later notes of the same moment say little more.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::OsError;

/// Notes that a thread keeps at most.
const NOTES_MAX: usize = 4;

/// What is told, and by which function: one for each event, since `tracing` wants to know the place.
#[derive(Debug, Clone, Copy)]
pub enum Note {
    /// What the kernel refused.
    Refused(fn(OsError), OsError),
    /// In words.
    Words(fn(&'static str), &'static str),
    /// Nothing but that it happened.
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
    static NOTES: [Cell<Option<Note>>; NOTES_MAX] = const { [const { Cell::new(None) }; NOTES_MAX] };
}

/// While it lives, this thread tells nothing.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Quiet(PhantomData<*const ()>);

impl Quiet {
    /// Begins a quiet time, perhaps inside another one.
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

#[inline]
fn say_all() {
    NOTES.with(|notes| {
        // From the first place on: nothing is behind an empty one.
        for note in notes.iter().map_while(Cell::take) {
            note.say();
        }
    });
}

/// Tells what happened: now, or at the end of the quiet time.
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
    fn what_happens_in_a_quiet_time_is_told_at_its_end() {
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
    fn a_note_may_lead_to_another_one_and_too_many_are_dropped() {
        let quiet = Quiet::begin();
        for _ in 0..NOTES_MAX + 1 {
            tell(Note::Event(count_with_a_note_of_its_own));
        }
        drop(quiet);
        assert_eq!(SAID.take(), u32::try_from(NOTES_MAX).unwrap());
        drop(Quiet::begin());
        assert_eq!(SAID.take(), 0, "each is told once");
    }
}
