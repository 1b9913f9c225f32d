//! The settings of a kind of workers.

use std::time::Duration;

use crate::group::error::GroupError;

/// The most workers of one kind. Each needs a descriptor.
pub const GROUP_WORKERS_MAX: usize = 1024;
/// How long a worker that was asked to end may take by default. Then it is killed.
pub const GROUP_GRACE_DEFAULT: Duration = Duration::from_secs(10);
/// How many workers of a kind a [`Group`](crate::Group) keeps running, and how.
///
/// | setting | default |
/// |---|---|
/// | [`grace`](Self::grace) | 10 s from SIGTERM to SIGKILL |
/// | [`end_with_parent`](Self::end_with_parent) | yes |
///
/// A number alone stands for the default settings.
///
/// # Source
/// systemd.service(5): `TimeoutStopSec=`.
#[derive(Debug, Clone)]
#[must_use = "settings do nothing alone: pass them to `Group::keep`"]
pub struct Keep {
    pub(super) workers: usize,
    pub(super) grace: Duration,
    pub(super) end_with_parent: bool,
}

impl From<usize> for Keep {
    fn from(workers: usize) -> Self {
        Self::new(workers)
    }
}

impl Keep {
    /// Keeps this number of workers, at most [`GROUP_WORKERS_MAX`](crate::GROUP_WORKERS_MAX).
    pub fn new(workers: usize) -> Self {
        Self { workers, grace: GROUP_GRACE_DEFAULT, end_with_parent: true }
    }

    /// Sets how long a worker may take to end after SIGTERM. Then it gets SIGKILL.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets whether [`Slot::process`](crate::Slot::process) makes processes that the kernel ends with this process, even if this
    /// process is killed: see [`die_with_parent`](crate::Process::die_with_parent). If not, they can watch
    /// [`parent_process`](crate::parent_process()).
    pub fn end_with_parent(mut self, end: bool) -> Self {
        self.end_with_parent = end;
        self
    }

    /// # Errors
    /// [`GroupError::Settings`] for settings with which nothing could be kept.
    pub(super) fn check(&self) -> Result<(), GroupError> {
        check_workers(self.workers)
    }
}

pub(super) fn check_workers(workers: usize) -> Result<(), GroupError> {
    if workers > GROUP_WORKERS_MAX {
        return Err(GroupError::Settings("a group has at most 1,024 workers of a kind (GROUP_WORKERS_MAX)"));
    }
    Ok(())
}
