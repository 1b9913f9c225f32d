//! [`Batch`]: several operations sent together.
//!
//! A closure records the operations, using the same names as the proxies, and returns [tickets](Ticket). Nothing is
//! sent until the closure ends. Then each ticket is exchanged for the result of its operation. Values are encoded while
//! the closure runs, one after another in one buffer; each step remembers where its own values are.

mod on;
mod tickets;

use std::fmt;
use std::sync::Arc;

pub use self::on::On;
use mp_sys::identity::thread_number;
use mp_sys::line::Count;

use self::tickets::Answers;
pub use self::tickets::{Done, Ticket, Tickets};
use crate::backend::{Backend, CallError};
use crate::error::{ObjectError, TransactionError};
use crate::proto::{JoinableQueueOp, Kind, ObjectId, Op, Raw, Step};
use crate::proxy::{Handle, Lease, Proxy, Read, Task, Values, read};

/// Builds an operation from the encoded values.
type Make = Box<dyn for<'v> Fn(&'v Values) -> Op<Raw<'v>>>;

/// Operations that will be sent together: see [`Manager::transaction`](crate::Manager::transaction) and
/// [`Manager::pipeline`](crate::Manager::pipeline).
pub struct Batch<'b> {
    backend: &'b Arc<dyn Backend>,
    values: Values,
    steps: Vec<(ObjectId, Make)>,
    /// The leases of tasks that a step is to finish.
    leases: Vec<(usize, Lease)>,
    /// The error because of which nothing will be sent.
    failed: Option<ObjectError>,
}

impl<'b> Batch<'b> {
    fn new(backend: &'b Arc<dyn Backend>) -> Self {
        let (steps, leases) = (Vec::new(), Vec::new());
        Self { backend, values: Values::of(&**backend), steps, leases, failed: None }
    }

    /// Selects the object of the next operation. A proxy of another manager makes the whole batch fail.
    #[expect(private_bounds, reason = "proxies are the crate's own")]
    pub fn on<P: Proxy>(&mut self, proxy: &P) -> On<'_, 'b, P> {
        let object = self.object(proxy.handle());
        On::new(self, object)
    }

    /// Marks a task as done, like [`Task::done`]. If the batch fails, the task is requeued, as if it had been dropped.
    ///
    /// # Examples
    /// ```
    /// # mod mp { pub use manager_rt as manager; }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = mp::manager::Manager::in_process()?;
    /// let (queue, sum) = (manager.joinable_queue::<u64>()?, manager.value(&0_u64)?);
    /// queue.put(&5)?;
    /// let task = queue.get()?;
    /// let add = *task;
    /// // A process killed here has done both or nothing.
    /// let (task, before) = manager.transaction(|t| (t.done(task), t.on(&sum).fetch_add(add)))?;
    /// assert_eq!((task, before), (5, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "task_done")]
    pub fn done<T>(&mut self, task: Task<T>) -> Done<T> {
        let (lease, task) = task.into_parts();
        let (object, number) = (self.object(lease.handle()), lease.number());
        let make: Make = Box::new(move |_| Op::JoinableQueue(JoinableQueueOp::Done { lease: number }));
        let ticket = self.add(object, make, read::done);
        self.leases.push((ticket.at(), lease));
        Done::new(ticket, task)
    }

    fn object(&mut self, handle: &Handle) -> ObjectId {
        if handle.backend().epoch() != self.backend.epoch() {
            self.fail(ObjectError::OtherManager);
        }
        handle.id()
    }

    fn fail(&mut self, error: ObjectError) {
        self.failed.get_or_insert(error);
    }

    /// Encodes a value, and returns its number.
    fn value<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> usize {
        self.values.add(value).unwrap_or_else(|error| {
            self.fail(error);
            usize::MAX
        })
    }

    fn add<R>(&mut self, object: ObjectId, make: Make, read: Read<R>) -> Ticket<R> {
        let at = self.steps.len();
        self.steps.push((object, make));
        Ticket::new(at, read)
    }

    fn steps(&self) -> Vec<Step<Raw<'_>>> {
        self.steps.iter().map(|(object, make)| Step { object: *object, op: make(&self.values) }).collect()
    }

    /// Consumes the leases of tasks whose steps were done, so that these tasks are not requeued.
    fn settle(&mut self, is_done: impl Fn(usize) -> bool) {
        for (at, lease) in self.leases.drain(..) {
            if is_done(at) {
                lease.end();
            }
        }
    }
}

/// Runs operations as one transaction.
pub(crate) fn transaction<T: Tickets>(
    backend: &Arc<dyn Backend>,
    record: impl FnOnce(&mut Batch<'_>) -> T,
) -> Result<T::All, TransactionError> {
    let mut batch = Batch::new(backend);
    let tickets = record(&mut batch);
    if let Some(error) = batch.failed.take() {
        return Err(error.into());
    }
    let caps = backend.caps();
    if !caps.transactions {
        return Err(CallError::unsupported(&caps, Kind::Manager, "transactions").into());
    }
    let replies = backend.transaction(thread_number(), batch.steps())?;
    batch.settle(|_| true);
    let mut answers = Answers::new(backend, replies.into_iter().map(Ok));
    Ok(tickets.all(&mut answers)?)
}

/// Runs operations one after another.
pub(crate) fn pipeline<T: Tickets>(
    backend: &Arc<dyn Backend>,
    record: impl FnOnce(&mut Batch<'_>) -> T,
) -> Result<T::Each, ObjectError> {
    let mut batch = Batch::new(backend);
    let tickets = record(&mut batch);
    if let Some(error) = batch.failed.take() {
        return Err(error);
    }
    let answers = backend.pipeline(thread_number(), batch.steps())?;
    batch.settle(|at| answers.get(at).is_some_and(Result::is_ok));
    Ok(tickets.each(&mut Answers::new(backend, answers)))
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({})", Count(self.steps.len(), "step"))
    }
}
