//! [`JoinableQueue`]: a queue of tasks, none of which is lost with the process that worked on it.

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
use crate::queue::core::Refused;
use crate::queue::{CreateError, GetError, NoDeliveries, PutError, PutManyError, Queue, capacity, travel};

/// How often a task is handed out at most, unless told otherwise: one that kills whoever works on it ends somewhere.
pub const MAX_DELIVERIES_DEFAULT: u32 = 10;

/// A queue of tasks: who gets one has it on lease, and says when it is done.
///
/// A task whose [`Task`] is dropped undone, or whose process dies, goes back and is handed out again, before all others.
/// After [`max_deliveries`](Self::max_deliveries) it is put aside, to be looked at by [`failed`](Self::failed).
/// [`join`](Self::join) waits until all tasks are done or put aside.
///
/// A task may be handed out more than once: if its worker was killed after it did the work and before it said so, somebody
/// else does the work again. Have the work's result carry the task's number, or make doing it twice do nothing.
///
/// | property | |
/// |---|---|
/// | memory | as [`Queue`], and a copy of each task that is handed out |
/// | descriptors | two |
/// | limits | as [`Queue`]; [`TASKS_MAX`](crate::limits::TASKS_MAX) tasks of one size handed out |
/// | order | first in, first out; what comes back is handed out first |
/// | a clone | the same queue |
///
/// # Fork safety
/// As [`Queue`]; a [`Task`] stays with the process that got it.
///
/// # Crash
/// No task is lost while any process holds the queue. The tasks of a dead process are handed out again within 100 ms of
/// its death, to whoever waits. A stopped process keeps its tasks.
///
/// # Source
/// Python's `multiprocessing.JoinableQueue`; differs: `task_done` belongs to one task, tasks of the dead come back, and
/// too many `task_done` are not possible.
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
/// drop(task); // Not done: it goes back.
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
    /// As [`Queue::new`].
    ///
    /// # Fork safety
    /// As [`Queue::new`].
    pub fn new() -> Result<Self, CreateError> {
        Ok(Self { queue: Queue::with_leases(u64::MAX, MAX_DELIVERIES_DEFAULT)? })
    }

    /// Makes a queue that holds at most `maxsize` tasks; those that were handed out do not count.
    ///
    /// # Errors
    /// As [`Queue::bounded`].
    ///
    /// # Fork safety
    /// As [`Queue::new`].
    #[doc(alias = "maxsize")]
    pub fn bounded(maxsize: usize) -> Result<Self, CreateError> {
        Ok(Self { queue: Queue::with_leases(capacity(maxsize)?, MAX_DELIVERIES_DEFAULT)? })
    }
}

impl<T> JoinableQueue<T> {
    /// How often a task is handed out at most, before it is put aside.
    #[must_use]
    pub fn max_deliveries(&self) -> u32 {
        self.queue.core.max_deliveries()
    }

    /// Sets how often a task is handed out at most, for all processes, from now on.
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

    /// Tasks in the queue that nobody has, without those that came back.
    #[doc(alias = "qsize")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether [`len`](Self::len) is 0.
    #[doc(alias = "empty")]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// As [`Queue::is_full`].
    #[doc(alias = "full")]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// As [`Queue::capacity`].
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        self.queue.capacity()
    }

    /// Closes the queue for all processes: nothing more is put. Those who wait for a task get what is there, and what comes
    /// back; they are told that the queue is closed once nothing can come back to them any more.
    ///
    /// # Errors
    /// As [`Queue::close`].
    pub fn close(&self) -> Result<(), PutError> {
        self.queue.close()
    }

    /// Whether the queue was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Tasks that are not finished, exactly: in the queue, handed out, or come back.
    ///
    /// # Errors
    /// [`GetError::Lock`].
    pub fn unfinished(&self) -> Result<usize, GetError> {
        Ok(self.queue.core.unfinished()?)
    }

    /// Waits until every task that was put is done or put aside.
    ///
    /// Tasks of processes that die go to others, who may finish them; if nobody takes them, this waits, as in Python.
    ///
    /// # Errors
    /// [`GetError::Lock`].
    pub fn join(&self) -> Result<(), GetError> {
        Ok(self.queue.core.join(Deadline::NEVER)?)
    }

    /// As [`join`](Self::join), for `timeout` at most (`Duration::MAX` waits for ever); `false` if some tasks are still
    /// unfinished then.
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

    /// The tasks that were put aside: handed out too often, or no values of the expected type. They stay.
    ///
    /// # Errors
    /// [`GetError::Lock`], [`GetError::Memory`].
    pub fn failed(&self) -> Result<Vec<FailedTask>, GetError> {
        self.look_at_failed(false)
    }

    /// As [`failed`](Self::failed), and takes them out.
    ///
    /// # Errors
    /// As [`failed`](Self::failed).
    ///
    /// # Crash
    /// If the process is killed here, they can be lost.
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
    /// As [`Queue::put`].
    ///
    /// # Crash
    /// The task is in the queue or it is not.
    pub fn put<Q>(&self, task: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.queue.put(task)
    }

    /// As [`Queue::try_put`].
    ///
    /// # Errors
    /// As [`Queue::try_put`].
    #[doc(alias = "put_nowait")]
    pub fn try_put<Q>(&self, task: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.queue.try_put(task)
    }

    /// As [`Queue::put_timeout`].
    ///
    /// # Errors
    /// As [`Queue::put_timeout`].
    pub fn put_timeout<Q>(&self, task: &Q, timeout: Duration) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.queue.put_timeout(task, timeout)
    }

    /// As [`Queue::put_many`].
    ///
    /// # Errors
    /// As [`Queue::put_many`].
    pub fn put_many<'a, Q>(&self, tasks: impl IntoIterator<Item = &'a Q>) -> Result<(), PutManyError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        self.queue.put_many(tasks)
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Takes a task on lease: one that came back, or else the oldest. Waits while there is none.
    ///
    /// On a closed queue it waits as long as somebody else has a task, which may come back: another process, or any thread of
    /// this one, since a task can be handed to another thread. So a thread that holds the last tasks itself, beside other
    /// threads, waits for itself: who holds tasks and asks for more should [`try_get`](Self::try_get). A process with one
    /// thread is told.
    ///
    /// # Errors
    /// [`GetError::Closed`]; [`GetError::Decode`] with the task's bytes, which are put aside as well;
    /// [`GetError::TooManyTasks`]; [`GetError::Memory`], [`GetError::Lock`], [`GetError::Corrupt`].
    ///
    /// # Crash
    /// A process that is killed here, or later before it is done, loses nothing: the task goes to somebody else.
    pub fn get(&self) -> Result<Task<T>, GetError> {
        self.get_until(Patience::Until(Deadline::NEVER))
    }

    /// Takes a task on lease, if there is one now.
    ///
    /// # Errors
    /// [`GetError::Empty`], also if the queue is closed and a task may come back; else as [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Task<T>, GetError> {
        self.get_until(Patience::None)
    }

    /// Takes a task on lease. Waits for `timeout` at most while there is none.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; else as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Task<T>, GetError> {
        self.get_until(Patience::Until(Deadline::after(timeout)))
    }

    fn get_until(&self, patience: Patience) -> Result<Task<T>, GetError> {
        let leased = self.queue.core.lease(patience)?;
        Task::decode(Arc::clone(&self.queue.core), leased)
    }
}

impl<T> AsFd for JoinableQueue<T> {
    /// As for [`Queue`]: readable while there is a task to get, or the queue is closed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

/// As [`Queue`]: inside a message of a pipe or connection.
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
