//! [`JoinableQueue`]: a queue of tasks that are leased to workers.

mod task;

use std::marker::PhantomData;
use std::time::Duration;

use mp_sys::alike::{SameBytes, Wire};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::task::Lease;
pub use self::task::Task;
use crate::backend::CallError;
use crate::error::{GetError, ObjectError, PutError};
use crate::proto::{Fault, JoinableQueueOp, Kind, Op, Reply, Wait};
use crate::proxy::handle::within;
use crate::proxy::{Handle, codec, proxy, read};

/// A queue of tasks. A process that gets a task has it on lease, and reports when it is done.
///
/// If a [`Task`] is dropped undone, or its process dies, the task returns to the queue and is handed out again before
/// all others. Once it was delivered as often as the queue allows, it is put aside instead, and
/// [`failed`](Self::failed) returns it. [`join`](Self::join) waits until all tasks are done or put aside.
///
/// A task may be handed out more than once: if a worker is killed after the work and before it reports, another worker
/// repeats the work. Store the result under the task's number, or make a repetition harmless. Objects of the same
/// manager can change in one [transaction](crate::Manager::transaction) with the task.
///
/// | property | |
/// |---|---|
/// | a lease belongs to | the process; any of its threads may finish the task |
/// | limits | none, or a number of waiting tasks; [`FAILED_TASKS_MAX`](crate::limits::FAILED_TASKS_MAX) failed tasks |
/// | order | first in, first out; tasks that come back are handed out first |
/// | fair | yes |
/// | drop | releases the proxy; without a name, the object ends with its last proxy |
///
/// # Fork safety
/// A forked child uses the inherited proxy. A [`Task`] stays with the process that got it.
///
/// # Crash
/// No task is lost. When the connection of a dead process ends, its tasks are handed out again. A stopped process keeps
/// its tasks.
///
/// # Source
/// Python's `multiprocessing.Manager().JoinableQueue`, with these differences: `done` belongs to one task, tasks of
/// dead processes come back, and a task cannot be reported done too often.
///
/// # Examples
/// ```
/// # mod mp { pub use manager_rt as manager; }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use mp::manager::Manager;
///
/// let queue = Manager::in_process()?.joinable_queue::<String>()?;
/// queue.put("work")?;
/// let task = queue.get()?;
/// assert_eq!((task.as_str(), task.deliveries(), queue.unfinished()?), ("work", 1, 1));
/// drop(task); // Not done: it returns to the queue.
/// let task = queue.get()?;
/// assert_eq!(task.deliveries(), 2);
/// assert_eq!(task.done()?, "work");
/// queue.join()?; // All tasks are done.
/// # Ok(())
/// # }
/// ```
#[doc(alias = "Pool")]
pub struct JoinableQueue<T> {
    handle: Handle,
    items: PhantomData<fn(T) -> (T,)>,
}

proxy!(JoinableQueue<T>);

impl<T> JoinableQueue<T> {
    /// Returns the number of tasks in the queue that are not handed out.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::JoinableQueue(JoinableQueueOp::Len), read::count)
    }

    /// Returns `true` if [`len`](Self::len) is 0.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool, ObjectError> {
        Ok(self.len()? == 0)
    }

    /// Returns `true` if the queue holds as many waiting tasks as it may.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "full")]
    pub fn is_full(&self) -> Result<bool, ObjectError> {
        Ok(match self.capacity()? {
            Some(capacity) => self.len()? >= capacity,
            None => false,
        })
    }

    /// Returns the most tasks that may wait in the queue, or `None` without a limit. Tasks that are handed out do not
    /// count.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Result<Option<usize>, ObjectError> {
        let capacity = self.handle.ask(Op::JoinableQueue(JoinableQueueOp::Capacity), read::count)?;
        Ok((capacity > 0).then_some(capacity))
    }

    /// Returns the number of unfinished tasks: those in the queue, and those handed out.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn unfinished(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::JoinableQueue(JoinableQueueOp::Unfinished), read::count)
    }

    /// Closes the queue for all processes: no more tasks can be put. Waiting consumers still get the tasks that are in
    /// the queue, and those that come back. They get [`GetError::Closed`] once no task can come back any more.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "shutdown")]
    pub fn close(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::JoinableQueue(JoinableQueueOp::Close), read::done)
    }

    /// Returns `true` if the queue was closed.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_closed(&self) -> Result<bool, ObjectError> {
        self.handle.ask(Op::JoinableQueue(JoinableQueueOp::IsClosed), read::bool)
    }

    /// Waits until every task is done or put aside.
    ///
    /// Tasks of processes that die go to other workers. If no process takes them, this waits for ever, as in Python.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn join(&self) -> Result<(), ObjectError> {
        self.handle.call(Op::JoinableQueue(JoinableQueueOp::Join), Wait::Forever)?;
        Ok(())
    }

    /// Like [`join`](Self::join), but waits at most `timeout` (`Duration::MAX` waits for ever). Returns `false` if
    /// tasks were still unfinished.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, ObjectError> {
        match self.handle.call(Op::JoinableQueue(JoinableQueueOp::Join), within(timeout)) {
            Ok(_) => Ok(true),
            Err(CallError::Fault(Fault::TimedOut)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl<T> JoinableQueue<T> {
    /// Puts a task at the end. Waits while the queue is full.
    ///
    /// # Errors
    /// [`PutError::Closed`]; [`PutError::Object`].
    pub fn put<Q>(&self, task: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_for(task, Wait::Forever)
    }

    /// Puts a task at the end if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`]; otherwise as [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    pub fn try_put<Q>(&self, task: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_for(task, Wait::No)
    }

    /// Puts a task at the end. Waits at most `timeout` while the queue is full.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; otherwise as [`put`](Self::put).
    pub fn put_timeout<Q>(&self, task: &Q, timeout: Duration) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_for(task, within(timeout))
    }

    fn put_for<Q: Serialize + ?Sized>(&self, task: &Q, wait: Wait) -> Result<(), PutError> {
        let mut values = self.handle.values();
        let number = values.add(task)?;
        self.handle.call(Op::JoinableQueue(JoinableQueueOp::Put(values.raw(number))), wait)?;
        Ok(())
    }

    /// Puts all `tasks` at the end in one step, next to each other. Waits until there is room for all.
    ///
    /// # Errors
    /// As [`Queue::put_many`](crate::Queue::put_many).
    pub fn put_many<'a, Q>(&self, tasks: impl IntoIterator<Item = &'a Q>) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
        self.handle.check_put_many(Kind::JoinableQueue)?;
        let mut values = self.handle.values();
        for task in tasks {
            values.add(task)?;
        }
        let op = JoinableQueueOp::PutMany(values.raws().collect());
        self.handle.call(Op::JoinableQueue(op), Wait::Forever)?;
        Ok(())
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Takes a task on lease: first those that came back, then the oldest. Waits while there is none.
    ///
    /// On a closed queue, this waits as long as any process holds a task, since that task may come back. A process that
    /// holds tasks itself should call [`try_get`](Self::try_get).
    ///
    /// # Errors
    /// [`GetError::Closed`]; [`GetError::Object`]. A task that cannot be decoded returns to the queue, and its
    /// deliveries are counted like any other task's.
    pub fn get(&self) -> Result<Task<T>, GetError> {
        self.get_for(Wait::Forever)
    }

    /// Takes a task on lease if there is one now.
    ///
    /// # Errors
    /// [`GetError::Empty`]; otherwise as [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Task<T>, GetError> {
        self.get_for(Wait::No)
    }

    /// Takes a task on lease. Waits at most `timeout` while there is none.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; otherwise as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Task<T>, GetError> {
        self.get_for(within(timeout))
    }

    fn get_for(&self, wait: Wait) -> Result<Task<T>, GetError> {
        match self.handle.call(Op::JoinableQueue(JoinableQueueOp::Get), wait)? {
            Reply::Leased { lease, deliveries, task } => {
                Ok(Task::decode(Lease::new(&self.handle, lease), deliveries, &task)?)
            }
            other => Ok(read::unexpected(self.handle.backend(), &other)?),
        }
    }

    /// Iterates over the tasks as they arrive, until the queue is closed and no task can come back. The iteration may continue
    /// after any other error.
    pub fn iter(&self) -> impl Iterator<Item = Result<Task<T>, GetError>> {
        std::iter::from_fn(|| match self.get() {
            Err(GetError::Closed) => None,
            task => Some(task),
        })
    }

    /// Returns the tasks that were put aside because they were delivered too often, and keeps them. A task that cannot
    /// be decoded appears as an error in its place.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn failed(&self) -> Result<Vec<Result<T, ObjectError>>, ObjectError> {
        self.look_at_failed(false)
    }

    /// Like [`failed`](Self::failed), but removes the tasks.
    ///
    /// # Errors
    /// [`ObjectError`].
    ///
    /// # Crash
    /// If the process is killed inside this method, the tasks can be lost.
    pub fn take_failed(&self) -> Result<Vec<Result<T, ObjectError>>, ObjectError> {
        self.look_at_failed(true)
    }

    fn look_at_failed(&self, take: bool) -> Result<Vec<Result<T, ObjectError>>, ObjectError> {
        let backend = self.handle.backend();
        let (mut failed, mut at) = (Vec::new(), 0);
        loop {
            let op = Op::JoinableQueue(JoinableQueueOp::Failed { at, take });
            match self.handle.call(op, Wait::No)? {
                Reply::Values { values, .. } if values.is_empty() => return Ok(failed),
                Reply::Values { values, version } => {
                    failed.extend(values.iter().map(|task| codec::take(backend, task)));
                    at = version;
                }
                other => return read::unexpected(backend, &other),
            }
        }
    }
}
