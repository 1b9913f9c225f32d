//! What happens in a group.

use std::fmt;
use std::sync::Arc;

use crate::exit::ExitError;

/// A place of a group, for one worker at a time: its kind, and its index among those of that kind, from 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    kind: Arc<str>,
    index: usize,
}

impl Place {
    pub(super) fn new(kind: &Arc<str>, index: usize) -> Self {
        Self { kind: Arc::clone(kind), index }
    }

    /// Returns the kind of the worker.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the index among the workers of that kind.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.index)
    }
}

/// Something that has happened to a worker of a [`Group`](crate::Group). It can be shown as a line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupEvent {
    /// A worker was started.
    Started {
        /// Its place.
        place: Place,
        /// Its process id.
        pid: u32,
    },
    /// A worker has ended that was not asked to.
    Exited {
        /// Its place.
        place: Place,
        /// Its process id.
        pid: u32,
        /// How it ended; `Ok` if it returned.
        outcome: Result<(), ExitError>,
    },
    /// A worker was killed, because it had not ended within its grace period.
    Killed {
        /// Its place.
        place: Place,
        /// Its process id.
        pid: u32,
    },
    /// A worker has ended that was asked to.
    Stopped {
        /// Its place.
        place: Place,
        /// Its process id.
        pid: u32,
        /// How it ended; `Ok` if it returned.
        outcome: Result<(), ExitError>,
    },
}

impl GroupEvent {
    /// Returns the kind of the worker.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Started { place, .. }
            | Self::Exited { place, .. }
            | Self::Killed { place, .. }
            | Self::Stopped { place, .. } => place.kind(),
        }
    }
}

fn how(outcome: &Result<(), ExitError>) -> String {
    match outcome {
        Ok(()) => "it returned".to_owned(),
        Err(error) => error.to_string(),
    }
}

impl fmt::Display for GroupEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { place, pid } => write!(f, "{place} was started as process {pid}"),
            Self::Exited { place, pid, outcome } => {
                write!(f, "{place} (process {pid}) has ended: {}", how(outcome))
            }
            Self::Killed { place, pid } => {
                write!(f, "{place} (process {pid}) was killed, because it did not end when asked to")
            }
            Self::Stopped { place, pid, outcome } => {
                write!(f, "{place} (process {pid}) was asked to end, and has: {}", how(outcome))
            }
        }
    }
}
