//! Waiting for items, for room, and for the end of tasks, in tasks of a tokio runtime.
//!
//! A task never waits for a lock: it tries each lock for about a microsecond. If it does not get a lock, because the holder is
//! not running or is stopped, it lets other tasks run and tries again later. The locks themselves are taken and released
//! inside one call of `poll`.
//!
//! | wait | what wakes it |
//! |---|---|
//! | for an item | the event descriptor becomes readable |
//! | for room; for the end of all tasks; on a closed queue, for a task that may return | the event descriptor is reported as writable: see `Flag::wake_writers` |
//!
//! Both wake all tasks of all processes. What a killed process did not announce is found by the timer.

use mp_sys::asynchronous::{Attempt, RuntimeError, Watched, first};
use mp_sys::robust::{AcquireError, Patience};

use crate::queue::core::Core;
use crate::queue::refused::Refused;

/// What tasks of this process wait for.
#[derive(Debug)]
pub(super) struct Tasks {
    items: Watched,
    changes: Watched,
}

impl Tasks {
    pub(super) const fn new(has_leases: bool) -> Self {
        // A consumer of tasks also waits for the end of the others, once the queue is closed.
        let items = if has_leases { Watched::either() } else { Watched::readable() };
        Self { items, changes: Watched::writable() }
    }
}

/// Sorts an outcome of an operation that does not wait.
fn sorted<T>(outcome: Result<T, Refused>) -> Attempt<Result<T, Refused>> {
    match outcome {
        Err(Refused::NotNow) => Attempt::Later,
        Err(Refused::Lock(AcquireError::WouldBlock)) => Attempt::Crowded,
        outcome => Attempt::Done(outcome),
    }
}

impl From<RuntimeError> for Refused {
    fn from(error: RuntimeError) -> Self {
        Self::Runtime(error)
    }
}

impl Core {
    /// Tries `take`, which takes an item, until it succeeds.
    pub(in crate::queue) async fn wait_to_take<T>(
        &self,
        mut take: impl FnMut() -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let mut attempt = || match sorted(take()) {
            Attempt::Later if self.is_closed() => {
                self.announce_task();
                sorted(take())
            }
            other => other,
        };
        let is_crowded = match first(&mut attempt).await {
            Attempt::Done(outcome) => return outcome,
            Attempt::Crowded => true,
            Attempt::Later => false,
        };
        self.tasks.items.attempt_again(self.event_for_tasks(), is_crowded, attempt).await?
    }

    /// Tries `change` until it succeeds. It waits for room, or for the end of tasks.
    pub(in crate::queue) async fn wait_for_change<T>(
        &self,
        mut change: impl FnMut() -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let attempt = || match sorted(change()) {
            Attempt::Later => {
                self.announce_task();
                sorted(change())
            }
            other => other,
        };
        self.tasks.changes.attempt(self.unarmed_event(), attempt).await?
    }

    /// Waits until all tasks are finished.
    pub(in crate::queue) async fn wait_for_end(&self) -> Result<(), Refused> {
        let leases = self.leases()?;
        let look = || {
            if self.all_is_finished(leases, Patience::TryOnce)? {
                return Ok(());
            }
            self.look_for_the_dead(Patience::TryOnce);
            Err(Refused::NotNow)
        };
        self.wait_for_change(look).await
    }
}
