//! Errors of groups.

use mp_sys::OsError;

use crate::exit::ExitError;
use crate::group::event::Place;
use crate::start::error::StartError;

/// Why a group cannot go on, or has not done what it was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Too many workers of this place ended soon after their start, one after the other: see
    /// [`crashes`](crate::Keep::crashes). All other workers are asked to end.
    #[error(
        "{crashes} workers of {place} ended soon after their start, one after the other, the last one: {end}"
    )]
    Crashes {
        /// The place.
        place: Place,
        /// The number of workers that ended.
        crashes: u32,
        /// How the last one ended, or why it could not be started.
        end: Failure,
    },
    /// A worker could not be started by [`keep`](crate::Group::keep). The kind is not kept then, and those of its workers
    /// that were started are asked to end.
    #[error("{place} could not be started: {error}")]
    Start {
        /// The place of the worker.
        place: Place,
        /// Why it could not be started.
        error: StartError,
    },
    /// The replacement of a worker was not started, or ended before it was ready. The worker goes on, and so do those that
    /// the reload had not reached.
    #[error("{place} was not reloaded, because its replacement failed: {end}")]
    Reload {
        /// The place of the worker.
        place: Place,
        /// How the replacement ended, or why it could not be started.
        end: Failure,
    },
    /// The group keeps no workers of this kind.
    #[error("the group keeps no workers of the kind {0:?}")]
    NoSuchKind(String),
    /// The group already keeps workers of this kind.
    #[error("the group already keeps workers of the kind {0:?}")]
    KindExists(String),
    /// All workers were asked to end, so no others are started.
    #[error("the group is stopping")]
    Stopping,
    /// The settings are not valid.
    #[error("{0}")]
    Settings(&'static str),
    /// The group belongs to the parent of this forked process.
    #[error("the group belongs to the parent of this process")]
    NotParent,
    /// The kernel returned an error.
    #[error("the workers cannot be watched: {0}")]
    System(#[from] OsError),
}

/// Why a worker is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It was not started.
    NotStarted(StartError),
    /// It ended like this; `Ok` if it returned.
    Ended(Result<(), ExitError>),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotStarted(error) => write!(f, "it was not started: {error}"),
            Self::Ended(Ok(())) => f.write_str("it returned"),
            Self::Ended(Err(error)) => error.fmt(f),
        }
    }
}
