//! [`Batch`]: several operations sent together.
//!
//! A closure records the operations, using the same names as the proxies, and returns [tickets](Ticket). When it
//! ends, each ticket is exchanged for the result of its operation. Each operation is encoded while the closure runs, in
//! the form in which it travels: see [`Recorded`]. Nothing of a transaction is sent until the closure ends. A long
//! pipeline is sent in portions, so that the server runs the first operations while the later ones are recorded.

mod kept;
mod on;
mod tickets;

use std::fmt;
use std::sync::Arc;

pub use self::on::On;
use mp_sys::identity::thread_number;
use mp_sys::line::Count;

use self::kept::Kept;
use self::tickets::Answers;
pub use self::tickets::{Done, Ticket, Tickets};
use crate::backend::{Backend, CallError, OpenPipeline};
use crate::error::{ObjectError, TransactionError};
use crate::proto::{Answer, Fault, JoinableQueueOp, Kind, ObjectId, Op, Payload, Raw, Step};
use crate::proxy::{Handle, Lease, Proxy, Read, Task, Values, read};
use crate::wire::recorded::Recorded;

/// Operations that will be sent together: see [`Manager::transaction`](crate::Manager::transaction) and
/// [`Manager::pipeline`](crate::Manager::pipeline).
pub struct Batch<'b> {
    backend: &'b Arc<dyn Backend>,
    /// The values of the operation that is recorded now.
    values: Values,
    /// The operations that were not sent yet.
    recorded: Recorded,
    /// The number of operations.
    count: usize,
    /// The pipeline, if its operations are sent while others are recorded.
    open: Option<Box<dyn OpenPipeline + 'b>>,
    /// Whether an operation takes something, or ends a task. If the closure fails, that must not have happened.
    is_held_back: bool,
    /// The leases of tasks that a step is to finish.
    leases: Vec<(usize, Lease)>,
    /// The error because of which nothing more will be sent.
    failed: Option<ObjectError>,
    /// Dropped last: whatever the closure drops, the server runs the operations before it hears of that.
    kept: Kept<'b>,
}

impl<'b> Batch<'b> {
    fn new(backend: &'b Arc<dyn Backend>) -> Self {
        let (values, recorded) = (Values::of(&**backend), Recorded::by(thread_number()));
        Self {
            backend,
            values,
            recorded,
            count: 0,
            open: None,
            is_held_back: false,
            leases: Vec::new(),
            failed: None,
            kept: Kept::of(backend),
        }
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
        self.is_held_back = true;
        let ticket =
            self.add(object, |_| Op::JoinableQueue(JoinableQueueOp::Done { lease: number }), read::done);
        self.leases.push((ticket.at(), lease));
        Done::new(ticket, task)
    }

    fn object(&mut self, handle: &Handle) -> ObjectId {
        if handle.backend().epoch() != self.backend.epoch() {
            self.fail(ObjectError::OtherManager);
        } else if handle.is_counted() {
            self.kept.keep(handle.id());
        }
        handle.id()
    }

    fn fail(&mut self, error: ObjectError) {
        self.failed.get_or_insert(error);
    }

    /// Encodes a value, and returns its number.
    fn value<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> usize {
        match self.values.add(value) {
            Ok(number) => {
                self.values.raw(number).objects().for_each(|inside| self.kept.keep(inside));
                number
            }
            Err(error) => {
                self.fail(error);
                usize::MAX
            }
        }
    }

    /// Records the operation that `make` builds from the values.
    #[inline]
    fn add<R>(
        &mut self,
        object: ObjectId,
        make: impl for<'v> FnOnce(&'v Values) -> Op<Raw<'v>>,
        read: Read<R>,
    ) -> Ticket<R> {
        let at = self.count;
        self.count = at.saturating_add(1);
        if self.failed.is_none() {
            self.recorded.add(object, &make(&self.values));
        }
        self.values.clear();
        if self.recorded.is_portion() && !self.is_held_back {
            self.send();
        }
        Ticket::new(at, read)
    }

    /// Sends what was recorded, if the backend takes portions of a pipeline.
    fn send(&mut self) {
        self.is_held_back = self.recorded.takes_something();
        if let Some(open) = &mut self.open
            && !self.is_held_back
        {
            if let Err(error) = open.send(&mut self.recorded) {
                self.fail(error.into());
            }
            self.recorded.clear();
        }
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
    let steps: Result<Vec<_>, Fault> = batch.recorded.steps().into_iter().collect();
    let replies = backend.transaction(batch.recorded.thread(), steps.map_err(CallError::Fault)?)?;
    batch.settle(|_| true);
    let mut answers = Answers::new(backend, replies.into_iter().map(Ok).collect());
    Ok(tickets.all(&mut answers)?)
}

/// Runs operations one after another.
pub(crate) fn pipeline<T: Tickets>(
    backend: &Arc<dyn Backend>,
    record: impl FnOnce(&mut Batch<'_>) -> T,
) -> Result<T::Each, ObjectError> {
    let mut batch = Batch::new(backend);
    batch.open = backend.open_pipeline();
    let tickets = record(&mut batch);
    if let Some(error) = batch.failed.take() {
        return Err(error);
    }
    let answers = match batch.open.take() {
        Some(open) => open.finish(&mut batch.recorded)?,
        None => run_together(&**backend, &batch.recorded)?,
    };
    batch.settle(|at| answers.get(at).is_some_and(Result::is_ok));
    Ok(tickets.each(&mut Answers::new(backend, answers)))
}

/// Runs operations as a pipeline. Those that no server would run have the reason as their answer.
fn run_together(backend: &dyn Backend, recorded: &Recorded) -> Result<Vec<Answer<Payload>>, CallError> {
    let mut faults = Vec::with_capacity(recorded.len());
    let mut steps: Vec<Step<Raw<'_>>> = Vec::with_capacity(recorded.len());
    for step in recorded.steps() {
        faults.push(step.map(|step| steps.push(step)).err());
    }
    let mut answers = backend.pipeline(recorded.thread(), steps)?.into_iter();
    // A backend that returns too few answers breaks its promise, and the ticket says so.
    let next = |fault: Option<Fault>| fault.map_or_else(|| answers.next(), |fault| Some(Err(fault)));
    Ok(faults.into_iter().map_while(next).collect())
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({})", Count(self.count, "step"))
    }
}
