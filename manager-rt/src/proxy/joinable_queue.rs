//! [`JoinableQueue`]: a queue of tasks, which are leased.

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
use crate::proto::frame::Wait;
use crate::proto::{Fault, JoinableQueueOp, Op, Reply};
use crate::proxy::handle::within;
use crate::proxy::{Handle, codec, proxy, read};

/// A queue of tasks: who gets one has it on lease, and says when it is done.
///
/// A task whose [`Task`] is dropped undone, or whose process dies, goes back and is handed out again, before all others.
/// After as many deliveries as the queue was made with it is put aside, to be looked at by [`failed`](Self::failed).
/// [`join`](Self::join) waits until all tasks are done or put aside.
///
/// A task may be handed out more than once: if its worker was killed after it did the work and before it said so, somebody
/// else does the work again. Have the work's result carry the task's number, or make doing it twice do nothing; what the
/// manager holds itself can change in one [transaction](crate::Manager::transaction) with the task.
///
/// | property | |
/// |---|---|
/// | a lease belongs to | the process; any of its threads may finish the task |
/// | limits | none, or a number of tasks that wait; [`FAILED_TASKS_MAX`](crate::limits::FAILED_TASKS_MAX) that failed |
/// | order | first in, first out; what comes back is handed out first |
/// | fair | yes |
/// | drop | gives the proxy up; the object ends with the last one |
///
/// # Fork safety
/// A forked child uses the proxy that it inherited. A [`Task`] stays with the process that got it.
///
/// # Crash
/// No task is lost. Those of a dead process are handed out again when its connection ends. A stopped process keeps its
/// tasks.
///
/// # Source
/// Python's `multiprocessing.Manager().JoinableQueue`; differs: `task_done` belongs to one task, tasks of the dead come
/// back, and too many `task_done` are not possible.
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
/// drop(task); // Not done: it goes back.
/// let task = queue.get()?;
/// assert_eq!(task.deliveries(), 2);
/// assert_eq!(task.done()?, "work");
/// queue.join()?; // All is done.
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
    /// Tasks in the queue that nobody has.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "qsize")]
    pub fn len(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::JoinableQueue(JoinableQueueOp::Len), read::count)
    }

    /// Whether [`len`](Self::len) is 0.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "empty")]
    pub fn is_empty(&self) -> Result<bool, ObjectError> {
        Ok(self.len()? == 0)
    }

    /// Whether as many tasks wait as may.
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

    /// Tasks that the queue holds at most, if it has a limit; those that were handed out do not count.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "maxsize")]
    pub fn capacity(&self) -> Result<Option<usize>, ObjectError> {
        let capacity = self.handle.ask(Op::JoinableQueue(JoinableQueueOp::Capacity), read::count)?;
        Ok((capacity > 0).then_some(capacity))
    }

    /// Tasks that are not finished: in the queue, or handed out.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn unfinished(&self) -> Result<usize, ObjectError> {
        self.handle.ask(Op::JoinableQueue(JoinableQueueOp::Unfinished), read::count)
    }

    /// Closes the queue for all: nothing more is put. Those who wait for a task get what is there, and what comes back; they
    /// are told that the queue is closed once nothing can come back any more.
    ///
    /// # Errors
    /// [`ObjectError`].
    #[doc(alias = "shutdown")]
    pub fn close(&self) -> Result<(), ObjectError> {
        self.handle.ask(Op::JoinableQueue(JoinableQueueOp::Close), read::done)
    }

    /// Whether the queue was closed.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn is_closed(&self) -> Result<bool, ObjectError> {
        self.handle.ask(Op::JoinableQueue(JoinableQueueOp::IsClosed), read::bool)
    }

    /// Waits until every task that was put is done or put aside.
    ///
    /// Tasks of processes that die go to others, who may finish them; if nobody takes them, this waits, as in Python.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn join(&self) -> Result<(), ObjectError> {
        self.handle.call(Op::JoinableQueue(JoinableQueueOp::Join), Wait::Forever)?;
        Ok(())
    }

    /// As [`join`](Self::join), for `timeout` at most (`Duration::MAX` waits for ever); `false` if some were unfinished
    /// then.
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

    /// Puts a task at the end, if there is room now.
    ///
    /// # Errors
    /// [`PutError::Full`]; else as [`put`](Self::put).
    #[doc(alias = "put_nowait")]
    pub fn try_put<Q>(&self, task: &Q) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized,
        Wire: SameBytes<Q, T>,
    {
        self.put_for(task, Wait::No)
    }

    /// Puts a task at the end. Waits for `timeout` at most while the queue is full.
    ///
    /// # Errors
    /// [`PutError::TimedOut`]; else as [`put`](Self::put).
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

    /// Puts all of `tasks` at the end in one step, side by side. Waits until there is room for all.
    ///
    /// # Errors
    /// As [`Queue::put_many`](crate::Queue::put_many).
    pub fn put_many<'a, Q>(&self, tasks: impl IntoIterator<Item = &'a Q>) -> Result<(), PutError>
    where
        Q: Serialize + ?Sized + 'a,
        Wire: SameBytes<Q, T>,
    {
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
    /// Takes a task on lease: one that came back, or else the oldest. Waits while there is none.
    ///
    /// On a closed queue it waits as long as somebody has a task, which may come back; who holds tasks and asks for more
    /// should [`try_get`](Self::try_get).
    ///
    /// # Errors
    /// [`GetError::Closed`]; [`GetError::Object`]. A task that cannot be decoded goes back, as often as the others.
    pub fn get(&self) -> Result<Task<T>, GetError> {
        self.get_for(Wait::Forever)
    }

    /// Takes a task on lease, if there is one now.
    ///
    /// # Errors
    /// [`GetError::Empty`]; else as [`get`](Self::get).
    #[doc(alias = "get_nowait")]
    pub fn try_get(&self) -> Result<Task<T>, GetError> {
        self.get_for(Wait::No)
    }

    /// Takes a task on lease. Waits for `timeout` at most while there is none.
    ///
    /// # Errors
    /// [`GetError::TimedOut`]; else as [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Task<T>, GetError> {
        self.get_for(within(timeout))
    }

    fn get_for(&self, wait: Wait) -> Result<Task<T>, GetError> {
        match self.handle.call(Op::JoinableQueue(JoinableQueueOp::Get), wait)? {
            Reply::Leased { lease, deliveries, task } => {
                Ok(Task::decode(&self.handle, lease, deliveries, &task)?)
            }
            other => Ok(read::unexpected(self.handle.backend(), &other)?),
        }
    }

    /// The tasks that were put aside, because they were handed out too often. They stay. One that cannot be decoded is an
    /// error in their place.
    ///
    /// # Errors
    /// [`ObjectError`].
    pub fn failed(&self) -> Result<Vec<Result<T, ObjectError>>, ObjectError> {
        self.look_at_failed(false)
    }

    /// As [`failed`](Self::failed), and takes them out.
    ///
    /// # Errors
    /// [`ObjectError`].
    ///
    /// # Crash
    /// If the process is killed here, they can be lost.
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
