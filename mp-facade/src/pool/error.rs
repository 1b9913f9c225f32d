//! Errors of pools.

use std::time::Duration;

use crate::exit::ExitError;
use crate::start::error::StartError;

/// Why an item has no result. The other items of the job have theirs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The worker function panicked, with this message (at most
    /// [`PANIC_MESSAGE_BYTES_MAX`](crate::PANIC_MESSAGE_BYTES_MAX) bytes of it). It is not called again for this item.
    #[error("the worker panicked: {0}")]
    Panicked(String),
    /// The process that worked on the item ended, as often as [`tries`](crate::PoolBuilder::tries) permits, or after the job was
    /// cancelled.
    #[error("the process that worked on the item ended, {tries} time(s): {end}")]
    Crashed {
        /// How the last process ended.
        end: ExitError,
        /// How often the item was tried.
        tries: u32,
    },
    /// The item took longer than [`timeout`](crate::PoolBuilder::timeout), so its process was killed.
    #[error("the item took longer than {0:?}, so its process was killed")]
    TimedOut(Duration),
    /// The argument's `Serialize` failed, or its `Deserialize` in the worker, or it has more than
    /// [`POOL_ITEM_BYTES_MAX`](crate::POOL_ITEM_BYTES_MAX) bytes.
    #[error("the argument could not be transferred to a worker: {0}")]
    Argument(String),
    /// The result's `Serialize` failed in the worker, or its `Deserialize` in this process, or it has more than
    /// [`POOL_ITEM_BYTES_MAX`](crate::POOL_ITEM_BYTES_MAX) bytes.
    #[error("the result could not be transferred from a worker: {0}")]
    Result(String),
    /// The job was cancelled before a worker had begun with the item.
    #[error("the job was cancelled before a worker had begun")]
    Cancelled,
    /// The result was already taken, by an earlier call of [`Job::wait_timeout`](crate::Job::wait_timeout).
    #[error("the result was already taken")]
    Taken,
}

/// Why a pool cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// An item has no result. It is the first such item of the job.
    #[error("item {index}: {error}")]
    Task {
        /// The position of the item, from 0.
        index: usize,
        /// Why it has no result.
        error: TaskError,
    },
    /// Too many workers ended, one after the other, and none of them returned a result: see
    /// [`crashes`](crate::PoolBuilder::crashes). The pool has no workers any more.
    #[error("{crashes} workers ended one after the other without a result, the last one {place}: {end}", place = place(*.item))]
    Crashes {
        /// The number of workers that ended.
        crashes: u32,
        /// How the last one ended.
        end: ExitError,
        /// The position in its job of the item that the last one was working on, if it was working on one.
        item: Option<usize>,
    },
    /// No worker could be started.
    #[error("no worker could be started: {0}")]
    Start(#[from] StartError),
    /// The settings are not valid.
    #[error("{0}")]
    Settings(&'static str),
    /// There is no shared memory for the queues between the pool and its workers, or they cannot be used.
    #[error("the queues between the pool and its workers cannot be used: {0}")]
    Queues(String),
    /// The pool belongs to the parent of this forked process.
    #[error("the pool belongs to the parent of this process")]
    NotParent,
}

fn place(item: Option<usize>) -> String {
    item.map_or_else(|| "between two items".to_owned(), |item| format!("at item {item}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_which_item_and_why() {
        let error = TaskError::Crashed { end: ExitError::Signaled(11), tries: 3 };
        let error = PoolError::Task { index: 7, error };
        assert_eq!(
            error.to_string(),
            "item 7: the process that worked on the item ended, 3 time(s): the child was ended by signal 11 (SIGSEGV)"
        );
        let error = |item| PoolError::Crashes { crashes: 16, end: ExitError::Exited(3), item }.to_string();
        assert!(error(Some(4)).contains("the last one at item 4: the child ended with exit code 3"));
        assert!(error(None).contains("between two items"));
    }
}
