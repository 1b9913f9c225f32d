//! Processes that were stopped, as by Ctrl-Z: for what is late in pools and groups.
//!
//! When a shell stops a program, its clock goes on. So a process that seems to be late may not have had its time.

use std::time::Duration;

use crate::handle::Handle;

/// How long a stopped process may take to be continued after this one: when a shell continues a program, this process may be
/// the first to run.
pub(crate) const CONTINUE_TIME: Duration = Duration::from_millis(100);

/// Why a process that seems to be late is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// It was stopped and continued meanwhile: it gets all its time again.
    WasStopped,
    /// It is stopped: it gets [`CONTINUE_TIME`].
    IsStopped,
}

impl Excuse {
    /// Asks the kernel for the excuse of a process. `had_time` says that it was stopped before and had its moment.
    pub(crate) fn of(process: &Handle, had_time: bool) -> Option<Self> {
        if process.was_continued() {
            return Some(Self::WasStopped);
        }
        (!had_time && process.is_stopped()).then_some(Self::IsStopped)
    }
}
