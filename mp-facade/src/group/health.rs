//! How a group is.

use std::sync::Arc;

use crate::group::error::Failure;
use crate::group::event::Place;

/// The state of the workers of one kind: see [`Group::health`](crate::Group::health).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindHealth {
    /// The kind.
    pub kind: Arc<str>,
    /// The number of workers that there should be.
    pub workers: usize,
    /// The process ids of those that there are, in the order of their places.
    pub pids: Vec<u32>,
    /// How often a worker was started in the place of one that had ended, reloads apart.
    pub restarts: u64,
    /// The place of the last worker that failed, and how.
    pub last_failure: Option<(Place, Failure)>,
}
