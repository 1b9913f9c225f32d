//! [`JoinableQueue`]: a queue whose tasks survive the process that works on them.

mod task;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use mp_sys::alike::{SameBytes, Wire};
use mp_sys::deadline::Deadline;
use mp_sys::robust::Patience;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::task::{FailedTask, Task};
use crate::queue::refused::Refused;
use crate::queue::typed::capacity;
use crate::queue::{CreateError, GetError, NoDeliveries, PutError, PutManyError, Queue, travel};

/// How often a task is handed out at most by default. Without a limit, a task that kills its worker would never end.
pub const MAX_DELIVERIES_DEFAULT: u32 = 10;

/// A queue of tasks. A worker gets each task on lease, and reports when it is done.
///
/// If a [`Task`] is dropped before it is done, or its process dies, the task returns to the queue and is handed out again,
/// before all others. After [`max_deliveries`](Self::max_deliveries) it is put aside; [`failed`](Self::failed) returns such
/// tasks. [`join`](Self::join) waits until all tasks are done or put aside.
///
/// A task may be handed out more than once: if a worker is killed after it has done the work and before it has reported
/// that, another worker repeats the work. Store the result under the task's number, or make sure that repeating the work
/// does no harm.
///
/// | property | |
/// |---|---|
/// | memory | as for [`Queue`], plus a copy of each task that is handed out |
/// | descriptors | two |
/// | limits | as for [`Queue`]; [`TASKS_MAX`](crate::limits::TASKS_MAX) tasks of one size handed out |
/// | order | first in, first out; returned tasks come first |
/// | a clone | the same queue |
///
/// # Fork safety
/// Same as for [`Queue`]. A [`Task`] stays with the process that got it.
///
/// # Crash
/// No task is lost while any process holds the queue. The tasks of a dead process are handed out to waiting workers within
/// 100 ms of its death. A stopped process keeps its tasks.
///
/// # Source
/// Python's `multiprocessing.JoinableQueue`; differs: `task_done` belongs to one task and cannot be called too often, and
/// tasks of dead workers return to the queue.
///
/// # Examples
/// ```
/// # extern crate kernel_ipc as mp;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::JoinableQueue;
///
/// let queue = JoinableQueue::<String>::new()?;
/// queue.put("work")?;
/// let task = queue.get()?;
/// assert_eq!((task.as_str(), task.deliveries(), queue.unfinished()?), ("work", 1, 1));
/// drop(task); // Not done, so it returns to the queue.
/// let task = queue.get()?;
/// assert_eq!(task.deliveries(), 2);
/// assert_eq!(task.done(), "work");
/// queue.join()?; // All is done.
/// # Ok(())
/// # }
/// ```
#[doc(alias = "ProcessPoolExecutor")]
#[doc(alias = "Pool")]
pub struct JoinableQueue<T> {
    pub(super) queue: Queue<T>,
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Makes a queue without a limit.
    ///
    /// # Errors
    /// Those of [`Queue::new`].
    ///
    /// # Fork safety
    /// Same as for [`Queue::new`].
    pub fn new() -> Result<Self, CreateError> {
        Ok(Self { queue: Queue::with_leases(u64::MAX, MAX_DELIVERIES_DEFAULT)? })
    }

    /// Makes a queue that holds at most `maxsize` tasks. Tasks that are handed out do not count.
    ///
    /// # Errors
    /// Those of [`Queue::bounded`].
    ///
    /// # Fork safety
    /// Same as for [`Queue::new`].
    #[doc(alias = "maxsize")]
    pub fn bounded(maxsize: usize) -> Result<Self, CreateError> {
        Ok(Self { queue: Queue::with_leases(capacity(maxsize)?, MAX_DELIVERIES_DEFAULT)? })
    }
}

impl<T> JoinableQueue<T> {
    /// Returns how often a task is handed out at most before it is put aside.
    #[must_use]
    pub fn max_deliveries(&self) -> u32 {
        self.queue.core.max_deliveries()
    }

    /// Sets how often a task is handed out at most. The value holds for all processes from now on.
    ///
    /// # Errors
    /// [`NoDeliveries`] for 0.
    #[doc(alias = "retry")]
    pub fn set_max_deliveries(&self, count: u32) -> Result<(), NoDeliveries> {
        if count == 0 {
            return Err(NoDeliveries);
        }
        self.queue.core.set_max_deliveries(count);
        Ok(())
    }

    /// Returns the number of tasks that were not handed out yet. Returned tasks do not count.
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns whether [`len`](Self::len) is 0.
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns whether the queue is full: see [`Queue::is_full`].
    #[doc(alias = "full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Returns the maximum number of tasks: see [`Queue::capacity`].
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.queue.capacity()
    }

    /// Closes the queue for all processes. Nothing more can be put. Workers still get the tasks in the queue and tasks that
    /// return to it. Once no task can return to a worker any more, its `get` returns [`GetError::Closed`].
    ///
    /// # Errors
    /// Those of [`Queue::close`].
    pub fn close(&self) -> Result<(), PutError> {
        self.queue.close()
    }

    /// Returns whether the queue is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Returns the exact number of unfinished tasks: in the queue, handed out, or returned.
    ///
    /// # Errors
    /// [`GetError::Lock`].
    pub fn unfinished(&self) -> Result<usize, GetError> {
        Ok(self.queue.core.unfinished()?)
    }

    /// Waits until every task is done or put aside.
    ///
    /// Tasks of processes that die go to other workers, which may finish them. If no worker takes them, `join` keeps
    /// waiting, as in Python.
    ///
    /// # Errors
    /// [`GetError::Lock`].
    pub fn join(&self) -> Result<(), GetError> {
        Ok(self.queue.core.join(Deadline::NEVER)?)
    }

    /// Waits like [`join`](Self::join), but at most `timeout` (`Duration::MAX` waits forever). Returns `false` if some
    /// tasks are still unfinished at the timeout.
    ///
    /// # Errors
    /// [`GetError::Lock`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, GetError> {
        match self.queue.core.join(Deadline::after(timeout)) {
            Ok(()) => Ok(true),
            Err(Refused::TimedOut) => Ok(false),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Returns the tasks that were put aside, because they were handed out too often or are not values of the expected
    /// type. They stay in the queue.
    ///
    /// # Errors
    /// [`GetError::Lock`], [`GetError::Memory`].
    pub fn failed(&self) -> Result<Vec<FailedTask>, GetError> {
        self.look_at_failed(false)
    }

    /// Returns the tasks that were put aside, like [`failed`](Self::failed), and removes them.
    ///
    /// # Errors
    /// Those of [`failed`](Self::failed).
    ///
    /// # Crash
    /// If the process is killed here, the failed tasks can be lost.
    pub fn take_failed(&self) -> Result<Vec<FailedTask>, GetError> {
        self.look_at_failed(true)
    }

    fn look_at_failed(&self, take: bool) -> Result<Vec<FailedTask>, GetError> {
        let mut failed = Vec::new();
        self.queue.core.failed(|bytes, deliveries| {
            failed.push(FailedTask { bytes, deliveries });
            take
        })?;
        Ok(failed)
    }
}

impl<T> JoinableQueue<T> {
    /// Puts a task at the end. Waits while the queue is full.
    ///
    /// # Errors
    /// Those of [`Queue::put`].
    ///
    /// # Crash
    /// The task is either in the queue or not.
    pub fn put<Q>(&self, task: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.queue.put(task)
    }

    /// Puts a task at the end if there is room.
    ///
    /// # Errors
    /// Those of [`Queue::try_put`].
    #[doc(alias = "put_nowait")]
    pub fn try_put<Q>(&self, task: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.queue.try_put(task)
    }

    /// Puts a task at the end. Waits at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// Those of [`Queue::put_timeout`].
    pub fn put_timeout<Q>(&self, task: &Q, timeout: Duration) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.queue.put_timeout(task, timeout)
    }

    /// Puts all of `tasks` at the end, in order: see [`Queue::put_many`].
    ///
    /// # Errors
    /// Those of [`Queue::put_many`].
    pub fn put_many<'a, Q>(&self, tasks: impl IntoIterator<Item = &'a Q>) -> Result<(), PutManyError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        self.queue.put_many(tasks)
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Takes a task on lease: a returned one, or otherwise the oldest. Waits while there is none.
    ///
    /// On a closed queue, it waits as long as another worker has a task, since that task may return. Another worker is
    /// another process, or any thread of this process, since a task can be handed to another thread. So in a process with
    /// several threads, a thread that holds the last tasks waits for itself. If you hold tasks and want more, use
    /// [`try_get`](Self::try_get). In a process with one thread, `get` returns [`GetError::Closed`] instead.
    ///
    /// # Errors
    /// [`GetError::Closed`]; [`GetError::Decode`] with the task's bytes, which are put aside as well;
    /// [`GetError::TooManyTasks`]; [`GetError::Memory`], [`GetError::Lock`], [`GetError::Corrupt`].
    ///
    /// # Crash
    /// A process that is killed here, or later before the task is done, loses nothing: another worker gets the task.
    pub fn get(&self) -> Result<Task<T>, GetError> {
        self.get_until(Patience::Until(Deadline::NEVER))
    }

    /// Takes a task on lease if there is one.
    ///
    /// # Errors
    /// [`GetError::Empty`], also if the queue is closed and a task may still return; otherwise those of [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Task<T>, GetError> {
        self.get_until(Patience::None)
    }

    /// Takes a task on lease. Waits at most `timeout` while there is none.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise those of [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Task<T>, GetError> {
        self.get_until(Patience::Until(Deadline::after(timeout)))
    }

    fn get_until(&self, patience: Patience) -> Result<Task<T>, GetError> {
        let leased = self.queue.core.lease(patience)?;
        Task::decode(Arc::clone(&self.queue.core), leased)
    }
}

impl<T> AsFd for JoinableQueue<T> {
    /// Returns a descriptor as for [`Queue`]. It is readable while there is a task to get, or the queue is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

/// Travels like a [`Queue`], inside a message of a pipe or connection.
impl<T> Serialize for JoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        travel::serialize(&self.queue.core, serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let core = travel::deserialize(Queue::<T>::wanted(true), deserializer)?;
        Ok(Self { queue: Queue::over(core) })
    }
}

impl<T> std::fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.queue.show("JoinableQueue", "task", f)
    }
}
