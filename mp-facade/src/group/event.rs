//! What happens in a group.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::exit::ExitError;
use crate::group::error::Failure;
use crate::start::error::StartError;

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
    /// A worker has said that it is ready.
    Ready {
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
    /// A worker could not be started. The group tries again, or gives up.
    NotStarted {
        /// Its place.
        place: Place,
        /// Why it could not be started.
        error: StartError,
    },
    /// Another worker will be started in the place of one that has ended.
    Restarting {
        /// The place.
        place: Place,
        /// The time until then.
        after: Duration,
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
    /// All workers of a kind were replaced.
    Reloaded {
        /// The kind.
        kind: Arc<str>,
    },
    /// The replacement of a worker has failed. The worker goes on, and so do those that the reload had not reached.
    NotReloaded {
        /// The place of the worker.
        place: Place,
        /// How the replacement ended, or why it could not be started.
        end: Failure,
    },
}

impl GroupEvent {
    /// Returns the kind of the worker.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Reloaded { kind } => kind,
            Self::Started { place, .. }
            | Self::Ready { place, .. }
            | Self::Exited { place, .. }
            | Self::NotStarted { place, .. }
            | Self::Restarting { place, .. }
            | Self::Killed { place, .. }
            | Self::Stopped { place, .. }
            | Self::NotReloaded { place, .. } => place.kind(),
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
            Self::Ready { place, pid } => write!(f, "{place} (process {pid}) is ready"),
            Self::Exited { place, pid, outcome } => {
                write!(f, "{place} (process {pid}) has ended: {}", how(outcome))
            }
            Self::NotStarted { place, error } => write!(f, "{place} could not be started: {error}"),
            Self::Restarting { place, after } => write!(f, "{place} will be started again in {after:?}"),
            Self::Killed { place, pid } => {
                write!(f, "{place} (process {pid}) was killed, because it did not end when asked to")
            }
            Self::Stopped { place, pid, outcome } => {
                write!(f, "{place} (process {pid}) was asked to end, and has: {}", how(outcome))
            }
            Self::Reloaded { kind } => write!(f, "all workers of the kind {kind} were replaced"),
            Self::NotReloaded { place, end } => {
                write!(f, "{place} was not reloaded, because its replacement failed: {end}")
            }
        }
    }
}
