//! The living workers.

use std::time::{Duration, Instant};

use anyhow::Result;
use mp::{Child, ExitError};

use crate::share::Shared;
use crate::walk::Tree;
use crate::work::{Failure, Worker};

/// The number of the signal on all Linux platforms.
const SIGKILL: i32 = 9;
/// How long workers without work may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// How a worker ended.
#[derive(Debug)]
pub(crate) enum End {
    /// All tasks were finished.
    Finished,
    /// By [`Crew::kill`].
    Killed,
    /// It ended by itself, or another process ended it.
    Failed(String),
    /// It failed for a reason that will not go away.
    Hopeless(String),
}

/// The running workers. Dropping the crew ends them.
#[derive(Debug, Default)]
pub(crate) struct Crew {
    members: Vec<Child<Result<(), Failure>>>,
}

impl Crew {
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// Starts one more worker.
    pub(crate) fn start(&mut self, tree: &Tree, shared: &Shared) -> Result<(), mp::ForkError> {
        #[expect(clippy::disallowed_methods, reason = "a worker only compares it with its own parent's id")]
        let parent_pid = std::process::id();
        // The worker has a copy of the whole tree. Everybody sees its changes in `shared`.
        self.members.push(mp::fork(|| Worker::new(tree, shared, parent_pid).run())?);
        Ok(())
    }

    /// Removes one worker that has ended, and returns how it ended.
    pub(crate) fn take_ended(&mut self) -> Result<Option<End>> {
        for index in 0..self.members.len() {
            let end = match self.members[index].try_join() {
                Ok(None) => continue,
                Ok(Some(left)) => end_of(Ok(left))?,
                Err(error) => end_of(Err(error))?,
            };
            self.members.swap_remove(index);
            return Ok(Some(end));
        }
        Ok(None)
    }

    /// Kills a worker, waits until it is dead, and removes it. It may have ended just before.
    pub(crate) fn kill(&mut self, index: usize) -> Result<End> {
        let member = &self.members[index];
        let was_alive = member.kill()?;
        let end = match member.join() {
            Err(ExitError::Signaled(SIGKILL)) => End::Killed,
            // If SIGCHLD is ignored, nobody learns how a child ended. This one left nothing, so it was killed.
            Err(ExitError::StatusLost) if was_alive => End::Killed,
            left => end_of(left)?,
        };
        self.members.swap_remove(index);
        Ok(end)
    }

    /// Waits until a given worker has ended, for at most `timeout`.
    pub(crate) fn wait(&self, timeout: Duration) {
        if let Some(member) = self.members.first() {
            // `take_ended` will return how it ended, since it can ask again.
            drop(member.join_timeout(timeout));
        }
    }

    /// Waits until all have ended by themselves, now that all tasks are finished. A worker that was stopped is ended.
    pub(crate) fn dismiss(self) {
        let start = Instant::now();
        for member in &self.members {
            drop(member.join_timeout(FAREWELL.saturating_sub(start.elapsed())));
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in &self.members {
            // A worker that cannot be killed has ended, or need not be waited for.
            if member.kill().is_ok() {
                drop(member.join());
            }
        }
    }
}

fn end_of(left: Result<Result<(), Failure>, ExitError>) -> Result<End> {
    match left {
        Ok(Ok(())) => Ok(End::Finished),
        Ok(Err(Failure { reason, is_final: true })) => Ok(End::Hopeless(reason)),
        Ok(Err(Failure { reason, is_final: false })) => Ok(End::Failed(reason)),
        // The worker has not ended: it cannot be waited for.
        Err(ExitError::Child(error)) => Err(error.into()),
        Err(error) => Ok(End::Failed(error.to_string())),
    }
}
