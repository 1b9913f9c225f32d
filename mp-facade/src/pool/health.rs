//! How a pool is.

use crate::exit::ExitError;

/// How a worker ended that should not have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crash {
    /// How it ended.
    pub end: ExitError,
    /// The position in its job of the item that it was working on, if it was working on one.
    pub item: Option<usize>,
    /// Whether the kernel wrote a core of it: see core(5).
    pub core_dumped: bool,
}

impl Crash {
    pub(super) fn new(end: ExitError, item: Option<u64>, core_dumped: bool) -> Self {
        Self { end, item: item.map(|item| usize::try_from(item).unwrap_or(usize::MAX)), core_dumped }
    }

    /// Returns the signal that ended it, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.end {
            ExitError::Signaled(signal) => Some(signal),
            _ => None,
        }
    }
}

/// The state of a pool: see [`Pool::health`](crate::Pool::health).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The number of workers that are alive now.
    pub alive: usize,
    /// The number of workers that there should be.
    pub workers: usize,
    /// How often a process has taken the place of another one, for whatever reason.
    pub restarts: u64,
    /// The last worker that ended without being asked to.
    pub last_crash: Option<Crash>,
}
