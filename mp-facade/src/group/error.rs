//! Errors of groups.

use mp_sys::OsError;
use mp_sys::child::ChildError;

use crate::exit::ExitError;
use crate::group::event::Place;
use crate::start::error::StartError;

/// Why a group cannot go on, or has not done what it was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// A worker could not be started by [`keep`](crate::Group::keep). The kind is not kept then, and those of its workers
    /// that were started are asked to end.
    #[error("{place} could not be started: {error}")]
    Start {
        /// The place of the worker.
        place: Place,
        /// Why it could not be started.
        error: StartError,
    },
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
    /// A worker could not be signalled.
    #[error(transparent)]
    Child(#[from] ChildError),
}

/// Why a worker is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// It ended like this; `Ok` if it returned.
    Ended(Result<(), ExitError>),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended(Ok(())) => f.write_str("it returned"),
            Self::Ended(Err(error)) => error.fmt(f),
        }
    }
}
