//! `Debug` of a barrier and of a party.

use std::fmt;

use mp_sys::locked::Locked;

use super::places::Table;
use super::{Barrier, Party};

impl fmt::Debug for Barrier {
    /// It takes no lock, so it may show a half-ended round.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parties, peek) = (self.parties(), Peek(self.shared.lock.locked()));
        match self.rounds().waiting_in(&peek) {
            Some(waiting) => write!(f, "Barrier({waiting} of {parties} waiting)"),
            None => write!(f, "Barrier(broken, for {parties})"),
        }
    }
}

/// Access to the words that only reads them.
struct Peek<'a>(&'a Locked);

impl Table for Peek<'_> {
    fn load(&self, at: usize) -> u64 {
        self.0.peek_word(at).unwrap_or(0)
    }

    fn store(&self, _: usize, _: u64) {}
}

impl fmt::Debug for Party<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.registered_in.is_current() { "Party(registered)" } else { "Party(its parent's)" })
    }
}
