//! Shows people which thread has a lock at the moment. Looking does not take the lock.

use std::fmt;

use super::Locked;

/// The thread that has a lock. By the time that the caller reads this, another thread may have the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// No thread has it.
    Nobody,
    /// The calling thread.
    ThisThread,
    /// The thread to which the kernel gave this number. The number of a process's first thread is the process's id. A thread
    /// of another PID namespace is shown with its number there.
    Thread(u32),
    /// The newest holder died, and no thread has taken the lock since.
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
    /// Returns the thread that has the lock.
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
