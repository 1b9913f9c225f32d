//! Who has a lock at the moment, for people: looked at from outside, without taking it.

use std::fmt;

use super::Locked;

/// Who has a lock. By the time somebody reads it, another one may have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// Nobody.
    Nobody,
    /// The calling thread.
    ThisThread,
    /// The thread with this number of the kernel's, which is the process's id for its first thread. In another PID namespace,
    /// it is a number of that.
    Thread(u32),
    /// The newest holder died, and nobody has taken the lock since.
    Dead,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("free"),
            Self::ThisThread => f.write_str("locked by this thread"),
            Self::Thread(number) => write!(f, "locked by thread {number}"),
            Self::Dead => f.write_str("left by a dead holder"),
        }
    }
}

impl Locked {
    /// Who has the lock.
    #[must_use]
    pub fn holder(&self) -> Holder {
        let mutex = &self.control().mutex;
        match (mutex.owner(), mutex.has_dead_owner()) {
            (0, true) => Holder::Dead,
            (0, false) => Holder::Nobody,
            _ if mutex.held_here() => Holder::ThisThread,
            (number, _) => Holder::Thread(number),
        }
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Locked({})", self.holder())
    }
}
