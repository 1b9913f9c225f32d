//! The settings of a kind of workers.

use std::time::Duration;

use crate::group::error::GroupError;

/// The most workers of one kind. Each needs a descriptor, and one more until it is ready.
pub const GROUP_WORKERS_MAX: usize = 1024;
/// How long to wait, by default, before a worker is started again that ended soon after its start.
pub const GROUP_PAUSE_MIN_DEFAULT: Duration = Duration::from_millis(100);
/// The longest such wait by default. Each wait in a row is twice as long as the one before.
pub const GROUP_PAUSE_MAX_DEFAULT: Duration = Duration::from_secs(30);
/// How long a worker has to live, by default, so that its end does not count as a crash soon after its start.
pub const GROUP_HEALTHY_DEFAULT: Duration = Duration::from_secs(5);
/// How many workers of one place may end soon after their start, one after the other, by default.
pub const GROUP_CRASHES_DEFAULT: u32 = 10;
/// How long a worker that was asked to end may take by default. Then it is killed.
pub const GROUP_GRACE_DEFAULT: Duration = Duration::from_secs(10);
/// How long a worker may take by default to say that it is ready. Then it counts as ready all the same.
pub const GROUP_READY_DEFAULT: Duration = Duration::from_secs(10);
/// How long a worker has to live before it counts as ready, if its `start` did not ask for a [`Ready`](crate::Ready).
pub const GROUP_SETTLING: Duration = Duration::from_millis(500);

/// What becomes of the place of a worker that returns. A worker that ends in another way is always replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnReturn {
    /// Another worker is started.
    #[default]
    Replace,
    /// The place stays empty: the worker has found that there is no more to do.
    Finish,
}

/// How many workers of a kind a [`Group`](crate::Group) keeps running, and how.
///
/// | setting | default |
/// |---|---|
/// | [`grace`](Self::grace) | 10 s from SIGTERM to SIGKILL |
/// | [`pause`](Self::pause) | 100 ms, doubled up to 30 s |
/// | [`healthy_after`](Self::healthy_after) | 5 s |
/// | [`crashes`](Self::crashes) | 10 |
/// | [`ready_timeout`](Self::ready_timeout) | 10 s |
/// | [`end_with_parent`](Self::end_with_parent) | yes |
/// | [`on_return`](Self::on_return) | [`OnReturn::Replace`] |
///
/// A number alone stands for the default settings.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let web = mp::Keep::new(4).grace(Duration::from_secs(30)).pause(Duration::from_millis(10), Duration::from_secs(5));
/// # let _ = web;
/// ```
///
/// # Source
/// systemd.service(5): `Restart=`, `RestartSec=`, `RestartSteps=`, `StartLimitBurst=`, `TimeoutStopSec=`.
#[derive(Debug, Clone)]
#[must_use = "settings do nothing alone: pass them to `Group::keep`"]
pub struct Keep {
    pub(super) workers: usize,
    pub(super) grace: Duration,
    pub(super) pause_min: Duration,
    pub(super) pause_max: Duration,
    pub(super) healthy_after: Duration,
    pub(super) crashes: u32,
    pub(super) ready_timeout: Duration,
    pub(super) end_with_parent: bool,
    pub(super) on_return: OnReturn,
}

impl From<usize> for Keep {
    fn from(workers: usize) -> Self {
        Self::new(workers)
    }
}

impl Keep {
    /// Keeps this number of workers, at most [`GROUP_WORKERS_MAX`].
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            grace: GROUP_GRACE_DEFAULT,
            pause_min: GROUP_PAUSE_MIN_DEFAULT,
            pause_max: GROUP_PAUSE_MAX_DEFAULT,
            healthy_after: GROUP_HEALTHY_DEFAULT,
            crashes: GROUP_CRASHES_DEFAULT,
            ready_timeout: GROUP_READY_DEFAULT,
            end_with_parent: true,
            on_return: OnReturn::Replace,
        }
    }

    /// Sets how long a worker may take to end after SIGTERM. Then it gets SIGKILL. One that was stopped meanwhile, as by
    /// Ctrl-Z, gets all that time again (not one of the fork server, whose stops this process does not see).
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long to wait before a worker is started again that ended soon after its start: `min` at first, and twice as
    /// long each further time, up to `max`.
    #[doc(alias = "backoff")]
    pub fn pause(mut self, min: Duration, max: Duration) -> Self {
        self.pause_min = min;
        self.pause_max = max;
        self
    }

    /// Sets how long a worker has to live so that its end does not count as soon after its start. The next one is started at
    /// once then.
    pub fn healthy_after(mut self, time: Duration) -> Self {
        self.healthy_after = time;
        self
    }

    /// Sets how many workers of one place may end soon after their start, one after the other, at least 1, before the group
    /// gives up with [`GroupError::Crashes`].
    pub fn crashes(mut self, crashes: u32) -> Self {
        self.crashes = crashes;
        self
    }

    /// Sets how long a worker may take to say that it is ready. During a reload, the worker that it replaces goes on for so
    /// long. Then it counts as ready all the same. One that was stopped meanwhile gets all that time again, as for
    /// [`grace`](Self::grace).
    pub fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout;
        self
    }

    /// Sets whether [`Slot::process`](crate::Slot::process) makes processes that the kernel ends with this process, even if this
    /// process is killed: see [`die_with_parent`](crate::Process::die_with_parent). If not, they can watch
    /// [`parent_process`](crate::parent_process()).
    pub fn end_with_parent(mut self, end: bool) -> Self {
        self.end_with_parent = end;
        self
    }

    /// Sets what becomes of the place of a worker that returns.
    pub fn on_return(mut self, on_return: OnReturn) -> Self {
        self.on_return = on_return;
        self
    }

    /// # Errors
    /// [`GroupError::Settings`] for settings with which nothing could be kept.
    pub(super) fn check(&self) -> Result<(), GroupError> {
        check_workers(self.workers)?;
        if self.crashes == 0 {
            return Err(GroupError::Settings("a group has to survive at least one crash"));
        }
        if self.pause_max < self.pause_min {
            return Err(GroupError::Settings("the longest pause is shorter than the shortest one"));
        }
        Ok(())
    }
}

pub(super) fn check_workers(workers: usize) -> Result<(), GroupError> {
    if workers > GROUP_WORKERS_MAX {
        return Err(GroupError::Settings("a group has at most 1,024 workers of a kind (GROUP_WORKERS_MAX)"));
    }
    Ok(())
}
